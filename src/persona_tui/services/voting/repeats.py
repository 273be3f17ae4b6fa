"""Hidden repeats: showings of a sitting that come again, to see how consistent the voter is."""

from __future__ import annotations

import uuid

import numpy as np
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.services.voting.state import State

REPEATS = 0.05
"""Share of showings that repeat an earlier one, to see how consistent the voter is."""
REPEAT_AFTER = 4
"""Votes that lie at least between a showing and its repeat."""


def is_to_repeat(sitting: uuid.UUID | None, rng: np.random.Generator) -> bool:
    """Whether the next showing of a sitting is to be an earlier one."""
    return sitting is not None and rng.random() < REPEATS


def earlier_showing(
    session: Session, state: State, count: int, sitting: uuid.UUID, rng: np.random.Generator
) -> list[int] | None:
    """Places of a showing of this sitting that was answered, not just now, and not repeated yet."""
    wanted = {
        "contest": state.contest_id,
        "sitting": sitting,
        "count": min(count, len(state.active)),
        "after": REPEAT_AFTER,
    }
    found = [[state.index[member] for member in row.shown] for row in rows_of(session, _EARLIER, wanted)]
    possible = [places for places in found if set(places) <= set(state.active)]
    if not possible:
        return None
    return [int(place) for place in rng.permutation(possible[int(rng.integers(len(possible)))])]


_EARLIER = """
WITH answered AS (
  SELECT v.id, v.repeat, array_agg(t.contest_member_id ORDER BY t.contest_member_id) AS shown
  FROM votes v JOIN vote_items t ON t.vote_id = v.id
  WHERE v.contest_id = :contest AND v.session = :sitting
    AND NOT EXISTS (SELECT FROM votes u WHERE u.undoes_vote_id = v.id)
  GROUP BY v.id HAVING bool_or(t.chosen)),
latest AS (SELECT id FROM answered ORDER BY id DESC LIMIT CAST(:after AS integer))
SELECT DISTINCT shown FROM answered a
WHERE NOT a.repeat AND cardinality(shown) = CAST(:count AS integer) AND a.id NOT IN (SELECT id FROM latest)
  AND NOT EXISTS (SELECT FROM answered r WHERE r.repeat AND r.shown = a.shown) ORDER BY shown
"""
