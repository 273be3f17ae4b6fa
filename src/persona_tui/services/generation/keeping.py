"""From a finished job's pictures to candidates: one transaction for all that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.models.pipeline import ComfyuiJob, GenerationSlot, ImageCandidate
from persona_tui.services import events
from persona_tui.services.generation import jobs, progress, removals, spending
from persona_tui.services.generation.jobs import SENT, LiveJob
from persona_tui.services.media import StoredPicture


@dataclass(frozen=True)
class Fetched:
    """A picture of a job, safe in our store; `index` is its place among the job's outputs."""

    index: int
    picture: StoredPicture


def keep(
    session: Session, job: LiveJob, fetched: Sequence[Fetched], provenance: dict[str, Any]
) -> tuple[int, ...]:
    """Make candidates of a job's pictures, in one transaction with all that follows from them.

    Returns:
        Ids of the candidates; none when the job is no longer the caller's.
    """
    run = progress.lock_run(session, job.run_id)
    if not jobs.move(session, job, SENT, "done"):
        removals.note_pictures(session, (one.picture for one in fetched))
        return ()
    spending.settle(session, [job.id], pictures=len(fetched), seconds=provenance.get("seconds"))
    slot = session.get_one(GenerationSlot, job.slot_id, populate_existing=True)
    seed = session.get_one(ComfyuiJob, job.id).seed
    candidates = [
        ImageCandidate(
            run_id=job.run_id,
            run_step_id=job.run_step_id,
            persona_id=run.persona_id,
            parent_id=slot.parent_id,
            slot_id=job.slot_id,
            job_id=job.id,
            output_index=one.index,
            media_key=one.picture.key,
            sha256=one.picture.sha256,
            width=one.picture.facts.width,
            height=one.picture.facts.height,
            seed=seed,
            provenance=provenance,
        )
        for one in fetched
    ]
    slot.state = "filled"
    session.add_all([slot, *candidates])
    session.flush()
    ids = tuple(candidate.id for candidate in candidates)
    _enter_contest(session, job.run_step_id, ids)
    for candidate_id in ids:
        events.emit(session, "candidate", candidate_id)
    progress.refresh_run(session, run)
    return ids


def _enter_contest(session: Session, run_step_id: int, candidates: Sequence[int]) -> None:
    session.execute(
        text(
            "INSERT INTO contests (kind, run_step_id) VALUES ('run_step', :step)"
            " ON CONFLICT (run_step_id) DO NOTHING"
        ),
        {"step": run_step_id},
    )
    session.execute(
        text(
            "INSERT INTO contest_members (contest_id, image_candidate_id)"
            " SELECT c.id, candidate FROM contests c, unnest(CAST(:candidates AS bigint[])) AS candidate"
            " WHERE c.run_step_id = :step ORDER BY candidate"
        ),
        {"step": run_step_id, "candidates": list(candidates)},
    )
