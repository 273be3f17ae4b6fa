"""A night with the whole core and a server: in the morning the finished candidates wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.day import day_world
from tests.support.sandbox import SandboxProcess

from persona_tui.runtime import Core
from persona_tui.services.generation import night, runs
from persona_tui.services.generation.runs import RunDetail
from persona_tui.settings import Settings

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def spend_a_night(settings: Settings) -> tuple[RunDetail, RunDetail]:
    """Begin a run in the evening; returns it as it waits in the morning, and after the night was undone."""
    core = Core(settings, kind="scheduler")
    await core.start()
    try:
        with core.database.session_scope() as session:
            plan = {"pipeline": "two-step", "prompt": "a bowl", "night": "at", "night_at": LONG_AGO}
            run_id = runs.create_run(session, plan).id
        morning = await reach(core, run_id, lambda run: run.current.is_last and run.status == "waiting")
        with core.database.session_scope() as session:
            night.undo_night(session, run_id, actor="Olga")
        return morning, await reach(core, run_id, lambda run: not run.steps[0].approved)
    finally:
        await core.stop()


async def reach(core: Core, run_id: int, there: Callable[[RunDetail], bool]) -> RunDetail:
    """Wait until the run is so, as the leading process makes it."""

    def look() -> RunDetail:
        with core.database.session_scope() as session:
            return runs.run_detail(session, run_id)

    async with asyncio.timeout(120):
        while not there(run := await asyncio.to_thread(look)):
            assert run.status != "failed", run.reason
            await asyncio.sleep(0.05)
    return run


@pytest.mark.long
def test_finished_candidates_wait_in_the_morning(tmp_path: Path) -> None:
    sandbox = SandboxProcess(tmp_path / "sandbox")
    try:
        with day_world(sandbox) as world:
            morning, undone = asyncio.run(spend_a_night(world.settings))
    finally:
        sandbox.stop()

    first, last = morning.steps
    assert (first.approved_by, morning.winner_id) == (night.ACTOR, None)
    assert first.approval_reason.startswith("Nobody voted; by technical quality (0.")
    assert (last.active, last.approved) == (2, False)
    assert (undone.night, undone.status) == ("off", "waiting")
    assert [(step.approved, step.active) for step in undone.steps] == [(False, 4), (False, 0)]
    assert undone.steps[1].rejected == 2
