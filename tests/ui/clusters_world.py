"""A library to look at and a folder to import from, and the screen over them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from textual.pilot import Pilot

from persona_tui.database.engine import Database
from persona_tui.screens.clusters import ClustersScreen
from persona_tui.services.library.photos import import_photos
from persona_tui.services.media import MediaStore
from tests.support.publishing_rows import picture
from tests.support.world import Planned
from tests.ui.quiet_core import QuietCore, app_over
from tests.ui.support import settle

SMALL, LARGE = (80, 24), (200, 50)


@dataclass
class Library:
    """A persona with a pillar and a cluster that serves it, and a folder to import from."""

    db: Database
    folder: Path
    plan: Planned

    @property
    def inbox(self) -> Path:
        """Where the photos to import lie."""
        found = self.folder / "inbox"
        found.mkdir(exist_ok=True)
        return found

    def drop(self, count: int) -> list[Path]:
        """Put some photos into the inbox."""
        files = [self.inbox / f"walk_{number:02}.png" for number in range(1, count + 1)]
        for number, file in enumerate(files):
            file.write_bytes(picture(number))
        return files

    def stock(self, count: int) -> None:
        """Import some photos into the cluster."""
        media = MediaStore(QuietCore(self.db, self.folder).settings)
        scope, cluster = self.db.session_scope, self.plan.cluster_id
        done = import_photos(scope, media, self.plan.persona_id, self.drop(count), cluster_id=cluster)
        assert [one.outcome for one in done] == ["imported"] * count


@asynccontextmanager
async def opened(library: Library, size: tuple[int, int] = SMALL) -> AsyncIterator[Pilot[None]]:
    """The library's screen."""
    app = app_over(QuietCore(library.db, library.folder))
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("f7")
        await settle(pilot)
        yield pilot


def library_screen(pilot: Pilot[None]) -> ClustersScreen:
    """The library's screen, in front or below a dialog."""
    return next(screen for screen in pilot.app.screen_stack if isinstance(screen, ClustersScreen))
