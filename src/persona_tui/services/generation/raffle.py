"""Which parent of a run is served next: those with the fewest pictures first, among them drawn by rating.

The draw is seeded by the run, its step and the how-many-th draw it is there. Parents take part by their
seeds, not their ids: a run that is cloned with its seed draws alike.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.services.generation.making import TRIED, Place

RESTS_AFTER = 3
"""After so many failures a parent is served only when none of its step's other parents wants anything."""
_DRAW_BITS = 53


@dataclass
class Family:
    """A parent in a step, or step 1 itself, with its free places.

    Attributes:
        rating: the parent's; a larger one is drawn more often.
        children: places of it that are taken.
        failures: of all its places.
        places: the free ones, in their order.
    """

    position: int
    run_step_id: int
    run_seed: int
    rating: float | None
    parent_seed: int | None
    output_index: int | None
    children: int
    failures: int
    places: deque[Place] = field(default_factory=deque)

    @property
    def rests(self) -> bool:
        """Whether it failed so often that others come first."""
        return self.parent_seed is not None and self.failures >= RESTS_AFTER


def free_places(
    session: Session, seeds: Mapping[int, int], barred: Sequence[int], most: int
) -> dict[int, Iterator[Place]]:
    """Each run's free places in the order in which they are to be served.

    Asked after the runs were locked, so that it sees what the locks' last holders committed.

    Args:
        seeds: run → its seed.
        barred: run steps whose places are not asked for.
        most: places of a run that are asked for at most.
    """
    found: dict[int, list[Family]] = {run: [] for run in seeds}
    draws: dict[int, int] = {}
    for row in rows_of(session, FAMILIES, {"runs": list(seeds), "barred": list(barred), "most": most}):
        draws[row.run_step_id] = row.draws
        if row.slots:
            found[row.run_id].append(_family(row, seeds[row.run_id]))
    return {run: in_turn(families, draws) for run, families in found.items()}


def in_turn(families: Sequence[Family], draws: dict[int, int]) -> Iterator[Place]:
    """The places of a run, one after the other.

    Args:
        draws: run step → draws that it had before.
    """
    draws = dict(draws)
    while waiting := [one for one in families if one.places]:
        position = min(one.position for one in waiting)
        step = [one for one in waiting if one.position == position]
        served = _drawn(_foremost(step), draws[step[0].run_step_id])
        draws[served.run_step_id] += 1
        served.children += 1
        yield served.places.popleft()


def _foremost(families: Iterable[Family]) -> list[Family]:
    ordered = sorted(families, key=lambda one: (one.rests, one.children))
    first = ordered[0]
    return [one for one in ordered if (one.rests, one.children) == (first.rests, first.children)]


def _drawn(families: Sequence[Family], draw: int) -> Family:
    """One of them with a probability in proportion to its rating.

    -ln(u) / rating, u even in (0, 1], is least for each with that probability (Efraimidis and Spirakis,
    Weighted random sampling with a reservoir, 2006).
    """
    return min(families, key=lambda one: -math.log(_even(one, draw)) / max(one.rating or 0.0, 1.0))


def _even(family: Family, draw: int) -> float:
    words = f"{family.run_seed} {family.position} {draw} {family.parent_seed} {family.output_index}"
    digest = hashlib.sha256(words.encode()).digest()
    return float(1 + (int.from_bytes(digest[:8], "big") >> (64 - _DRAW_BITS))) / 2.0**_DRAW_BITS


def _family(row: Any, run_seed: int) -> Family:
    places = (
        Place(
            slot, row.run_id, row.run_step_id, row.position, number, run_seed, row.parent_seed,
            row.output_index, tried,
        )
        for slot, number, tried in zip(row.slots, row.numbers, row.tried, strict=True)
    )  # fmt: skip
    return Family(
        row.position,
        row.run_step_id,
        run_seed,
        row.rating,
        row.parent_seed,
        row.output_index,
        row.children,
        row.failures,
        deque(places),
    )


FAMILIES = f"""
WITH families AS (
  SELECT st.run_id, st.id AS run_step_id, st.position, s.parent_id,
         count(*) FILTER (WHERE s.state <> 'open') AS children, sum(s.failures) AS failures,
         (array_agg(s.id ORDER BY s.slot_no) FILTER (WHERE s.state = 'open'))[1:CAST(:most AS int)] AS slots,
         (array_agg(s.slot_no ORDER BY s.slot_no) FILTER (WHERE s.state = 'open'))[1:CAST(:most AS int)]
           AS numbers
  FROM unnest(CAST(:runs AS bigint[])) AS asked (run_id)
  JOIN LATERAL (
    SELECT id, run_id, position FROM pipeline_run_steps
    WHERE run_id = asked.run_id AND approved_at IS NULL AND NOT id = ANY (CAST(:barred AS bigint[])) OFFSET 0
  ) st ON true
  JOIN LATERAL (
    SELECT id, slot_no, parent_id, state, failures FROM generation_slots WHERE run_step_id = st.id OFFSET 0
  ) s ON true
  GROUP BY st.run_id, st.id, st.position, s.parent_id
)
SELECT f.run_id, f.run_step_id, f.position, f.children, CAST(f.failures AS int) AS failures,
       CASE WHEN coalesce(i.status, 'active') = 'active' THEN f.slots END AS slots, f.numbers,
       ARRAY(SELECT {TRIED.format(slot="place.id")} FROM unnest(f.slots) WITH ORDINALITY AS place (id, rank)
             ORDER BY rank) AS tried,
       i.elo_score AS rating, i.seed AS parent_seed, i.output_index,
       CAST(sum(f.children + f.failures) OVER (PARTITION BY f.run_step_id) AS int) AS draws
FROM families f
LEFT JOIN LATERAL (
  SELECT c.elo_score, c.seed, c.output_index, c.status FROM image_candidates c
  WHERE c.id = f.parent_id LIMIT 1
) i ON true
ORDER BY f.run_id, f.position, f.parent_id
"""
"""Each LATERAL with OFFSET 0 is looked up by key, whatever number of runs the plan reckons with (R12)."""
