"""Predictions as a start for contests: a persona's taste, learnt from its votes, on the pictures' embeddings.

Only contests without a vote are predicted: the taste may have been learnt from a contest's own votes, and
would count them twice. How much a prediction is worth is learnt in each contest by its votes (`prior_from`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.services.voting import contest
from persona_tui.services.voting.taste import Floats, Indices

LEAST_VOTES = 30
"""Votes below which a taste says too little to begin with."""
FRESH_VOTES = 20
"""New votes after which a taste is learnt anew."""
MOST_VOTES = 4_000
"""The latest ones; four pictures each of 512 numbers are 64 MiB."""


@dataclass(frozen=True)
class Material:
    """What a taste is learnt from; the arrays are those that `taste.learn` takes.

    Attributes:
        last_vote_id: of the latest vote of the persona.
    """

    vectors: Floats
    shown: Indices
    chosen: Indices
    last_vote_id: int


@dataclass(frozen=True)
class TasteView:
    """A taste as it is shown.

    Attributes:
        votes: that it was learnt from.
        predicted: open contests that begin with its predictions.
    """

    persona_id: int
    model_hash: str
    votes: int
    learnt_at: datetime
    predicted: int


def material(session: Session, persona_id: int, model_hash: str) -> Material | None:
    """The persona's latest votes on pictures that have an embedding of this model.

    Returns:
        None where votes are too few, or too few are new since the taste was learnt.
    """
    wanted = {"persona": persona_id, "hash": model_hash, "most": MOST_VOTES}
    found = rows_of(session, _VOTES, wanted)
    if len(found) < LEAST_VOTES:
        return None
    known = rows_of(session, _KNOWN, wanted)
    if known and sum(row.id > known[0].last_vote_id for row in found) < FRESH_VOTES:
        return None
    pictures = sorted({picture for row in found for picture in row.pictures})
    place = {picture: number for number, picture in enumerate(pictures)}
    rows = rows_of(session, _VECTORS, wanted | {"pictures": pictures})
    shown = np.full((len(found), 4), -1, np.intp)
    for number, row in enumerate(found):
        shown[number, : len(row.pictures)] = [place[picture] for picture in row.pictures]
    chosen = np.array([row.pictures.index(row.chosen) for row in found], np.intp)
    vectors = np.array([row.vector for row in rows], np.float32)
    return Material(vectors, shown, chosen, max(row.id for row in found))


def keep(session: Session, persona_id: int, model_hash: str, learnt_from: Material, weights: Floats) -> None:
    """Keep a taste in the place of the one before."""
    values = {
        "persona": persona_id,
        "hash": model_hash,
        "weights": "[" + ",".join(f"{weight:.7g}" for weight in weights.tolist()) + "]",
        "votes": len(learnt_from.chosen),
        "last": learnt_from.last_vote_id,
    }
    rows_of(session, _KEEP, values)


def predict(session: Session, persona_id: int, model_hash: str) -> int:
    """Let the persona's open contests without votes begin with what the taste says of their pictures.

    Returns:
        How many contests have other predictions now.
    """
    changed = rows_of(session, _PREDICT, {"persona": persona_id, "hash": model_hash})
    contests = sorted({row.contest_id for row in changed})
    for contest_id in contests:
        contest.rebuild(session, contest_id)
    return len(contests)


def tastes(session: Session, persona_id: int) -> tuple[TasteView, ...]:
    """What was learnt of a persona's taste, the latest first."""
    return tuple(TasteView(*row) for row in rows_of(session, _TASTES, {"persona": persona_id}))


_VOTES = """
WITH told AS (
  SELECT v.id, array_agg(m.image_candidate_id ORDER BY t.side) AS pictures,
    max(m.image_candidate_id) FILTER (WHERE t.chosen) AS chosen, bool_and(e.id IS NOT NULL) AS embedded
  FROM votes v JOIN contests c ON c.id = v.contest_id
  JOIN pipeline_run_steps s ON s.id = c.run_step_id JOIN pipeline_runs r ON r.id = s.run_id
  JOIN vote_items t ON t.vote_id = v.id JOIN contest_members m ON m.id = t.contest_member_id
  LEFT JOIN embeddings e ON e.image_candidate_id = m.image_candidate_id AND e.model_hash = :hash
  WHERE r.persona_id = :persona AND NOT v.repeat
    AND NOT EXISTS (SELECT FROM votes u WHERE u.undoes_vote_id = v.id)
  GROUP BY v.id)
SELECT id, pictures, chosen FROM told WHERE chosen IS NOT NULL AND embedded
ORDER BY id DESC LIMIT CAST(:most AS integer)
"""

_KNOWN = "SELECT last_vote_id FROM tastes WHERE persona_id = :persona AND model_hash = :hash"

_VECTORS = """
SELECT e.image_candidate_id, e.vector::real[] AS vector FROM embeddings e
WHERE e.model_hash = :hash AND e.image_candidate_id = ANY(CAST(:pictures AS bigint[]))
ORDER BY e.image_candidate_id
"""

_KEEP = """
INSERT INTO tastes (persona_id, model_hash, weights, votes, last_vote_id)
VALUES (:persona, :hash, CAST(CAST(:weights AS text) AS vector), :votes, :last)
ON CONFLICT (persona_id, model_hash) DO UPDATE SET weights = excluded.weights, votes = excluded.votes,
  last_vote_id = excluded.last_vote_id, learnt_at = persona_now()
"""

_PREDICT = """
UPDATE contest_members m SET predicted = said.utility
FROM (
  SELECT m.id, CAST(-(e.vector <#> t.weights) AS real) AS utility
  FROM tastes t JOIN pipeline_runs r ON r.persona_id = t.persona_id
  JOIN pipeline_run_steps s ON s.run_id = r.id JOIN contests c ON c.run_step_id = s.id
  JOIN contest_members m ON m.contest_id = c.id
  JOIN embeddings e ON e.image_candidate_id = m.image_candidate_id AND e.model_hash = t.model_hash
  WHERE t.persona_id = :persona AND t.model_hash = :hash
    AND s.approved_at IS NULL AND r.status IN ('pending', 'running', 'waiting')
    AND NOT EXISTS (SELECT FROM votes v WHERE v.contest_id = c.id)) said
WHERE said.id = m.id AND m.predicted IS DISTINCT FROM said.utility
RETURNING m.contest_id
"""

_TASTES = """
SELECT t.persona_id, t.model_hash, t.votes, t.learnt_at,
  (SELECT count(DISTINCT c.id) FROM contests c JOIN pipeline_run_steps s ON s.id = c.run_step_id
   JOIN pipeline_runs r ON r.id = s.run_id JOIN contest_members m ON m.contest_id = c.id
   WHERE r.persona_id = t.persona_id AND m.predicted IS NOT NULL
     AND s.approved_at IS NULL AND r.status IN ('pending', 'running', 'waiting'))
FROM tastes t WHERE t.persona_id = :persona ORDER BY t.learnt_at DESC
"""
