"""What follows when a server can't run a step: another one gets the job, or the run ends with the reason."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.services.generation import progress
from persona_tui.services.generation.bench import Bench
from persona_tui.services.generation.jobs import LiveJob

ANYWHERE = ""
"""The endpoint of a job that any server may take."""


async def pass_on(bench: Bench, job: LiveJob) -> None:
    """Give a job back that this endpoint can't run; where no server can, its run fails with the reasons."""
    await bench.transact(hand_over, job)
    nowhere = bench.yard.barred_everywhere()
    waits = bench.yard.away_from(job.run_step_id, bench.healthy())
    if job.run_step_id in nowhere:
        await bench.transact(stop_runs, {job.run_step_id: nowhere[job.run_step_id]})
        bench.yard.lift(job.run_step_id)
    elif waits is not None:
        bench.yard.waiting.add(job.run_step_id)
        await bench.transact(set_reason, job, f"Step {job.position}: {waits}")


async def note_fit(bench: Bench, job: LiveJob) -> None:
    """A job can run here: what its run said of waiting is over."""
    if job.run_step_id in bench.yard.waiting:
        bench.yard.waiting.discard(job.run_step_id)
        await bench.transact(set_reason, job, "")


async def review(bench: Bench) -> None:
    """Lift this endpoint's bars where what was missing is there by now, or nobody waits any more."""
    bars = bench.capabilities.bars
    if not bars:
        return
    wanted = await bench.transact(steps_in_need, tuple(bars))
    for run_step_id in [step for step in bars if step not in wanted]:
        bars.pop(run_step_id, None)
    await bench.capabilities.look_again()


def hand_over(session: Session, job: LiveJob) -> None:
    """Let another server take a job that was not sent, or was refused for what the server lacks."""
    session.execute(
        text(
            "UPDATE comfyui_jobs SET attempts = attempts - CAST(state = 'submitting' AS int),"
            " state = 'queued', endpoint = :anywhere, prompt_id = :fresh, not_before = NULL"
            " WHERE id = :id AND prompt_id = :prompt AND state IN ('queued', 'submitting')"
        ),
        {"anywhere": ANYWHERE, "fresh": uuid.uuid4(), "id": job.id, "prompt": job.prompt_id},
    )


def stop_runs(session: Session, reasons: Mapping[int, str]) -> None:
    """Fail the runs whose open step no server can run.

    Args:
        reasons: run step's id → what is missing where.
    """
    for run_step_id, words in sorted(reasons.items()):
        row = session.execute(
            text("SELECT run_id, position FROM pipeline_run_steps WHERE id = :id"), {"id": run_step_id}
        ).one()
        run = progress.lock_run(session, row.run_id)
        if run.status not in progress.ACTIVE:
            continue
        run.status, run.reason = "failed", f"Step {row.position}: {words}"
        progress.refresh_run(session, run)


def set_reason(session: Session, job: LiveJob, words: str) -> None:
    """Say in the run why its job waits, or that it no longer does."""
    run = progress.lock_run(session, job.run_id)
    if run.status in progress.ACTIVE:
        run.reason = words
        progress.refresh_run(session, run)


def steps_in_need(session: Session, run_step_ids: Collection[int]) -> frozenset[int]:
    """Those of some run steps whose runs are under way."""
    rows = session.execute(
        text(
            "SELECT st.id FROM pipeline_run_steps st JOIN pipeline_runs r ON r.id = st.run_id"
            " WHERE st.id = ANY (:steps) AND r.status IN ('pending', 'running')"
        ),
        {"steps": list(run_step_ids)},
    )
    return frozenset(rows.scalars())
