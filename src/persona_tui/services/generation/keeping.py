"""From a finished job's pictures to candidates: one transaction for all that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.driver import rows_of
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
    progress.hold_run(session, job.run_id)
    if not jobs.move(session, job, SENT, "done"):
        removals.note_pictures(session, (one.picture for one in fetched))
        return ()
    seconds = provenance.get("seconds")
    if seconds is None:
        spending.settle_as_reserved(session, [job.id], pictures=len(fetched))
    else:
        spending.settle(session, [job.id], pictures=len(fetched), seconds=seconds)
    rows = rows_of(
        session,
        _FILL,
        {
            "job": job.id,
            "provenance": Jsonb(provenance),
            "indices": [one.index for one in fetched],
            "keys": [one.picture.key for one in fetched],
            "hashes": [one.picture.sha256 for one in fetched],
            "widths": [one.picture.facts.width for one in fetched],
            "heights": [one.picture.facts.height for one in fetched],
        },
    )
    ids = tuple(row.id for row in rows)
    _enter_contest(session, job.run_step_id, ids)
    if progress.still_grows(session, job.run_id):
        events.emit_all(session, (*(("candidate", one) for one in ids), ("run", job.run_id)))
    else:
        events.emit_all(session, tuple(("candidate", one) for one in ids))
        progress.refresh_run(session, progress.lock_run(session, job.run_id))
    return ids


_FILL = (
    "WITH filled AS ("
    "  UPDATE generation_slots s SET state = 'filled' FROM comfyui_jobs j"
    "  WHERE j.id = :job AND s.id = j.slot_id"
    "  RETURNING s.id, s.run_id, s.run_step_id, s.parent_id, j.id AS job_id, j.seed),"
    " made AS ("
    "  INSERT INTO image_candidates (run_id, run_step_id, persona_id, parent_id, slot_id, job_id,"
    "   output_index, media_key, sha256, width, height, seed, provenance)"
    "  SELECT f.run_id, f.run_step_id, r.persona_id, f.parent_id, f.id, f.job_id, one.output_index,"
    "   one.media_key, one.sha256, one.width, one.height, f.seed, :provenance"
    "  FROM filled f JOIN pipeline_runs r ON r.id = f.run_id,"
    "   unnest(CAST(:indices AS int[]), CAST(:keys AS text[]), CAST(:hashes AS text[]),"
    "    CAST(:widths AS int[]), CAST(:heights AS int[]))"
    "   AS one (output_index, media_key, sha256, width, height)"
    "  ORDER BY one.output_index RETURNING id)"
    " SELECT id FROM made ORDER BY id"
)


def _enter_contest(session: Session, run_step_id: int, candidates: Sequence[int]) -> None:
    """Let pictures take part in their step's contest, which begins with its first picture."""
    if candidates and not _join_contest(session, run_step_id, candidates):
        session.execute(
            text(
                "INSERT INTO contests (kind, run_step_id) VALUES ('run_step', :step)"
                " ON CONFLICT (run_step_id) DO NOTHING"
            ),
            {"step": run_step_id},
        )
        _join_contest(session, run_step_id, candidates)


def _join_contest(session: Session, run_step_id: int, candidates: Sequence[int]) -> bool:
    return bool(rows_of(session, _JOIN, {"step": run_step_id, "candidates": list(candidates)}))


_JOIN = (
    "INSERT INTO contest_members (contest_id, image_candidate_id)"
    " SELECT c.id, candidate FROM contests c, unnest(CAST(:candidates AS bigint[])) AS candidate"
    " WHERE c.run_step_id = :step ORDER BY candidate RETURNING id"
)
