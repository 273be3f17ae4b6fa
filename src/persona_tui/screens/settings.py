"""Settings & Doctor: what works, the accounts, and every setting as it takes effect."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from persona_tui.errors import PersonaError
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.settings_reading import load_publishing, places, publishing_lines
from persona_tui.screens.settings_restore import confirm_restore
from persona_tui.setting_rows import SettingRow, setting_rows
from persona_tui.widgets.data_list import Cell, Column, DataList
from persona_tui.widgets.messages import CoreFailed
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.section import SectionTitle
from persona_tui.widgets.shell import CoreState

if TYPE_CHECKING:
    from persona_tui.database.engine import Database
    from persona_tui.services.doctor import Check
    from persona_tui.settings import Settings


STATES = {
    "ok": ("✅ works", "$success"),
    "warn": ("🟡 look", "$warning"),
    "fail": ("❌ fails", "$error"),
    "off": ("○ off", "$dim"),
}


def _examine(settings: Settings, database: Database | None, problem: PersonaError | None) -> list[Check]:
    """Ask the doctor; imports the services and waits for the network, so it runs in a thread."""
    from persona_tui.services.doctor import run_checks

    return run_checks(settings, database, database_problem=problem)


class SettingsScreen(PersonaScreen):
    """The doctor's findings above, the settings below; side by side where there is room."""

    SCOPE = "settings"
    TITLE = "Settings & Doctor"
    HELP = (
        "What works and what does not, and every setting as it takes effect, secrets masked. "
        "Settings are changed in config.toml or by PERSONA_ variables; Enter shows what a row is about. "
        "After a restore, nothing is published until you have confirmed here."
    )
    TOPICS = frozenset({"account"})
    CSS_PATH = "settings.tcss"
    NEEDS_CORE = False

    def __init__(self) -> None:
        super().__init__()
        self._asked = False

    def compose_body(self) -> ComposeResult:
        with Vertical(id="doctor-part"):
            yield SectionTitle("Doctor", id="doctor-title")
            yield DataList(
                [Column("What", 18), Column("State", 8), Column("Finding")],
                _check_cells,
                key=lambda check: check.name,
                empty="the doctor is asking every service…",
                id="checks",
            )
            yield Static("", id="publishing", markup=False)
            yield Static("", id="places", markup=False)
        with Vertical(id="settings-part"):
            yield SectionTitle("Settings", id="settings-title")
            yield DataList(
                [Column("Name", 28), Column("Value", share=2), Column("From", share=1)],
                _setting_cells,
                key=lambda row: row.name,
                id="settings",
            )

    def _checks(self) -> DataList[Check]:
        found: DataList[Check] = self.query_one("#checks", DataList)
        return found

    def _settings(self) -> DataList[SettingRow]:
        found: DataList[SettingRow] = self.query_one("#settings", DataList)
        return found

    def on_mount(self) -> None:
        self._settings().focus()

    async def reload(self) -> None:
        self._settings().show(list(setting_rows(self.shell.settings)))
        self.query_one("#places", Static).update(places(self.shell.settings))
        if not self._asked and self.shell.core_state is not CoreState.STARTING:
            self.action_check()
        if self.shell.core_state is CoreState.READY:
            publishing = await self.read(load_publishing)
            lines = publishing_lines(publishing, self.shell.registry, self.shell.now())
            self.query_one("#publishing", Static).update(Content("\n").join(lines))

    def on_core_failed(self, _message: CoreFailed) -> None:
        self.request_reload()

    def action_check(self) -> None:
        self._asked = True
        self.spawn(self._ask_doctor, group="doctor", exclusive=True, quiet=True)

    async def _ask_doctor(self) -> None:
        shell, title = self.shell, self.query_one("#doctor-title", SectionTitle)
        title.note = "asking…"
        database = shell.database if shell.core_state is CoreState.READY else None
        problem = shell.core_error if isinstance(shell.core_error, PersonaError) else None
        try:
            checks = await asyncio.to_thread(_examine, shell.settings, database, problem)
        except Exception:
            title.note = "could not be asked"
            raise
        self._checks().show(checks)
        self._checks().cursor = _gravest(checks)
        counts = {state: sum(check.state == state for check in checks) for state in ("fail", "warn")}
        said = [f"{counts['fail']} of {len(checks)} fail"] if counts["fail"] else []
        said += [f"{counts['warn']} to look at"] if counts["warn"] else []
        title.note = ", ".join(said) or "nothing fails 🎉"

    def action_confirm(self) -> None:
        self.spawn(self._confirm, group="ask")

    async def _confirm(self) -> None:
        await confirm_restore(self)
        self.request_reload()
        self.action_check()

    async def action_theme(self) -> None:
        await self.shell.perform("global.theme")

    def action_switch(self) -> None:
        (self._settings() if self.focused is self._checks() else self._checks()).focus()

    def on_data_list_row_selected(self, event: DataList.RowSelected) -> None:
        if event.list.id == "settings":
            row: SettingRow = event.item
            text = Content.assemble(
                (f"{row.about}\n\n", ""), ("Value: ", "$dim"), row.value, ("\nFrom: ", "$dim"), row.origin
            )
            self.app.push_screen(TextDialog(row.name, text))
        else:
            check: Check = event.item
            text = Content.assemble((f"{check.sentence}\n\n", ""), (check.hint, "$dim"))
            self.app.push_screen(TextDialog(check.name, text))


def _gravest(checks: list[Check]) -> int:
    """Index of the first check that fails, else of the first that is worth a look, else 0."""
    for state in ("fail", "warn"):
        for index, check in enumerate(checks):
            if check.state == state:
                return index
    return 0


def _check_cells(check: Check) -> list[Cell]:
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
