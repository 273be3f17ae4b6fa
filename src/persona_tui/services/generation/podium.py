"""The three best pictures of each run, of the last step that has any."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlmodel import Session

PLACES = 3
"""Pictures on a podium."""


@dataclass(frozen=True)
class Placed:
    """A picture on a podium.

    Attributes:
        place: 1 to 3. The run's winner is first whatever its rating, since the operator chose it.
        votes: that showed it and count.
    """

    candidate_id: int
    place: int
    media_key: str
    sha256: str
    width: int
    height: int
    seed: int
    elo_score: int
    votes: int
    winner: bool


@dataclass(frozen=True)
class Podium:
    """A run with its best pictures.

    Attributes:
        step: name of the step that they are of.
        is_last: no step follows that one, so that one of them can win.
        decided: nothing is voted on any more: the run has a winner, or has ended.
        pictures: active ones of that step.
    """

    run_id: int
    run: str
    status: str
    created_at: datetime
    step: str
    is_last: bool
    decided: bool
    pictures: int
    places: tuple[Placed, ...]


_RUNS = """
SELECT r.id, r.name, r.status, r.created_at, last.id AS step_id, last.name AS step, last.pictures,
       NOT EXISTS (SELECT FROM pipeline_run_steps n WHERE n.run_id = r.id AND n.position > last.position)
         AS is_last,
       r.status IN ('completed', 'cancelled', 'failed')
         OR EXISTS (SELECT FROM image_candidates w WHERE w.run_id = r.id AND w.winner) AS decided
FROM pipeline_runs r
CROSS JOIN LATERAL (
  SELECT st.id, st.position, ps.name, count(*) AS pictures
  FROM pipeline_run_steps st
  JOIN pipeline_steps ps ON ps.id = st.pipeline_step_id
  JOIN image_candidates i ON i.run_step_id = st.id AND i.status = 'active'
  WHERE st.run_id = r.id
  GROUP BY st.id, st.position, ps.name ORDER BY st.position DESC LIMIT 1) last
WHERE (CAST(:persona AS bigint) IS NULL OR r.persona_id = :persona)
ORDER BY r.id DESC LIMIT :limit
"""

_PLACED = """
SELECT ranked.*, (
  SELECT count(*) FROM contest_members m JOIN vote_items t ON t.contest_member_id = m.id
  JOIN votes v ON v.id = t.vote_id
  WHERE m.image_candidate_id = ranked.candidate_id AND v.undoes_vote_id IS NULL
    AND NOT EXISTS (SELECT FROM votes u WHERE u.undoes_vote_id = v.id)) AS votes
FROM (
  SELECT i.run_step_id, i.id AS candidate_id, i.media_key, i.sha256, i.width, i.height, i.seed,
         i.elo_score, i.winner,
         row_number() OVER (PARTITION BY i.run_step_id ORDER BY i.winner DESC, i.elo_score DESC, i.id)
           AS place
  FROM image_candidates i WHERE i.run_step_id = ANY (:steps) AND i.status = 'active') ranked
WHERE ranked.place <= :places ORDER BY ranked.run_step_id, ranked.place
"""


def podiums(session: Session, persona_id: int | None = None, *, limit: int = 100) -> tuple[Podium, ...]:
    """The best pictures of runs that have pictures, the newest run first.

    Args:
        persona_id: whose runs; None takes everybody's.
        limit: at most so many runs.
    """
    runs = session.execute(text(_RUNS), {"persona": persona_id, "limit": limit}).all()
    placed: dict[int, list[Placed]] = {run.step_id: [] for run in runs}
    for row in session.execute(text(_PLACED), {"steps": list(placed), "places": PLACES}).mappings():
        placed[row["run_step_id"]].append(
            Placed(**{name: value for name, value in row.items() if name != "run_step_id"})
        )
    return tuple(
        Podium(
            run.id,
            run.name,
            run.status,
            run.created_at,
            run.step,
            run.is_last,
            run.decided,
            run.pictures,
            tuple(placed[run.step_id]),
        )
        for run in runs
    )
