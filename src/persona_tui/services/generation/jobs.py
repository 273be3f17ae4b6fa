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
from persona_tui.models.pipeline import LIVE_JOB_STATES, ComfyuiJob, PipelineRun
from persona_tui.services.generation import progress, spending
from persona_tui.services.generation.making import add_job
from persona_tui.services.generation.tree import LIVE

SENT = ("submitting", "submitted", "running", "storing")
"""States in which a server may know the job."""


@dataclass(frozen=True)
class LiveJob:
    """A job that is under way.

    Attributes:
        position: of its step in the run.
        attempts: how often it was sent.
        age: seconds since it was last sent; None before.
        running_for: seconds since it was first seen to run; None before.
        suspect: the server took it and was started again since: it may be lost (R11).
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
    running_for: float | None
    suspect: bool
    timeout: int
    output_node: str | None


@dataclass(frozen=True)
class Advance:
    """A step that a job took, from any earlier state in which it was sent to `target`."""

    job: LiveJob
    target: str


@dataclass(frozen=True)
class RetryPolicy:
    """What follows a failure.

    Attributes:
        delays: seconds before the first, second, … retry; the last one repeats. An endpoint that is away is
            asked again after the same delays.
        failures: after so many tries a place is given up.
    """

    delays: tuple[float, ...] = (1.0, 4.0, 15.0, 60.0)
    failures: int = 4

    def delay(self, failures: int) -> float:
        """Seconds to wait after that many failures in a row."""
        return self.delays[min(failures, len(self.delays)) - 1] if failures else 0.0


_JOBS = f"""
SELECT j.id, j.prompt_id, j.run_id, j.run_step_id, j.slot_id, st.position, j.state, j.attempts,
       CAST(extract(epoch FROM persona_now() - j.submitted_at) AS double precision) AS age,
       CAST(extract(epoch FROM persona_now() - j.started_at) AS double precision) AS running_for,
       coalesce(j.boot < (SELECT e.boot FROM comfyui_endpoints e WHERE e.url = j.endpoint), false) AS suspect,
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
    newest = {step.job.id: step for step in steps}
    rows_of(
        session,
        _ADVANCE,
        {
            "ids": list(newest),
            "prompts": [step.job.prompt_id for step in newest.values()],
            "targets": [step.target for step in newest.values()],
            "sent": list(SENT),
        },
    )


_ADVANCE = """
WITH free AS MATERIALIZED (
  SELECT j.id, step.target FROM comfyui_jobs j
  JOIN unnest(CAST(:ids AS bigint[]), CAST(:prompts AS uuid[]), CAST(:targets AS text[]))
    AS step (id, prompt_id, target) ON step.id = j.id AND step.prompt_id = j.prompt_id
  WHERE array_position(CAST(:sent AS text[]), CAST(j.state AS text))
      < array_position(CAST(:sent AS text[]), step.target)
  ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED)
UPDATE comfyui_jobs j SET state = free.target,
  started_at = CASE free.target WHEN 'submitted' THEN j.started_at
                                ELSE coalesce(j.started_at, persona_now()) END
FROM free WHERE j.id = free.id
"""
"""All steps by one statement; only forward, since notes may come late."""


def move(session: Session, job: LiveJob, source: Sequence[str], target: str) -> bool:
    """Move a job on, if it still is what the caller takes it for.

    Returns:
        Whether it was; False when it was cancelled, sent again, or moved by another engine.
    """
    moved = rows_of(
        session,
        _END if target not in LIVE_JOB_STATES else _RUN if target == "running" else _MOVE,
        {"id": job.id, "prompt": job.prompt_id, "source": list(source), "target": target},
    )
    return bool(moved)


_MOVE = """
UPDATE comfyui_jobs SET state = :target
WHERE id = :id AND prompt_id = :prompt AND state = ANY (:source) RETURNING id
"""
_RUN = """
UPDATE comfyui_jobs SET state = :target, started_at = coalesce(started_at, persona_now())
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
        " started_at = NULL, queue_number = NULL, boot = NULL,"
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


FORGOTTEN = "The server forgot it."


def lose(session: Session, job: LiveJob, policy: RetryPolicy, words: str = FORGOTTEN) -> bool:
    """Write down that the server forgot a job, and give its place another one with the same seed.

    One that was running may have been what ended the server, so that counts as a failure of its place.

    Args:
        words: what became of it, for whoever reads the jobs later.

    Returns:
        Whether it was still the caller's.
    """
    run = progress.lock_run(session, job.run_id)
    if not _end(session, job, "lost", words):
        return False
    failures = _count_failure(session, job.slot_id) if job.state == "running" else 0
    if failures >= policy.failures:
        words = "The server ended each time while it made this picture."
        spending.settle(session, [job.id], pictures=0, seconds=0.0)
        _give_up(session, run, job, words)
    else:
        _try_again(session, job, wait=policy.delay(failures), seconds=0.0)
    progress.refresh_run(session, run)
    return True


def fail(
    session: Session,
    job: LiveJob,
    words: str,
    policy: RetryPolicy,
    *,
    permanent: bool = False,
    seconds: float | None = None,
) -> bool:
    """End a job as failed. Its place gets another one after a while, or is given up.

    Args:
        words: what the operator is told.
        permanent: no retry can help (the server refused the workflow, the guard refused it): the place and
            the run fail.
        seconds: that the card was busy with it, by the server's clock; None takes ours.

    Returns:
        Whether it was still the caller's.
    """
    run = progress.lock_run(session, job.run_id)
    if not _end(session, job, "failed", words):
        return False
    failures = _count_failure(session, job.slot_id)
    if permanent or failures >= policy.failures:
        spending.settle(session, [job.id], pictures=0, seconds=seconds)
        _give_up(session, run, job, words)
        if permanent and run.status in progress.ACTIVE:
            run.status = "failed"
    else:
        _try_again(session, job, wait=policy.delay(failures), seconds=seconds)
    progress.refresh_run(session, run)
    return True


def _end(session: Session, job: LiveJob, state: str, words: str) -> bool:
    if not move(session, job, LIVE_JOB_STATES, state):
        return False
    session.execute(
        text("UPDATE comfyui_jobs SET error_message = :words WHERE id = :id"), {"words": words, "id": job.id}
    )
    return True


def _give_up(session: Session, run: PipelineRun, job: LiveJob, words: str) -> None:
    _set_slot(session, job.slot_id, "failed")
    run.reason = f"Step {job.position}: {words}"


def _try_again(session: Session, job: LiveJob, *, wait: float, seconds: float | None) -> None:
    """The place's next job, in the same budget: the picture that the last one reserved is still to come."""
    spending.settle(session, [job.id], pictures=1, seconds=seconds)
    last = session.get_one(ComfyuiJob, job.id, populate_existing=True)
    add_job(session, job.slot_id, last.endpoint, wait=wait, day=last.reserved_day)


def unwanted_prompts(session: Session, endpoint: str, prompt_ids: Sequence[str]) -> tuple[str, ...]:
    """Which of these prompts on the server are ours and no longer wanted: cancelled, given up or replaced."""
    ours = [prompt_id for prompt_id in prompt_ids if _is_uuid(prompt_id)]
    rows = session.execute(
        text(
            "SELECT CAST(prompt_id AS text) FROM comfyui_jobs"
            " WHERE prompt_id = ANY (CAST(:prompts AS uuid[])) AND endpoint = :endpoint"
            " AND state IN ('cancelled', 'failed', 'lost')"
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
