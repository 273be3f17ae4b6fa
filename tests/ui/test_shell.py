"""The shell: start, views, going back, quitting, sizes, personas."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from persona_tui.actions import MODES
from persona_tui.app import PersonaApp
from persona_tui.errors import StorageError
from persona_tui.screens.command_line import commands_of, matching
from persona_tui.settings import Settings
from persona_tui.widgets.choice import ChoiceDialog
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.shell import CoreState
from tests.ui.support import ProbeScreen, TinyCore, said, screen_text, settle

MakeApp = Callable[..., PersonaApp]
SMALL, LARGE = (80, 24), (200, 50)


async def test_the_first_frame_is_there_before_the_core(tmp_path: Path, core: TinyCore) -> None:
    may_start = threading.Event()

    def slow(say: Callable[[str], None]) -> TinyCore:
        say("Waiting for the database.")
        assert may_start.wait(30)
        return core

    app = PersonaApp(Settings(data_dir=tmp_path), core_factory=slow)  # type: ignore[arg-type]
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        assert app.core_state is CoreState.STARTING
        text = screen_text(pilot)
        assert "Dashboard" in text
        assert "starting…" in text
        assert "Waiting for the database." in text
        may_start.set()
        await settle(pilot)
        assert app.core_state is CoreState.READY
        assert "starting…" not in screen_text(pilot)
        assert "leading" in screen_text(pilot)


async def test_a_core_that_fails_says_why_and_can_be_started_again(app: PersonaApp, core: TinyCore) -> None:
    core.error = StorageError("The disk is full.")
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        text = screen_text(pilot)
        assert app.core_state is CoreState.FAILED
        assert "Storage failed" in text
        assert "The disk is full." in text
        assert "Free some space" in text
        assert "[Ctrl+G] start again" in text
        core.error = None
        await pilot.press("ctrl+g")
        await settle(pilot)
        assert app.core_state is CoreState.READY
        assert "The disk is full." not in screen_text(pilot)


async def test_a_core_that_fails_without_a_sentence_shows_no_traceback(
    app: PersonaApp, core: TinyCore, unforeseen: list[BaseException]
) -> None:
    core.error = RuntimeError("secret detail")
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        text = screen_text(pilot)
        assert "Something unforeseen happened" in text
        assert "secret detail" not in text
        assert "Traceback" not in text
        assert unforeseen == [core.error]
        unforeseen.clear()


@pytest.mark.long(but=["size0"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_every_function_key_opens_its_view(app: PersonaApp, size: tuple[int, int]) -> None:
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        for mode in reversed(MODES):
            await pilot.press(mode.key)
            await settle(pilot)
            assert app.current_mode == mode.name
            first_lines = screen_text(pilot).splitlines()[:3]
            assert first_lines[0] == "━" * size[0]
            assert mode.title in first_lines[1]
            assert "Persona: lena" in first_lines[1]


async def test_escape_goes_back_view_by_view_and_ends_on_the_dashboard(app: PersonaApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("f9", "f10", "f12")
        assert app.current_mode == "settings"
        for expected in ("loras", "training", "dashboard", "dashboard"):
            await pilot.press("escape")
            assert app.current_mode == expected


@pytest.mark.long
async def test_going_to_the_dashboard_forgets_the_way(app: PersonaApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("f9", "f10", "f1", "f11", "escape")
        assert app.current_mode == "dashboard"


async def test_escape_leaves_a_text_field_before_it_leaves_the_view(app: PersonaApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        probe = ProbeScreen()
        await app.push_screen(probe)
        await settle(pilot)
        probe.query_one("#typed").focus()
        await pilot.press("a", "escape")
        assert app.screen is probe
        assert probe.focused is None
        await pilot.press("escape")
        assert app.screen is not probe


async def test_escape_on_the_dashboard_says_how_to_quit(app: PersonaApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        legend = screen_text(pilot).splitlines()[-1]
        assert "[q] quit" in legend and "[Esc]" not in legend
        await pilot.press("escape")
        await pilot.pause()
        assert said(pilot) == "This is the Dashboard; q quits."
        await pilot.press("f9")
        await settle(pilot)
        legend = "\n".join(screen_text(pilot).splitlines()[-2:])  # this view's has two lines
        assert "[q] quit" not in legend and "[Esc] back" in legend


async def test_q_quits_only_from_the_dashboard_and_asks(app: PersonaApp, core: TinyCore) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press("f10", "q")
        await pilot.pause()
        assert said(pilot) == "q quits from the Dashboard (F1)."
        await pilot.press("f1", "q")
        await pilot.pause()
        assert isinstance(app.screen, ConfirmDialog)
        await pilot.press("n")
        await pilot.pause()
        assert not isinstance(app.screen, ConfirmDialog)
        assert core.stopped == 0
        await pilot.press("q")
        await pilot.pause()
        await pilot.press("y")
    assert app.return_code == 0
    assert core.stopped == 1


async def test_ctrl_c_asks_from_any_view(app: PersonaApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("f10", "ctrl+c")
        await pilot.pause()
        assert isinstance(app.screen, ConfirmDialog)


async def test_the_core_is_stopped_once_however_the_app_ends(app: PersonaApp, core: TinyCore) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
    assert core.stopped == 1


@pytest.mark.long
async def test_the_command_line_completes_and_opens_a_view(app: PersonaApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("colon", "c", "a", "l")
        await pilot.pause()
        assert "calendar" in screen_text(pilot)
        await pilot.press("tab", "enter")
        await settle(pilot)
        assert app.current_mode == "posts"


async def test_the_command_line_knows_every_name_of_every_view(app: PersonaApp) -> None:
    async with app.run_test(size=SMALL):
        commands = commands_of(app)
        for mode in MODES:
            for word in (mode.name, *mode.aliases):
                assert matching(commands, word)[0].action == f"global.{mode.name}"


async def test_the_command_line_carries_out_an_action_by_its_name(app: PersonaApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        dark = app.current_theme.dark
        await pilot.press("colon", *"global.theme", "enter")
        await settle(pilot)
        assert app.current_theme.dark is not dark


async def test_an_unknown_word_keeps_the_command_line_open(app: PersonaApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("colon", *"xyzzy", "enter")
        await pilot.pause()
        assert "nothing goes by that name" in screen_text(pilot)
        await pilot.press("escape")
        assert app.current_mode == "dashboard"


@pytest.mark.long
async def test_the_palette_runs_what_is_chosen(app: PersonaApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("ctrl+p")
        await pilot.pause()
        await pilot.press(*"loras")
        await pilot.pause(0.5)
        assert "[F10]" in screen_text(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert app.current_mode == "loras"


async def test_help_says_what_the_screen_is_for_and_lists_its_keys(app: PersonaApp) -> None:
    async with app.run_test(size=LARGE) as pilot:
        await settle(pilot)
        await pilot.press("f11", "question_mark")
        await pilot.pause()
        assert isinstance(app.screen, TextDialog)
        text = screen_text(pilot)
        assert "Help: Jobs & logs" in text
        assert "Background work: what runs, waits or failed" in text
        assert "jobs.level" in text
        assert "IN LISTS" in text
        await pilot.press("escape")
        assert app.current_mode == "jobs"


async def test_a_persona_is_chosen_anywhere_and_every_view_hears_of_it(app: PersonaApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        probe = ProbeScreen()
        await app.push_screen(probe)
        await settle(pilot)
        probe.set_focus(None)
        before = probe.reads
        await pilot.press("P")
        await settle(pilot)
        assert isinstance(app.screen, ChoiceDialog)
        await pilot.press(*"mir", "enter")
        await settle(pilot)
        assert app.persona_id == 2
        assert probe.reads == before + 1
        assert "Persona: mira" in screen_text(pilot)


async def test_a_renamed_persona_is_shown_by_its_new_name(app: PersonaApp, core: TinyCore) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        core.database.personas[0].name = "helena"
        core.say("persona", 1)
        for _ in range(20):
            await pilot.pause(0.05)
            if app.persona and app.persona.name == "helena":
                break
        assert "Persona: helena" in screen_text(pilot)


async def test_the_clock_shows_the_personas_time(app: PersonaApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        assert "13:30" in screen_text(pilot).splitlines()[1]


async def test_sandbox_is_said_in_a_word(make_app: MakeApp) -> None:
    async with make_app(environment="sandbox").run_test(size=SMALL) as pilot:
        await settle(pilot)
        assert "SANDBOX" in screen_text(pilot).splitlines()[1]


async def test_live_does_not_say_sandbox(app: PersonaApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        assert "SANDBOX" not in screen_text(pilot)


async def test_a_small_terminal_gets_a_sentence_and_recovers(app: PersonaApp) -> None:
    async with app.run_test(size=(70, 20)) as pilot:
        await settle(pilot)
        assert "needs 80×24; this is 70×20" in screen_text(pilot)
        await pilot.resize_terminal(*SMALL)
        await pilot.pause(0.2)
        assert "needs 80×24" not in screen_text(pilot)
        await pilot.press("question_mark")
        await pilot.resize_terminal(100, 23)
        await pilot.pause(0.2)
        assert "needs 80×24; this is 100×23" in screen_text(pilot)
        await pilot.resize_terminal(*SMALL)
        await pilot.pause(0.2)
        assert isinstance(app.screen, TextDialog)
        assert "Help: Dashboard" in screen_text(pilot)


async def test_a_large_terminal_names_all_views(app: PersonaApp) -> None:
    async with app.run_test(size=LARGE) as pilot:
        await settle(pilot)
        bar = screen_text(pilot).splitlines()[2]
        assert all(f"{mode.key.upper()} {mode.short}" in bar for mode in MODES)


async def test_nothing_moves_or_blinks_over_ssh(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    monkeypatch.setenv("SSH_CONNECTION", "203.0.113.5 50000 198.51.100.7 22")
    assert not app.moving
    async with make_app().run_test(size=SMALL) as pilot:
        await pilot.press("colon")
        await pilot.pause()
        assert pilot.app.animation_level == "none"
        assert not pilot.app.screen.query_one("Input").cursor_blink  # type: ignore[attr-defined]


async def test_the_themes_follow_the_setting(make_app: MakeApp) -> None:
    assert make_app(terminal={"theme": "light"}).current_theme.name == "persona-light"
    assert make_app(terminal={"theme": "dark"}).current_theme.name == "persona-dark"
