"""Whatever fails, the operator reads a sentence and the app goes on."""

from __future__ import annotations

import asyncio

import pytest
from textual.message import Message
from textual.pilot import Pilot

from persona_tui.app import PersonaApp
from persona_tui.errors import NotAllowedNow, PersonaError
from persona_tui.screens import core_link
from persona_tui.widgets.messages import DatabaseBack, DatabaseLost, Failed
from persona_tui.widgets.reader import ErrorDialog
from persona_tui.widgets.section import SectionTitle
from tests.ui.support import ProbeScreen, TinyCore, said, screen_text, settle

SIZE = (80, 24)


async def opened(pilot: Pilot[None]) -> ProbeScreen:
    await settle(pilot)
    probe = ProbeScreen()
    await pilot.app.push_screen(probe)
    await settle(pilot)
    return probe


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_link, "DATABASE_PAUSES", (0.01,))


def raiser(error: Exception):  # type: ignore[no-untyped-def]
    def fail(*_: object) -> None:
        raise error

    return fail


async def test_a_short_error_is_said_in_the_message_line(app: PersonaApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        probe = await opened(pilot)
        error = PersonaError("It broke.", title="Oh", hint="Mend it.")
        probe.spawn(probe.act(raiser(error)))
        await settle(pilot)
        assert said(pilot) == "Oh: It broke. Mend it."
        assert "❌ Oh: It broke. Mend it." in screen_text(pilot)


async def test_a_long_error_gets_a_dialog(app: PersonaApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        probe = await opened(pilot)
        error = PersonaError("A very long story about what went wrong. " * 3, hint="Read on.")
        probe.spawn(probe.act(raiser(error)))
        await settle(pilot)
        assert isinstance(app.screen, ErrorDialog)
        assert "Read on." in screen_text(pilot)
        await pilot.press("escape")
        assert app.screen is probe


async def test_an_error_while_reading_in_the_background_opens_no_dialog(app: PersonaApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        probe = await opened(pilot)
        probe.on_reload = raiser(PersonaError("A very long story about what went wrong. " * 3))
        probe.request_reload()
        await settle(pilot)
        assert app.screen is probe
        assert said(pilot).startswith("Something failed: A very long story")


@pytest.mark.long(but=["handler", "worker"])
@pytest.mark.parametrize("where", ["worker", "timer", "handler", "action", "next callback", "paint"])
async def test_what_nobody_foresaw_is_one_sentence_and_the_app_goes_on(
    app: PersonaApp, where: str, monkeypatch: pytest.MonkeyPatch, unforeseen: list[BaseException]
) -> None:
    messages: list[Message] = []
    flaw = ZeroDivisionError("secret detail")
    async with app.run_test(size=SIZE, message_hook=messages.append) as pilot:
        probe = await opened(pilot)
        if where == "worker":
            probe.spawn(probe.read(raiser(flaw)))
        elif where == "timer":
            probe.set_timer(0.01, raiser(flaw))
        elif where == "handler":
            monkeypatch.setattr(ProbeScreen, "on_domain_event", raiser(flaw))
            app.core.say("run", 1)  # type: ignore[attr-defined]
        elif where == "action":
            monkeypatch.setattr(app, "action_theme", raiser(flaw))
            await pilot.press("ctrl+t")
        elif where == "next callback":
            probe.call_next(raiser(flaw))
        else:
            monkeypatch.setattr(probe.query_one(SectionTitle), "render", raiser(flaw))
            probe.query_one(SectionTitle).refresh()
        await settle(pilot)
        await pilot.pause(0.3)
        assert said(pilot) == "Something unforeseen failed. The log has the details (F11)."
        assert where == "paint" or "secret detail" not in screen_text(pilot)
        assert any(isinstance(m, Failed) and m.error is flaw and not m.expected for m in messages)
        assert set(unforeseen) == {flaw}
        unforeseen.clear()
        probe.set_focus(None)
        await probe.query_one(SectionTitle).remove()
        unforeseen.clear()
        await pilot.press("f10")
        await settle(pilot)
        assert app.current_mode == "loras"


async def test_a_lost_database_is_said_until_it_is_back_and_then_read_again(
    app: PersonaApp, core: TinyCore
) -> None:
    messages: list[Message] = []
    async with app.run_test(size=SIZE, message_hook=messages.append) as pilot:
        probe = await opened(pilot)
        probe.on_reload = lambda: None
        core.database.away = True
        probe.request_reload()
        await settle(pilot)
        assert app.database_away
        assert said(pilot) == "Database is away, reconnecting…"
        assert "database away" in screen_text(pilot)
        reads = probe.reads
        with pytest.raises(NotAllowedNow):
            await probe.act(lambda _session: None)
        core.database.away = False
        for _ in range(100):
            await pilot.pause(0.02)
            if not app.database_away:
                break
        await settle(pilot)
        assert said(pilot) == ""
        assert probe.reads == reads + 1
        kinds = [type(m) for m in messages if isinstance(m, DatabaseLost | DatabaseBack)]
        assert kinds.index(DatabaseLost) < kinds.index(DatabaseBack)


async def test_a_view_reads_again_after_its_events_and_only_then(app: PersonaApp, core: TinyCore) -> None:
    async with app.run_test(size=SIZE) as pilot:
        probe = await opened(pilot)
        before = probe.reads
        core.say("vote", 1)
        await pilot.pause(0.5)
        assert probe.reads == before
        for number in range(200):
            core.say("run", number % 3)
        await pilot.pause(0.6)
        assert probe.reads == before + 1
        core.say(None)
        await pilot.pause(0.6)
        assert probe.reads == before + 2


async def test_a_view_behind_another_reads_when_it_comes_back(app: PersonaApp, core: TinyCore) -> None:
    async with app.run_test(size=SIZE) as pilot:
        probe = await opened(pilot)
        probe.set_focus(None)
        await pilot.press("f10")
        await settle(pilot)
        before = probe.reads
        core.say("run", 1)
        await pilot.pause(0.5)
        assert probe.reads == before
        await pilot.press("f1")
        await settle(pilot)
        assert app.screen is probe
        assert probe.reads == before + 1


async def test_services_run_off_the_loops_thread_inside_a_session(app: PersonaApp) -> None:
    import threading

    async with app.run_test(size=SIZE) as pilot:
        probe = await opened(pilot)
        seen = await probe.read(
            lambda session, word, end: (session is not None, threading.current_thread(), word + end),
            "a",
            end="b",
        )
        assert seen[0] and seen[2] == "ab"
        assert seen[1] is not threading.current_thread()


async def test_acting_before_the_core_has_started_is_refused_with_a_sentence(
    app: PersonaApp, core: TinyCore
) -> None:
    gate = asyncio.Event()
    core.start = gate.wait  # type: ignore[method-assign]
    async with app.run_test(size=SIZE) as pilot:
        probe = ProbeScreen()
        await app.push_screen(probe)
        with pytest.raises(NotAllowedNow, match="still starting"):
            await probe.act(lambda _session: None)
        gate.set()
        await settle(pilot)


@pytest.mark.long
async def test_a_flood_of_failures_ends_the_app_with_a_sentence(
    app: PersonaApp, unforeseen: list[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with app.run_test(size=SIZE) as pilot:
            probe = await opened(pilot)
            probe.set_interval(0.001, raiser(ZeroDivisionError("secret detail")))
            for _ in range(200):
                await pilot.pause(0.02)
    unforeseen.clear()
    told = " ".join(capfd.readouterr().err.split())
    assert app.return_code == 1
    assert "persona-tui had to stop: ZeroDivisionError" in told
    assert "Traceback" not in told
    assert "secret detail" not in told


async def test_training_11_a_busy_notice_ends_with_the_act_that_failed(app: PersonaApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        probe = await opened(pilot)
        goes_on = asyncio.Event()

        async def act(error: Exception, notice: str) -> None:
            probe.flash(notice, "busy", seconds=600)
            await goes_on.wait()
            raise error

        long = PersonaError("A very long story about what went wrong. " * 3, hint="Read on.")
        probe.spawn(act(long, "Starting…"))
        await settle_until_said(pilot, "Starting…")
        goes_on.set()
        await settle(pilot)
        assert isinstance(app.screen, ErrorDialog)
        await pilot.press("escape")
        await settle(pilot)
        assert said(pilot) == ""
        # What another one has said since stays, and so does what a cancelled one's successor says.
        goes_on.clear()
        first = probe.spawn(act(long, "First…"))
        await settle_until_said(pilot, "First…")
        probe.spawn(act(long, "Second…"))
        await settle_until_said(pilot, "Second…")
        first.cancel()
        await settle_until_said(pilot, "Second…")
        assert said(pilot) == "Second…"


async def settle_until_said(pilot: Pilot[None], words: str) -> None:
    for _ in range(100):
        await pilot.pause(0.01)
        if said(pilot) == words:
            return
    raise AssertionError(said(pilot))
