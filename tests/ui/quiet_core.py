"""The real core without what works by itself: no engine, no schedule, no jobs, no leadership.

Screens read and act on the real database through it; tests say what happens, so nothing moves meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.resources import Resources
from persona_tui.runtime import Core
from persona_tui.services.planning.writers import Writer
from persona_tui.settings import Settings


class QuietCore(Core):
    """Starts at once over a database that is there already.

    Args:
        folder: data and configuration of its own.
        writers: the language models; without one, templates write.
    """

    def __init__(self, database: Database, folder: Path, writers: tuple[Writer, ...] = ()) -> None:
        super().__init__(
            Settings(data_dir=folder / "data", config_dir=folder / "config", environment="sandbox")
        )
        self._opened = Resources(self.settings, database)
        self._opened.__dict__["writers"] = writers

    async def start(self) -> None:
        self._resources = self._opened

    async def stop(self) -> None:
        self._resources = None

    @property
    def leader(self) -> bool:
        return True


def app_over(core: QuietCore, **values: Any) -> PersonaApp:
    """The app over this core; keyword arguments are further settings. Its clock is the machine's."""
    settings = core.settings.model_copy(update=values)
    return PersonaApp(settings, core_factory=lambda _say: core, now=lambda: datetime.now(UTC))


@contextmanager
def committed(database: Database) -> Iterator[Session]:
    """A session of a test's own, committed at its end."""
    with database.session_scope() as session:
        yield session


def asked(database: Database, query: str, **values: Any) -> Any:
    """The first column of the first row, or None."""
    with database.session_scope() as session:
        return session.execute(text(query), values).scalar()


MakeQuietApp = Callable[..., PersonaApp]
