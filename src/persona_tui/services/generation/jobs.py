"""Jobs as rows: one try at one place, and its moves.

A job's `prompt_id` is its fence: it is committed before the prompt is sent, a new one is taken before the job
is sent again, and every move names the one it is about. Whoever holds an old one changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CursorResult, text
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.models.pipeline import LIVE_JOB_STATES, ComfyuiJob, GenerationSlot
from persona_tui.services.generation import progress
from persona_tui.services.generation.tree import LIVE
from persona_tui.services.generation.variables import derive_seed

SENT = ("submitting", "submitted", "running", "storing")
"""States in which a server may know the job."""


@dataclass(frozen=True)
class LiveJob:
    """A job that is under way.

    Attributes:
        position: of its step in the run.
        attempts: how often it was sent.
        age: seconds since it was last sent; None before.
        timeout: seconds that it may run.
        output_node: node whose pictures count; None means every SaveImage.
    """

    id: int
    prompt_id: uuid.UUID
    run_id: int
    run_step_id: int
    slot_id: int
    position: int
    state: str
    attempts: int
    age: float | None
    timeout: int
    output_node: str | None


@dataclass(frozen=True)
class Advance:
    """A step that a job took: from any of the states `source` to `target`."""

    job: LiveJob
    source: tuple[str, ...]
    target: str


@dataclass(frozen=True)
class RetryPolicy:
    """What follows a failure.

    Attributes:
        delays: seconds before the first, second, … retry; the last one repeats.
        failures: after so many a place is given up.
    """

    delays: tuple[float, ...] = (1.0, 4.0, 15.0, 60.0)
    failures: int = 3

    def delay(self, failures: int) -> float:
        """Seconds to wait after that many failures in a row."""
        return self.delays[min(failures, len(self.delays)) - 1] if failures else 0.0


_JOBS = f"""
SELECT j.id, j.prompt_id, j.run_id, j.run_step_id, j.slot_id, st.position, j.state, j.attempts,
       CAST(extract(epoch FROM persona_now() - j.submitted_at) AS double precision) AS age,
       ps.timeout_seconds AS timeout, ps.output_node
