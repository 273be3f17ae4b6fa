"""Places of a run that have no picture yet: being made, waiting, or given up."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session


@dataclass(frozen=True)
class PlaceView:
    """A place for one picture below its parent.

    Attributes:
        position, step: of its step.
        parent_id: the candidate from which it grows; None in step 1.
        state: `open` (waits for the engine), `busy` (has a job) or `failed` (given up).
        job_id: its live job, else its last one; None before the first.
        words: why its last job failed, if it did.
    """

    slot_id: int
    position: int
    step: str
    parent_id: int | None
    state: str
    job_id: int | None
    words: str


_PLACES = """
SELECT s.id AS slot_id, st.position, ps.name AS step, s.parent_id, s.state, last.id AS job_id,
       coalesce(last.error_message, '') AS words
FROM generation_slots s
JOIN pipeline_run_steps st ON st.id = s.run_step_id
JOIN pipeline_steps ps ON ps.id = st.pipeline_step_id
LEFT JOIN image_candidates p ON p.id = s.parent_id
LEFT JOIN LATERAL (
  SELECT j.id, j.error_message FROM comfyui_jobs j WHERE j.slot_id = s.id ORDER BY j.id DESC LIMIT 1
) last ON true
WHERE s.run_id = :run AND s.state IN ('open', 'busy', 'failed')
  AND (s.parent_id IS NULL OR p.status = 'active')
ORDER BY st.position, s.parent_id NULLS FIRST, s.state, s.slot_no
"""


def unfilled_places(session: Session, run_id: int) -> tuple[PlaceView, ...]:
    """What the run still waits for, or has given up, step by step."""
    return tuple(PlaceView(**row._mapping) for row in session.execute(text(_PLACES), {"run": run_id}))
