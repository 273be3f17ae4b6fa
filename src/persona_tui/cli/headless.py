"""`persona-tui demo`, `scheduler` and `worker`."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from persona_tui.cli.frame import AsJson, note, show


def scheduler(
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, then end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Generate, publish and work on jobs without a screen, until stopped."""
    from persona_tui.headless.daemon import run_once, run_until_stopped
    from persona_tui.settings import load_settings

    settings = load_settings()
    if once:
        report = asyncio.run(run_once(settings))
        show(report, as_json, lambda: [f"✅ {report.sentence}" if report.led else f"ℹ️  {report.sentence}"])
        return
    asyncio.run(run_until_stopped(settings, kind="scheduler", say=note))


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
        from persona_tui.headless.demo import demo_environment

        print(demo_environment(), end="")
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
