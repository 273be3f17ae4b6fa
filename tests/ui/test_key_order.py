"""Keys that arrive in one burst do what they would do one by one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from textual._xterm_parser import XTermParser
from textual.app import ComposeResult
from textual.events import Key, Paste
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.screens.runs_wizard import RunWizard
from persona_tui.widgets import key_order
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.fields import IntegerField, TextField
from persona_tui.widgets.form import FormDialog
from tests.support.world import Planned
from tests.ui.quiet_core import QuietCore, app_over
from tests.ui.studio import Studio, run_with_pictures, until
from tests.ui.support import ProbeScreen, settle
from tests.ui.test_runs import opened

BACKSPACE, TAB, ENTER, LEFT, ESC = "\x7f", "\t", "\r", "\x1b[D", "\x1b"
F1, F9 = "\x1bOP", "\x1b[20~"


def strike(pilot: Pilot[Any], typed: str) -> None:
    """Hand the bytes of a terminal over as its driver does: all at once, and nobody waits."""
    driver = pilot.app._driver
    assert driver is not None
    parser = XTermParser()
    for event in [*parser.feed(typed), *parser.feed("")]:
        driver.process_message(event)


async def form(pilot: Pilot[Any]) -> tuple[FormDialog, list[Any]]:
    """A form of two texts and a number, and what it gave when it was saved."""
    given: list[Any] = []
    dialog = FormDialog(
        "Burst",
        [
            TextField(name="first", label="First"),
            TextField(name="second", label="Second"),
            IntegerField(name="count", label="Count"),
        ],
    )
    pilot.app.push_screen(dialog, given.append)
    await settle(pilot)
    return dialog, given


async def test_backspace_takes_the_letter_before_it(app: PersonaApp) -> None:
    async with app.run_test() as pilot:
        dialog, _ = await form(pilot)
        strike(pilot, f"abc{BACKSPACE}d{LEFT}{LEFT}X")
        await until(pilot, lambda: dialog.rows[0].raw() == "aXbd")


async def test_tab_and_enter_lead_to_the_next_field_before_what_is_typed_there(app: PersonaApp) -> None:
    async with app.run_test() as pilot:
        _, given = await form(pilot)
        strike(pilot, f"one{TAB}two{ENTER}34{BACKSPACE}5{ENTER}")
        await until(pilot, lambda: given)
        assert given == [{"first": "one", "second": "two", "count": 35}]


async def test_a_paste_stays_between_the_keys_around_it(app: PersonaApp) -> None:
    async with app.run_test() as pilot:
        dialog, _ = await form(pilot)
        strike(pilot, f"a{TAB}b\x1b[200~pasted\x1b[201~{BACKSPACE}c{TAB}7")
        await until(pilot, lambda: [row.raw() for row in dialog.rows] == ["a", "bpastec", "7"])


@pytest.mark.long
async def test_a_long_burst_arrives_whole(app: PersonaApp) -> None:
    async with app.run_test() as pilot:
        dialog, _ = await form(pilot)
        words = "the quick brown fox "
        strike(pilot, f"{words * 8}{BACKSPACE}")
        await until(pilot, lambda: dialog.rows[0].raw() == (words * 8)[:-1])


@pytest.mark.long
async def test_what_is_typed_behind_the_key_of_a_dialog_goes_into_it(
    db: Database, studio: Studio, plan: Planned, tmp_path: Path
) -> None:
    run_with_pictures(db, studio, plan)
    async with app_over(QuietCore(db, tmp_path)).run_test() as pilot:
        await opened(pilot)
        strike(pilot, f"nA bowk{BACKSPACE}l{TAB}blurry")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunWizard))
        wizard = pilot.app.screen
        assert isinstance(wizard, RunWizard)

        def held() -> dict[str, Any]:
            return {row.field.name: row.raw() for row in wizard.rows}

        await until(pilot, lambda: held().get("negative") == "blurry")
        assert held()["prompt"] == "A bowl"


async def test_escape_behind_a_dialog_s_key_closes_that_dialog(app: PersonaApp) -> None:
    async with app.run_test() as pilot:
        await settle(pilot)
        strike(pilot, "q")
        strike(pilot, ESC)
        strike(pilot, "q")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        assert len(pilot.app.screen_stack) == 2


async def test_q_asks_to_quit_also_right_behind_the_key_that_leads_to_the_dashboard(app: PersonaApp) -> None:
    async with app.run_test() as pilot:
        strike(pilot, "q")  # nothing has been waited for: the core is still starting
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        strike(pilot, f"n{F9}{F1}q")
        await until(pilot, lambda: app.current_mode == "dashboard" and len(app.screen_stack) == 2)
        assert isinstance(app.screen, ConfirmDialog)
        strike(pilot, "y")
        await until(pilot, lambda: not app.is_running)


class Waiting(ProbeScreen):
    """Its field's handler waits for a key that is struck later."""

    def __init__(self) -> None:
        super().__init__()
        self.freed = asyncio.Event()

    def compose_body(self) -> ComposeResult:
        yield Deaf(self.freed)
        yield TextArea(id="notes")


class Deaf(Input):
    def __init__(self, freed: asyncio.Event) -> None:
        super().__init__(id="deaf")
        self.waits = asyncio.Event()
        self._freed = freed

    async def _on_key(self, event: Key) -> None:
        if event.key == "w":
            event.stop()
            self.waits.set()
            await self._freed.wait()
        else:
            await super()._on_key(event)


async def test_a_key_that_never_ends_does_not_take_the_keyboard_away(
    app: PersonaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_order, "LONGEST_HANDLING", 0.2)
    async with app.run_test() as pilot:
        await settle(pilot)
        screen = Waiting()
        app.push_screen(screen)
        await settle(pilot)
        screen.query_one("#deaf").focus()
        await pilot.pause()
        deaf, notes = screen.query_one(Deaf), screen.query_one("#notes", TextArea)
        strike(pilot, "w")
        await asyncio.wait_for(deaf.waits.wait(), 5)
        app.set_focus(notes)
        strike(pilot, "heard")
        async with asyncio.timeout(5):
            while notes.text != "heard":  # a pilot would wait for the field that does not answer
                await asyncio.sleep(0.02)
        screen.freed.set()


async def test_a_paste_alone_arrives(app: PersonaApp) -> None:
    async with app.run_test() as pilot:
        dialog, _ = await form(pilot)
        app.post_message(Paste("words"))
        await until(pilot, lambda: dialog.rows[0].raw() == "words")


async def test_training_11_a_wait_for_long_work_leaves_no_task_behind(
    app: PersonaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_order, "LONGEST_WORK", 0.05)
    async with app.run_test() as pilot:
        await settle(pilot)
        view = ProbeScreen()
        await app.push_screen(view)
        ends = asyncio.Event()
        worker = view.spawn(ends.wait, group="save")
        strike(pilot, LEFT)
        await until(pilot, lambda: worker in app._let_go)
        waiting = [one.get_coro().__qualname__ for one in asyncio.all_tasks() if one is not worker._task]
        assert "Event.wait" not in waiting
        ends.set()
        await settle(pilot)
