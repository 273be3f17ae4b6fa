"""A process without a screen says on its line what it is doing, and when that changes."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from tests.support.day import day_world
from tests.support.sandbox import SandboxProcess

from persona_tui.database.engine import leader_lock_key, open_database
from persona_tui.headless.daemon import run_until_stopped
from persona_tui.services.leadership import Leadership
from persona_tui.settings import Settings


async def stand_by_and_take_over(settings: Settings) -> list[str]:
    """All that a scheduler says, which is started beside a leader that resigns, and then ended."""
    said: list[str] = []
    database = open_database(settings)
    leader = Leadership(database.conninfo(), leader_lock_key(database.schema), "app")
    assert await asyncio.to_thread(leader.beat)
    try:
        running = asyncio.create_task(run_until_stopped(settings, kind="scheduler", say=said.append))
        async with asyncio.timeout(60):
            while not any("standing by" in line for line in said):
                await asyncio.sleep(0.05)
            await asyncio.to_thread(leader.resign)
            while not any("leading" in line for line in said):
                await asyncio.sleep(0.05)
            os.kill(os.getpid(), signal.SIGTERM)
            await running
    finally:
        await asyncio.to_thread(leader.resign)
        database.dispose()
    return said


def test_r04_a_scheduler_says_that_it_leads_now(tmp_path: Path) -> None:
    sandbox = SandboxProcess(tmp_path / "sandbox")
    try:
        with day_world(sandbox) as world:
            said = asyncio.run(stand_by_and_take_over(world.settings))
    finally:
        sandbox.stop()
    assert [line for line in said if line.startswith("scheduler:")] == [
        "scheduler: standing by. Stop with Ctrl+C.",
        "scheduler: leading.",
    ]
    assert said[-1] == "Stopping…"