FROM comfyui_jobs j
JOIN pipeline_run_steps st ON st.id = j.run_step_id
JOIN pipeline_steps ps ON ps.id = st.pipeline_step_id
WHERE j.state IN {LIVE}
"""


def live_jobs(session: Session, endpoint: str) -> tuple[LiveJob, ...]:
    """The jobs that are under way at an endpoint, oldest first."""
    rows = session.execute(text(f"{_JOBS} AND j.endpoint = :endpoint ORDER BY j.id"), {"endpoint": endpoint})
    return tuple(LiveJob(**row._mapping) for row in rows)


def find_job(session: Session, job_id: int) -> LiveJob | None:
    """One job, while it is under way."""
    row = session.execute(text(f"{_JOBS} AND j.id = :id"), {"id": job_id}).one_or_none()
    return None if row is None else LiveJob(**row._mapping)


def find_jobs(session: Session, job_ids: Sequence[int]) -> tuple[LiveJob, ...]:
    """Those of the jobs that are under way, in the order that is asked for."""
    rows = session.execute(text(f"{_JOBS} AND j.id = ANY (:ids)"), {"ids": list(job_ids)})
    found = {row.id: LiveJob(**row._mapping) for row in rows}
    return tuple(found[job_id] for job_id in job_ids if job_id in found)


def advance(session: Session, steps: Sequence[Advance]) -> None:
    """Write down what jobs have come to last, as far as nobody else has them in hand.

    Only for what may be missed: a job that another transaction holds (it is being cancelled, say) is left as
    it is, rather than waited for in an order that could block both. What is missed the next survey finds.
    """
    free = session.execute(
        text("SELECT id FROM comfyui_jobs WHERE id = ANY (:ids) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"),
        {"ids": [step.job.id for step in steps]},
    )
    unlocked = set(free.scalars())
    newest = {step.job.id: step for step in steps if step.job.id in unlocked}
    for step in newest.values():
        move(session, step.job, step.source, step.target)


def add_job(session: Session, slot_id: int, endpoint: str, *, wait: float) -> int:
    """Give a place its next job; the place's row is locked by the caller.

    Args:
        wait: seconds before anybody but the caller may take it.

    Returns:
        The job's id.
    """
    (slot,) = rows_of(session, _PLACE, {"slot": slot_id, "wait": wait})
    parent = None if slot.parent_seed is None else (slot.parent_seed, slot.output_index)
    seed = derive_seed(slot.seed, slot.position, parent, slot.slot_no, slot.attempt)
    (added,) = rows_of(
        session,
        _ADD,
        {
            "slot": slot_id,
            "run": slot.run_id,
            "step": slot.run_step_id,
            "endpoint": endpoint,
            "seed": seed,
            "not_before": slot.not_before,
        },
    )
    return int(added.id)


_PLACE = (
    "SELECT s.run_id, s.run_step_id, s.slot_no, st.position, r.seed, p.seed AS parent_seed,"
    " p.output_index, (SELECT count(*) FROM comfyui_jobs j WHERE j.slot_id = s.id) AS attempt,"
    " persona_now() + make_interval(secs => CAST(:wait AS double precision)) AS not_before"
    " FROM generation_slots s JOIN pipeline_run_steps st ON st.id = s.run_step_id"
    " JOIN pipeline_runs r ON r.id = s.run_id LEFT JOIN image_candidates p ON p.id = s.parent_id"
    " WHERE s.id = :slot"
)
_ADD = (
    "WITH taken AS (UPDATE generation_slots SET state = 'busy' WHERE id = :slot RETURNING id)"
    " INSERT INTO comfyui_jobs (prompt_id, run_id, run_step_id, slot_id, endpoint, seed, not_before)"
    " SELECT gen_random_uuid(), :run, :step, id, :endpoint, :seed, :not_before FROM taken"
    " RETURNING id"
)


def move(session: Session, job: LiveJob, source: Sequence[str], target: str) -> bool:
    """Move a job on, if it still is what the caller takes it for.

    Returns:
        Whether it was; False when it was cancelled, sent again, or moved by another engine.
    """
    moved = rows_of(
        session,
        _END if target in ("done", "failed") else _MOVE,
        {"id": job.id, "prompt": job.prompt_id, "source": list(source), "target": target},
    )
    return bool(moved)


_MOVE = """
UPDATE comfyui_jobs SET state = :target
WHERE id = :id AND prompt_id = :prompt AND state = ANY (:source) RETURNING id
"""
_END = """
UPDATE comfyui_jobs SET state = :target, finished_at = persona_now()
WHERE id = :id AND prompt_id = :prompt AND state = ANY (:source) RETURNING id
"""


def requeue(session: Session, job: LiveJob, *, wait: float = 0.0, sent: bool = True) -> bool:
    """Put a job that certainly makes no picture back into our queue, under a new prompt id.

    Args:
        wait: seconds before it may be sent again.
        sent: whether the last attempt counts as one.

    Returns:
        Whether it was still the caller's to put back.
    """
    return _changed(
        session,
        "UPDATE comfyui_jobs SET state = 'queued', prompt_id = :fresh, attempts = attempts - :unsent,"
        " not_before = persona_now() + make_interval(secs => :wait)"
        f" WHERE id = :id AND prompt_id = :prompt AND state IN {LIVE}",
        {
            "id": job.id,
            "prompt": job.prompt_id,
            "fresh": uuid.uuid4(),
            "wait": wait,
            "unsent": 0 if sent else 1,
        },
    )


def lose(session: Session, job: LiveJob, policy: RetryPolicy) -> bool:
    """Note that the server forgot a job, and put it back into our queue.

    One that was running may have been what ended the server, so that counts as a failure of its place.

    Returns:
        Whether it was still the caller's.
    """
    if job.state != "running":
        return requeue(session, job)
    progress.lock_run(session, job.run_id)
    failures = 1 + session.get_one(GenerationSlot, job.slot_id, populate_existing=True).failures
    if failures >= policy.failures:
        return fail(session, job, "The server ended each time while it made this picture.", policy)
    if not requeue(session, job, wait=policy.delay(failures)):
        return False
    _count_failure(session, job.slot_id)
    return True


def fail(session: Session, job: LiveJob, words: str, policy: RetryPolicy, *, permanent: bool = False) -> bool:
    """End a job as failed. Its place gets another one after a while, or is given up.

    Args:
        words: what the operator is told.
        permanent: no retry can help (the server refused the workflow, the guard refused it): the place and
            the run fail.

    Returns:
        Whether it was still the caller's.
    """
    run = progress.lock_run(session, job.run_id)
    if not move(session, job, LIVE_JOB_STATES, "failed"):
        return False
    session.execute(
        text("UPDATE comfyui_jobs SET error_message = :words WHERE id = :id"), {"words": words, "id": job.id}
    )
    failures = _count_failure(session, job.slot_id)
    if permanent or failures >= policy.failures:
        _set_slot(session, job.slot_id, "failed")
        run.reason = f"Step {job.position}: {words}"
        if permanent and run.status in progress.ACTIVE:
            run.status = "failed"
    else:
        endpoint = session.get_one(ComfyuiJob, job.id).endpoint
        add_job(session, job.slot_id, endpoint, wait=policy.delay(failures))
    progress.refresh_run(session, run)
    return True


def unwanted_prompts(session: Session, endpoint: str, prompt_ids: Sequence[str]) -> tuple[str, ...]:
    """Which of these prompts on the server are ours and no longer wanted: cancelled or given up."""
    ours = [prompt_id for prompt_id in prompt_ids if _is_uuid(prompt_id)]
    rows = session.execute(
        text(
            "SELECT CAST(prompt_id AS text) FROM comfyui_jobs"
            " WHERE prompt_id = ANY (CAST(:prompts AS uuid[])) AND endpoint = :endpoint"
            " AND state IN ('cancelled', 'failed')"
        ),
        {"endpoint": endpoint, "prompts": ours},
    )
    return tuple(rows.scalars())


def _is_uuid(prompt_id: str) -> bool:
    try:
        return str(uuid.UUID(prompt_id)) == prompt_id
    except ValueError:
        return False


def _count_failure(session: Session, slot_id: int) -> int:
    row = session.execute(
        text("UPDATE generation_slots SET failures = failures + 1 WHERE id = :slot RETURNING failures"),
        {"slot": slot_id},
    )
    return int(row.scalar_one())


def _set_slot(session: Session, slot_id: int, state: str) -> None:
    session.execute(
        text("UPDATE generation_slots SET state = :state WHERE id = :slot"), {"slot": slot_id, "state": state}
    )


def _changed(session: Session, statement: str, values: dict[str, Any]) -> bool:
    result = session.execute(text(statement), values)
    assert isinstance(result, CursorResult)
    return result.rowcount == 1
