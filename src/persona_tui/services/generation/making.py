"""Making jobs: a place that is to be worked on gets its next try, with the seed that is due."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.services.generation.variables import derive_seed


@dataclass(frozen=True)
class Place:
    """A place with all that its next job's seed is made of.

    Attributes:
        parent_seed, output_index: of the parent picture; None in step 1.
        tried: jobs that it had. Lost ones don't count, since nobody knows what became of them: the next one
            gets the same seed.
    """

    slot_id: int
    run_id: int
    run_step_id: int
    position: int
    slot_no: int
    run_seed: int
    parent_seed: int | None
    output_index: int | None
    tried: int


@dataclass(frozen=True)
class Reserved:
    """A place that is to be worked on, and what was reserved for it.

    Attributes:
        seconds: of the card.
        day: the day in whose budget its picture counts; None without a daily one.
    """

    place: Place
    seconds: float = 0.0
    day: date | None = None


def add_jobs(session: Session, wanted: Sequence[Reserved], endpoint: str, *, wait: float) -> tuple[int, ...]:
    """Give each place its next job; the places' runs are locked by the caller.

    Args:
        wait: seconds before anybody but the caller may take them.

    Returns:
        The jobs' ids, rising in the order of the places.
    """
    made = rows_of(
        session,
        _ADD,
        {
            "slots": [one.place.slot_id for one in wanted],
            "runs": [one.place.run_id for one in wanted],
            "steps": [one.place.run_step_id for one in wanted],
            "prompts": [uuid.uuid4() for _ in wanted],
            "endpoint": endpoint,
            "seeds": [_seed(one.place) for one in wanted],
            "wait": wait,
            "seconds": [one.seconds for one in wanted],
            "days": [one.day for one in wanted],
        },
    )
    return tuple(sorted(row.id for row in made))


def add_job(session: Session, slot_id: int, endpoint: str, *, wait: float, day: date | None = None) -> int:
    """Give one place its next job; see `add_jobs`."""
    row = session.execute(text(_PLACE), {"slot": slot_id}).one()
    (job_id,) = add_jobs(session, [Reserved(Place(**row._mapping), day=day)], endpoint, wait=wait)
    return job_id


def _seed(place: Place) -> int:
    above = None
    if place.parent_seed is not None and place.output_index is not None:
        above = (place.parent_seed, place.output_index)
    return derive_seed(place.run_seed, place.position, above, place.slot_no, place.tried)


_ADD = """
WITH wanted AS (
  SELECT * FROM unnest(CAST(:slots AS bigint[]), CAST(:runs AS bigint[]), CAST(:steps AS bigint[]),
    CAST(:prompts AS uuid[]), CAST(:seeds AS bigint[]), CAST(:seconds AS float8[]), CAST(:days AS date[]))
    WITH ORDINALITY AS one (slot_id, run_id, run_step_id, prompt_id, seed, seconds, day, rank)
), taken AS (
  UPDATE generation_slots SET state = 'busy' WHERE id = ANY (CAST(:slots AS bigint[]))
)
INSERT INTO comfyui_jobs
  (prompt_id, run_id, run_step_id, slot_id, endpoint, seed, not_before, gpu_seconds, reserved_day)
SELECT prompt_id, run_id, run_step_id, slot_id, :endpoint, seed,
       persona_now() + make_interval(secs => :wait), seconds, day
FROM wanted ORDER BY rank RETURNING id
"""

TRIED = "(SELECT count(*) FROM comfyui_jobs WHERE slot_id = {slot} AND state <> 'lost')"
_PLACE = f"""
SELECT s.id AS slot_id, s.run_id, s.run_step_id, s.slot_no, st.position, r.seed AS run_seed,
       p.seed AS parent_seed, p.output_index, {TRIED.format(slot="s.id")} AS tried
FROM generation_slots s JOIN pipeline_run_steps st ON st.id = s.run_step_id
JOIN pipeline_runs r ON r.id = s.run_id LEFT JOIN image_candidates p ON p.id = s.parent_id
WHERE s.id = :slot
"""
