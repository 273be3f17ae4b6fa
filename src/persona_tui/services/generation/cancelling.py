"""Ending work before its time: one job, or everything. What runs on a server is interrupted by the engine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import NotAllowedNow, UnknownName
from persona_tui.models.pipeline import ComfyuiJob
from persona_tui.services.generation import progress, runs, tree
from persona_tui.services.safety import audit


@dataclass(frozen=True)
class GenerationJob:
    """One try at one picture, as the operator sees it.

    Attributes:
        state: queued, submitting, submitted, running, storing; done, failed, lost, cancelled.
        attempts: how often it was sent.
        gpu_seconds: reserved while it is under way, then as the server measured it.
        message: why it failed or was lost.
    """

    id: int
    run_id: int
    step: int
    parent_id: int | None
    slot_no: int
    state: str
    endpoint: str
    attempts: int
    seed: int
    gpu_seconds: float
    message: str
    created_at: datetime
    submitted_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


_JOBS = """
SELECT j.id, j.run_id, st.position AS step, s.parent_id, s.slot_no, j.state, j.endpoint, j.attempts, j.seed,
       j.gpu_seconds, j.error_message AS message, j.created_at, j.submitted_at, j.started_at, j.finished_at
FROM comfyui_jobs j JOIN generation_slots s ON s.id = j.slot_id
JOIN pipeline_run_steps st ON st.id = j.run_step_id
"""


def list_generation_jobs(
    session: Session, run_id: int | None = None, *, live: bool = False, limit: int = 100
) -> tuple[GenerationJob, ...]:
    """Jobs, the newest first.

    Args:
        run_id: of this run alone.
        live: only those under way.

    Raises:
        UnknownName: there is no such run.
    """
    if run_id is not None:
        runs.run_detail(session, run_id)
    rows = session.execute(
        text(
            f"{_JOBS} WHERE (CAST(:run AS bigint) IS NULL OR j.run_id = :run)"
            f" AND (NOT :live OR j.state IN {tree.LIVE}) ORDER BY j.id DESC LIMIT :limit"
        ),
        {"run": run_id, "live": live, "limit": limit},
    )
    return tuple(GenerationJob(**row._mapping) for row in rows)


def cancel_job(session: Session, job_id: int, *, actor: str = "operator") -> GenerationJob:
    """Cancel a job and give its place up; `run resume` tries that place again.

    Raises:
        UnknownName: there is no such job.
        NotAllowedNow: it has ended.
    """
    job = session.get(ComfyuiJob, job_id)
    if job is None:
        raise UnknownName(f"There is no job {job_id}.", hint="`persona-tui run jobs` lists them.")
    run = progress.lock_run(session, job.run_id)
    if not tree.cancel_jobs(session, job.run_id, slots=[job.slot_id], job_id=job_id):
        session.refresh(job)
        raise NotAllowedNow(
            f"Job {job_id} is {job.state}.", hint="`persona-tui run jobs` lists those that are under way."
        )
    session.execute(text("UPDATE generation_slots SET state = 'failed' WHERE id = :id"), {"id": job.slot_id})
    progress.refresh_run(session, run)
    audit.append(
        session,
        actor=actor,
        action="job.cancel",
        persona_id=run.persona_id,
        subject=f"comfyui_jobs:{job_id}",
    )
    row = session.execute(text(f"{_JOBS} WHERE j.id = :id"), {"id": job_id}).one()
    return GenerationJob(**row._mapping)


def unfinished_runs(session: Session) -> tuple[int, ...]:
    """The runs that `cancel_all` would end."""
    rows = session.execute(
        text(
            "SELECT id FROM pipeline_runs WHERE status IN ('pending', 'running', 'waiting', 'paused')"
            " ORDER BY id"
        )
    )
    return tuple(rows.scalars())


def cancel_all(session: Session) -> tuple[int, ...]:
    """End every run that has not ended; pictures stay. Returns their ids."""
    found = unfinished_runs(session)
    for run_id in found:
        progress.lock_run(session, run_id)  # all before the first is ended, since that locks the audit trail
    for run_id in found:
        runs.cancel_run(session, run_id)
    return found
