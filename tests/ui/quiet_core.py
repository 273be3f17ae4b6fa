"""The real core without what works by itself: no engine, no schedule, no jobs, no leadership.

Screens read and act on the real database through it; tests say what happens, so nothing moves meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text
from textual.events import Paste
from textual.pilot import Pilot

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.resources import Resources
from persona_tui.runtime import Core
from persona_tui.services.writers import Writer
from persona_tui.settings import Settings
from persona_tui.widgets.form import FormDialog
from tests.ui.support import said, screen_text, settle


class QuietCore(Core):
    """Starts at once over a database that is there already.

    Args:
        folder: data and configuration of its own.
        writers: the language models; without one, templates write.
        values: further settings.
    """

    def __init__(
        self, database: Database, folder: Path, writers: tuple[Writer, ...] = (), **values: Any
    ) -> None:
        folders = {"data_dir": folder / "data", "config_dir": folder / "config"}
        super().__init__(Settings(**folders, environment="sandbox", **values))
        self._opened = Resources(self.settings, database)
        self._opened.__dict__["writers"] = writers
        self.leads = True

    async def start(self) -> None:
        self._resources = self._opened

    async def stop(self) -> None:
        self._resources = None

    @property
    def leader(self) -> bool:
        return self.leads


def app_over(core: QuietCore) -> PersonaApp:
    """The app over this core. Its clock is the machine's, as the database's is."""
    return PersonaApp(core.settings, core_factory=lambda _say: core, now=lambda: datetime.now(UTC))


def asked(database: Database, query: str, **values: Any) -> Any:
    """The first column of the first row, or None."""
    with database.session_scope() as session:
        return session.execute(text(query), values).scalar()


async def until(pilot: Pilot[Any], so: Callable[[], bool]) -> None:
    """Wait until something is so on the screen; events of other processes take a moment."""
    for _ in range(200):
        await settle(pilot)
        if so():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to that")


async def shows(pilot: Pilot[Any], words: str) -> None:
    """Wait until these words are on the screen."""
    await until(pilot, lambda: words in screen_text(pilot))


async def says(pilot: Pilot[Any], words: str) -> None:
    """Wait until the message line says these words."""
    await until(pilot, lambda: words in said(pilot))


async def form_opens(pilot: Pilot[Any]) -> None:
    """Wait until a form is in front."""
    await until(pilot, lambda: isinstance(pilot.app.screen, FormDialog))


async def fill(pilot: Pilot[Any], **values: str) -> None:
    """Paste into the fields of the form in front; what was there is replaced."""
    form = pilot.app.screen
    assert isinstance(form, FormDialog)
    for row in form.rows:
        if row.field.name in values:
            row.control.focus()
            await pilot.press("ctrl+a", "ctrl+e", "ctrl+u")
            pilot.app.post_message(Paste(values[row.field.name]))
            await pilot.pause()


async def saved(pilot: Pilot[Any]) -> None:
    """Save the form in front and wait until it is closed."""
    form = pilot.app.screen
    await pilot.press("ctrl+s")
    await until(pilot, lambda: pilot.app.screen is not form)
