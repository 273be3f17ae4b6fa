"""All about the picture under the cursor: a panel with its preview, or two lines where there is no room."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static

from persona_tui.errors import PersonaError
from persona_tui.screens import clusters_lines
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.clusters_tree import LibraryTree
from persona_tui.screens.runs_parts import PartsPanel
from persona_tui.widgets.picture import PicturePane

if TYPE_CHECKING:
    from persona_tui.services.library.pictures import LibraryPicture
    from persona_tui.services.planning.picture_facts import PictureFacts

LOOK_PAUSE = 0.06
"""Seconds that the cursor rests on a picture before all about it is read."""


class ClustersAbout(PersonaScreen):
    """The library's panel; subclasses say which picture is under the cursor."""

    def __init__(self) -> None:
        super().__init__()
        self._facts: PictureFacts | None = None
        self._look_timer: Timer | None = None

    @property
    def shelves(self) -> LibraryTree:
        """Shelves, pillars and clusters."""
        return self.query_one(LibraryTree)

    @property
    def picture(self) -> LibraryPicture | None:
        """The picture under the cursor, once it is read."""
        raise NotImplementedError

    def _look_at(self) -> None:
        picture = self.picture
        if self._facts is not None and (picture is None or picture.ref != self._facts.ref):
            self._facts = None
        if not self.has_class("-wide"):
            self._show_lines()
        if self._look_timer is not None:
            self._look_timer.stop()
        self.workers.cancel_group(self, "facts")
        read = partial(self._read_facts, picture)
        start = partial(self.spawn, read, group="facts", exclusive=True, quiet=True)
        self._look_timer = self.set_timer(LOOK_PAUSE, start)

    async def _read_facts(self, picture: LibraryPicture | None) -> None:
        from persona_tui.services.planning.picture_facts import facts_of

        if picture is None:
            self.query_one("#preview", PicturePane).show(None, "")
            self.query_one(PartsPanel).show(())
            return
        self._facts = await self.read(facts_of, picture.ref)
        if self.has_class("-wide"):
            self._show_parts()
            await self._preview(picture)
        else:
            self._show_lines()

    async def _preview(self, picture: LibraryPicture) -> None:
        pane, media = self.query_one("#preview", PicturePane), self.shell.core.resources.media
        try:
            path = await asyncio.to_thread(media.thumbnail, picture.media_key, picture.sha256)
        except PersonaError as problem:
            pane.show(None, problem.message)
        else:
            pane.show(path, picture.label, keep=True)

    def _show_lines(self) -> None:
        """Two lines below the pictures, where there is no room beside them."""
        picture = self.picture
        words = Content.empty()
        if picture is not None:
            words = clusters_lines.lines(picture, self._facts, self.shell.zone)
        self.query_one("#lines", Static).update(words, layout=False)

    def _show_parts(self) -> None:
        """The panel beside the pictures."""
        picture, clusters = self.picture, self.shelves.catalogue.clusters
        names = {cluster.id: cluster.name for cluster in clusters}
        if picture is not None:
            about = clusters_lines.parts(picture, self._facts, self.shell.zone, names)
            self.query_one(PartsPanel).show(about)
