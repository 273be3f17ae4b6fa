"""A run's tree: its pictures, and the changes that more than one act makes to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import UnknownName
from persona_tui.models.pipeline import LIVE_JOB_STATES, ImageCandidate, PipelineRun
from persona_tui.services.generation import spending
from persona_tui.services.safety import audit

LIVE = f"({', '.join(repr(state) for state in LIVE_JOB_STATES)})"
"""The states of a job that is under way, as SQL."""


@dataclass(frozen=True)
class CandidateView:
    """A picture of a run.

    Attributes:
        position, step: of its step.
        gate_rank: its place among those that its step's gate let through; None when it was not.
        flagged: the operator set a flag, to come back to it.
    """

    id: int
    run_id: int
    run_step_id: int
    position: int
    step: str
    parent_id: int | None
    media_key: str
    sha256: str
    width: int
    height: int
    seed: int
    elo_score: int
    status: str
    winner: bool
    gate_rank: int | None
    created_at: datetime
    flagged: bool = False


def list_candidates(session: Session, run_id: int) -> tuple[CandidateView, ...]:
    """A run's pictures, rejected ones too: step by step, the best first."""
    rows = session.execute(
        text(
            "SELECT i.id, i.run_id, i.run_step_id, st.position, ps.name AS step, i.parent_id, i.media_key,"
            " i.sha256, i.width, i.height, i.seed, i.elo_score, i.status, i.winner, g.rank AS gate_rank,"
            " i.created_at, i.flagged"
            " FROM image_candidates i JOIN pipeline_run_steps st ON st.id = i.run_step_id"
            " JOIN pipeline_steps ps ON ps.id = st.pipeline_step_id"
            " LEFT JOIN gate_members g ON g.run_step_id = st.id AND g.image_candidate_id = i.id"
            " WHERE i.run_id = :run ORDER BY st.position, i.status, i.elo_score DESC, i.id"
        ),
        {"run": run_id},
    )
    return tuple(CandidateView(**row._mapping) for row in rows)


def open_slots(
    session: Session, run_id: int, run_step_id: int, parents: Sequence[int | None], count: int
) -> None:
    """Make sure of `count` places under each parent; those that exist stay as they are.

    Args:
        parents: candidate ids in the order in which they are served; `[None]` for step 1.
    """
    session.execute(
        text(
            "INSERT INTO generation_slots (run_id, run_step_id, parent_id, slot_no)"
            " SELECT :run, :step, parent.id, slot_no"
            " FROM unnest(CAST(:parents AS bigint[])) WITH ORDINALITY AS parent (id, rank),"
            "  generate_series(1, :count) AS slot_no ORDER BY slot_no, parent.rank"
            " ON CONFLICT ON CONSTRAINT uq_generation_slots_place DO NOTHING"
        ),
        {"run": run_id, "step": run_step_id, "parents": list(parents), "count": count},
    )


def cancel_jobs(
    session: Session,
    run_id: int,
    *,
    run_step_id: int | None = None,
    slots: Sequence[int] | None = None,
    parents: Sequence[int] | None = None,
    job_id: int | None = None,
) -> int:
    """Cancel the run's live jobs, all or some; their places open again. The engine tells the server.

    Args:
        run_step_id: only those of this step.
        slots: only those of these places.
        parents: only those that work on these candidates.
        job_id: only this one.

    Returns:
        How many were cancelled.
    """
    cancelled = session.execute(
        text(
            "WITH ended AS ("
            f" UPDATE comfyui_jobs j SET state = 'cancelled', finished_at = persona_now()"
            f" FROM generation_slots s WHERE s.id = j.slot_id AND j.run_id = :run AND j.state IN {LIVE}"
            "  AND (CAST(:step AS bigint) IS NULL OR j.run_step_id = :step)"
            "  AND (CAST(:slots AS bigint[]) IS NULL OR s.id = ANY (:slots))"
            "  AND (CAST(:parents AS bigint[]) IS NULL OR s.parent_id = ANY (:parents))"
            "  AND (CAST(:job AS bigint) IS NULL OR j.id = :job)"
            " RETURNING j.id, j.slot_id)"
            " UPDATE generation_slots s SET state = 'open' FROM ended WHERE s.id = ended.slot_id"
            " RETURNING ended.id"
        ),
        {
            "run": run_id,
            "step": run_step_id,
            "job": job_id,
            "slots": None if slots is None else list(slots),
            "parents": None if parents is None else list(parents),
        },
    )
    ids = list(cancelled.scalars())
    if ids:
        spending.settle(session, ids, pictures=0, seconds=None)
    return len(ids)


def settle_slots(session: Session, run_id: int) -> None:
    """Bring the run's places in line with its pictures and gates; those with a job, or given up, stay.

    A place with an active picture is filled. One without is open while its step's gate is shut and its
    parent goes on, so that a rejected picture gets a successor; otherwise it is withdrawn.
    """
    session.flush()
    session.execute(text(_SETTLE), {"run": run_id})


_SETTLE = """
WITH place AS (
  SELECT s.id,
         EXISTS (SELECT FROM image_candidates i WHERE i.slot_id = s.id AND i.status = 'active') AS filled,
         st.approved_at IS NULL AND (s.parent_id IS NULL OR EXISTS (
           SELECT FROM image_candidates p
           JOIN gate_members g ON g.run_step_id = p.run_step_id AND g.image_candidate_id = p.id
           WHERE p.id = s.parent_id AND p.status = 'active')) AS wanted
  FROM generation_slots s JOIN pipeline_run_steps st ON st.id = s.run_step_id
  WHERE s.run_id = :run AND s.state IN ('open', 'filled', 'withdrawn')
), due AS (
  SELECT id, CASE WHEN filled THEN 'filled' WHEN wanted THEN 'open' ELSE 'withdrawn' END AS state FROM place
)
UPDATE generation_slots s SET state = due.state, failures = 0
FROM due WHERE s.id = due.id AND s.state <> due.state
"""


def get_candidate(session: Session, candidate_id: int) -> ImageCandidate:
    """A candidate's row as it is now.

    Raises:
        UnknownName: there is none.
    """
    candidate = session.get(ImageCandidate, candidate_id, populate_existing=True)
    if candidate is None:
        raise UnknownName(f"There is no candidate {candidate_id}.", hint="`persona-tui run show` lists them.")
    return candidate


def record_act(
    session: Session,
    run: PipelineRun,
    actor: str,
    action: str,
    subject: str,
    candidates: Sequence[int],
    **details: Any,
) -> None:
    """Write an act to the audit trail; last in a transaction, since the trail is locked until its end.

    Args:
        details: more for the trail, plain JSON.
    """
    audit.append(
        session,
        actor=actor,
        action=action,
        persona_id=run.persona_id,
        subject=subject,
        details={"run": run.id, "candidates": list(candidates), **details},
    )
