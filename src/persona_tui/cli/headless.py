"""`persona-tui demo`, `scheduler` and `worker`."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from persona_tui.cli.frame import AsJson, note, show

if TYPE_CHECKING:
    from datetime import datetime

    from persona_tui.settings import Settings


def scheduler(
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, then end.")] = False,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Play the plan on a copy, against the sandbox, at speed.")
    ] = False,
    days: Annotated[
        int | None, typer.Option(help="With --rehearse: so many days from now on, 7 unless said.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Generate, publish and work on jobs without a screen, until stopped; or rehearse what is planned."""
    from persona_tui.errors import InvalidRequest
    from persona_tui.headless.daemon import run_once, run_until_stopped
    from persona_tui.settings import load_settings

    settings = load_settings()
    if rehearse and once:
        raise InvalidRequest("--rehearse and --once exclude each other.", hint="Choose one of the two.")
    if days is not None and not rehearse:
        raise InvalidRequest("--days is for a rehearsal.", hint="Say --rehearse as well, or leave it out.")
    if rehearse:
        _rehearse(settings, 7 if days is None else days, as_json)
        return
    if once:
        report = asyncio.run(run_once(settings))
        show(report, as_json, lambda: [f"✅ {report.sentence}" if report.led else f"ℹ️  {report.sentence}"])
        return
    asyncio.run(run_until_stopped(settings, kind="scheduler", say=note))


def _rehearse(settings: Settings, days: int, as_json: bool) -> None:
    from persona_tui.rehearsal import run_rehearsal, told

    out = -1

    def progress(done: int, of: int, now: datetime) -> None:
        nonlocal out
        if done != out:
            out = done
            note(f"{now:%d %b %H:%M} UTC: {done} of {of} posts are out")

    played = run_rehearsal(settings, days, progress=progress)
    show(played, as_json, lambda: told(played))
    if not played.smooth:
        raise typer.Exit(1)


def worker() -> None:
    """Work on background jobs only; any number of these may run, on any machine."""
    from persona_tui.headless.daemon import run_until_stopped
    from persona_tui.settings import load_settings

    asyncio.run(run_until_stopped(load_settings(), kind="worker", say=note))


def demo(
    headless: Annotated[bool, typer.Option("--headless", help="Play the day without a screen.")] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Wipe the demo's own data first.")] = False,
    env: Annotated[
        bool, typer.Option("--env", help="Print how commands reach the running demo, for a shell's eval.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """A whole day with a sample persona: no card, account or key needed; nothing leaves this machine."""
    if env:
        _tell_shell()
        return
    if reset:
        from persona_tui.headless.demo import reset as wipe

        wipe()
        note("✅ The demo's data is gone.")
        if not headless and not as_json and not sys.stdout.isatty():
            return
    if headless:
        from persona_tui.headless import scripted_day as day

        result = asyncio.run(day.play(say=note))
        show(result, as_json, lambda: day.told(result))
        return
    from persona_tui.cli.app import open_demo

    open_demo()


def _tell_shell() -> None:
    from persona_tui.headless.demo import NOTHING_SET, demo_environment

    try:
        print(demo_environment(), end="")
    except Exception:
        print(NOTHING_SET)  # an eval of nothing would succeed
        raise
