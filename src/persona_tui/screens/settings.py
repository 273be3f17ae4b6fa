"""Settings & Doctor: what works, and every setting as it takes effect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.setting_rows import SettingRow, setting_rows
from persona_tui.widgets.data_list import Cell, Column, DataList
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.section import SectionTitle
from persona_tui.widgets.shell import CoreState

if TYPE_CHECKING:
    from persona_tui.database.engine import Database
    from persona_tui.settings import Settings


class CheckLike(Protocol):
    """One finding of `services.doctor`."""

    @property
    def name(self) -> str:
        """What was looked at."""

    @property
    def state(self) -> str:
        """ok, warn, fail or off."""

    @property
    def sentence(self) -> str:
        """What was found."""

    @property
    def hint(self) -> str:
        """What to do about it."""


STATES = {
    "ok": ("✅ works", "$success"),
    "warn": ("🟡 look", "$warning"),
    "fail": ("❌ fails", "$error"),
    "off": ("○ off", "$dim"),
}


def run_checks(settings: Settings, database: Database | None) -> Sequence[CheckLike]:
    """Ask the doctor; imports the services, so it is called in a thread."""
    checks: Callable[..., Sequence[CheckLike]] = import_module("persona_tui.services.doctor").run_checks
    return checks(settings, database)


class SettingsScreen(PersonaScreen):
    """The doctor's findings above, the settings below; side by side where there is room."""

    SCOPE = "settings"
    TITLE = "Settings & Doctor"
    HELP = (
        "What works and what does not, and every setting as it takes effect, secrets masked. "
        "Settings are changed in config.toml or by PERSONA_ variables; Enter shows what a row is about."
    )
    CSS_PATH = "settings.tcss"
    NEEDS_CORE = False

    def compose_body(self) -> ComposeResult:
        with Vertical(id="doctor-part"):
            yield SectionTitle("Doctor", id="doctor-title")
            yield DataList(
                [Column("What", 18), Column("State", 8), Column("Finding")],
                _check_cells,
                key=lambda check: check.name,
                empty="not asked yet",
                id="checks",
            )
        with Vertical(id="settings-part"):
            yield SectionTitle("Settings", id="settings-title")
            yield DataList(
                [Column("Name", 28), Column("Value", share=2), Column("From", share=1)],
                _setting_cells,
                key=lambda row: row.name,
                id="settings",
            )

    def _checks(self) -> DataList[CheckLike]:
        found: DataList[CheckLike] = self.query_one("#checks", DataList)
        return found

    def _settings(self) -> DataList[SettingRow]:
        found: DataList[SettingRow] = self.query_one("#settings", DataList)
        return found

    def on_mount(self) -> None:
        self._settings().focus()

    async def reload(self) -> None:
        settings = self.shell.settings
        self._settings().show(list(setting_rows(settings)))
        title = self.query_one("#doctor-title", SectionTitle)
        title.note = "asking…"
        database = self.shell.database if self.shell.core_state is CoreState.READY else None
        try:
            checks = await asyncio.to_thread(run_checks, settings, database)
        finally:
            title.note = ""
        self._checks().show(checks)
        bad = sum(check.state == "fail" for check in checks)
        title.note = f"{bad} of {len(checks)} fail" if bad else "all well 🎉"

    def action_check(self) -> None:
        self.request_reload()

    def on_data_list_row_selected(self, event: DataList.RowSelected) -> None:
        if event.list.id == "settings":
            row: SettingRow = event.item
            text = Content.assemble(
                (f"{row.about}\n\n", ""), ("Value: ", "$dim"), row.value, ("\nFrom: ", "$dim"), row.origin
            )
            self.app.push_screen(TextDialog(row.name, text))
        else:
            check: CheckLike = event.item
            text = Content.assemble((f"{check.sentence}\n\n", ""), (check.hint, "$dim"))
            self.app.push_screen(TextDialog(check.name, text))


def _check_cells(check: CheckLike) -> list[Cell]:
    word, style = STATES.get(check.state, (check.state, ""))
    return [
        Content.styled(check.name, "bold"),
        Content.styled(word, style),
        Content.assemble(check.sentence, (f"  {check.hint}", "$dim")),
    ]


def _setting_cells(row: SettingRow) -> list[Cell]:
    changed = row.origin != "default"
    return [
        row.name,
        Content.styled(row.value, "$title" if changed else ""),
        Content.styled(row.origin, "$label" if changed else "$dim"),
    ]
