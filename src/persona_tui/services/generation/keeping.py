"""From finished jobs' pictures to candidates: one transaction for all that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.services import events, removals
from persona_tui.services.generation import progress, spending
from persona_tui.services.generation.jobs import SENT, LiveJob
from persona_tui.services.media import StoredPicture


@dataclass(frozen=True)
class Fetched:
    """A picture of a job, safe in our store; `index` is its place among the job's outputs."""

    index: int
    picture: StoredPicture


@dataclass(frozen=True)
class Finished:
    """A job whose pictures are in our store.

    Attributes:
        provenance: kept with each picture; its `seconds` count as spent, without them what was reserved does.
    """

    job: LiveJob
    fetched: tuple[Fetched, ...]
    provenance: dict[str, Any]


def keep(session: Session, finished: Sequence[Finished]) -> list[tuple[int, ...]]:
    """Make candidates of jobs' pictures, in one transaction with all that follows from them.

    Returns:
        For each job the ids of its candidates; none when it is no longer the caller's.
    """
    runs = sorted({one.job.run_id for one in finished})
    progress.hold_runs(session, runs)
    ended = _end(session, finished)
    ours = [one for one in finished if one.job.id in ended]
    for one in finished:
        if one.job.id not in ended:
            removals.note_pictures(session, (each.picture for each in one.fetched))
    made = _add_candidates(session, ours)
    told: list[tuple[events.Topic, int]] = [("candidate", each) for ids in made.values() for each in ids]
    changed = {one.job.run_id for one in ours}
    growing = progress.still_growing(session, sorted(changed))
    events.emit_all(session, (*told, *(("run", run) for run in sorted(growing))))
    for run in sorted(changed - growing):
        progress.refresh_run(session, progress.lock_run(session, run))
    return [tuple(made.get(one.job.id, ())) for one in finished]


def _end(session: Session, finished: Sequence[Finished]) -> set[int]:
    """End the jobs that still are what the caller takes them for, and settle what they had reserved."""
    rows = rows_of(
        session,
        _END,
        {
            "ids": [one.job.id for one in finished],
            "prompts": [one.job.prompt_id for one in finished],
            "pictures": [len(one.fetched) for one in finished],
            "seconds": [one.provenance.get("seconds") for one in finished],
            "sent": list(SENT),
        },
    )
    return {row.id for row in rows}


_END = f"""
WITH told AS (
  SELECT one.id, one.prompt_id, one.pictures, one.seconds, j.gpu_seconds AS reserved
  FROM unnest(CAST(:ids AS bigint[]), CAST(:prompts AS uuid[]), CAST(:pictures AS int[]),
              CAST(:seconds AS float8[])) AS one (id, prompt_id, pictures, seconds)
  JOIN comfyui_jobs j ON j.id = one.id
), ended AS (
  UPDATE comfyui_jobs j SET state = 'done', finished_at = persona_now(),
    gpu_seconds = greatest(coalesce(told.seconds, j.gpu_seconds), 0)
  FROM told WHERE j.id = told.id AND j.prompt_id = told.prompt_id AND j.state = ANY (:sent)
  RETURNING j.id, j.run_id, told.pictures - 1 AS pictures, j.gpu_seconds - told.reserved AS seconds
), settled AS ({spending.SETTLED})
SELECT id FROM ended
"""
"""Each job reserved one picture and the seconds that it was to take; see `spending`."""


def _add_candidates(session: Session, finished: Sequence[Finished]) -> dict[int, list[int]]:
    """Fill the jobs' places and let their pictures take part in their steps' contests; job → candidates."""
    pictures = [(one, each) for one in finished for each in one.fetched]
    if not pictures:
        return {}
    rows = rows_of(
        session,
        _FILL,
        {
            "jobs": [one.job.id for one, _ in pictures],
            "provenances": [Jsonb(one.provenance) for one, _ in pictures],
            "indices": [each.index for _, each in pictures],
            "keys": [each.picture.key for _, each in pictures],
            "hashes": [each.picture.sha256 for _, each in pictures],
            "widths": [each.picture.facts.width for _, each in pictures],
            "heights": [each.picture.facts.height for _, each in pictures],
        },
    )
    outside = [row for row in rows if not row.joined]
    if outside:  # a contest begins with its step's first picture
        steps = sorted({row.run_step_id for row in outside})
        rows_of(session, _OPEN, {"steps": steps})
        rows_of(session, _JOIN, {"steps": steps, "candidates": [row.id for row in outside]})
    made: dict[int, list[int]] = {}
    for row in rows:
        made.setdefault(row.job_id, []).append(row.id)
    return made


_FILL = """
WITH told AS (
  SELECT * FROM unnest(CAST(:jobs AS bigint[]), CAST(:provenances AS jsonb[]), CAST(:indices AS int[]),
    CAST(:keys AS text[]), CAST(:hashes AS text[]), CAST(:widths AS int[]), CAST(:heights AS int[]))
    WITH ORDINALITY AS one (job_id, provenance, output_index, media_key, sha256, width, height, rank)
), filled AS (
  UPDATE generation_slots s SET state = 'filled' FROM comfyui_jobs j
  WHERE j.id = ANY (CAST(:jobs AS bigint[])) AND s.id = j.slot_id
  RETURNING s.id, s.run_id, s.run_step_id, s.parent_id, j.id AS job_id, j.seed
), made AS (
  INSERT INTO image_candidates (run_id, run_step_id, persona_id, parent_id, slot_id, job_id,
    output_index, media_key, sha256, width, height, seed, provenance)
  SELECT f.run_id, f.run_step_id, r.persona_id, f.parent_id, f.id, f.job_id, t.output_index,
    t.media_key, t.sha256, t.width, t.height, f.seed, t.provenance
  FROM told t JOIN filled f ON f.job_id = t.job_id JOIN pipeline_runs r ON r.id = f.run_id
  ORDER BY t.rank RETURNING id, job_id, run_step_id
), joined AS (
  INSERT INTO contest_members (contest_id, image_candidate_id)
  SELECT c.id, m.id FROM made m JOIN contests c ON c.run_step_id = m.run_step_id ORDER BY m.id
  RETURNING image_candidate_id
)
SELECT m.id, m.job_id, m.run_step_id,
       EXISTS (SELECT FROM joined WHERE joined.image_candidate_id = m.id) AS joined
FROM made m ORDER BY m.id
"""
_OPEN = """
INSERT INTO contests (kind, run_step_id) SELECT 'run_step', step FROM unnest(CAST(:steps AS bigint[])) AS step
ON CONFLICT (run_step_id) DO NOTHING
"""
_JOIN = """
INSERT INTO contest_members (contest_id, image_candidate_id)
SELECT c.id, i.id FROM image_candidates i JOIN contests c ON c.run_step_id = i.run_step_id
WHERE i.id = ANY (CAST(:candidates AS bigint[])) AND c.run_step_id = ANY (CAST(:steps AS bigint[]))
ORDER BY i.id
"""
