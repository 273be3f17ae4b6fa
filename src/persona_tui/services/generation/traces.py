"""What a run left behind beside its pictures: why jobs failed, and where each picture comes from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.services.generation.run_loras import loras_of


@dataclass(frozen=True)
class JobFailure:
    """A job that ended without a picture.

    Attributes:
        position, step: of its step in the run.
        words: what the server, or the program, said.
        place: what became of the place since: `failed` (given up), `open`, `busy` (tried again) or `filled`.
    """

    job_id: int
    run_id: int
    run: str
    position: int
    step: str
    endpoint: str
    words: str
    at: datetime
    place: str

    @property
    def given_up(self) -> bool:
        """Whether nothing comes any more unless the run is resumed."""
        return self.place == "failed"


@dataclass(frozen=True)
class Trace:
    """Where a picture comes from and how often it was judged.

    Attributes:
        votes: that showed it and count.
        endpoint, server_version: of the server that made it; empty where that is not known.
        seconds: that it took, where somebody watched.
        rejected_with: the candidate whose rejection took it along.
        loras: that its run used, as `name@version (weight)`.
    """

    candidate_id: int
    votes: int
    endpoint: str
    server_version: str
    seconds: float | None
    rejected_with: int | None
    loras: tuple[str, ...] = ()


_FAILURES = """
SELECT j.id AS job_id, j.run_id, r.name AS run, st.position, ps.name AS step, j.endpoint,
       coalesce(nullif(j.error_message, ''), 'The server gave no reason.') AS words,
       coalesce(j.finished_at, j.created_at) AS at, s.state AS place
FROM comfyui_jobs j
JOIN pipeline_runs r ON r.id = j.run_id
JOIN generation_slots s ON s.id = j.slot_id
JOIN pipeline_run_steps st ON st.id = j.run_step_id
JOIN pipeline_steps ps ON ps.id = st.pipeline_step_id
WHERE {whose} AND j.state = 'failed'
ORDER BY j.id DESC LIMIT :limit
"""

_TRACES = """
SELECT i.id AS candidate_id, coalesce(shown.votes, 0) AS votes,
       coalesce(i.provenance ->> 'endpoint', '') AS endpoint,
       coalesce(i.provenance ->> 'server_version', '') AS server_version,
       CAST(i.provenance ->> 'seconds' AS double precision) AS seconds,
       CAST(i.provenance ->> 'rejected_with' AS bigint) AS rejected_with
FROM image_candidates i
LEFT JOIN LATERAL (
  SELECT count(*) AS votes
  FROM contest_members m
  JOIN vote_items t ON t.contest_member_id = m.id
  JOIN votes v ON v.id = t.vote_id
  WHERE m.image_candidate_id = i.id AND v.undoes_vote_id IS NULL
    AND NOT EXISTS (SELECT FROM votes u WHERE u.undoes_vote_id = v.id)
) shown ON true
WHERE i.run_id = :run
"""


def job_failures(session: Session, run_id: int, *, limit: int = 20) -> tuple[JobFailure, ...]:
    """The run's failed jobs, the newest first."""
    query = _FAILURES.format(whose="j.run_id = :run")
    rows = session.execute(text(query), {"run": run_id, "limit": limit})
    return tuple(JobFailure(**row._mapping) for row in rows)


def recent_failures(
    session: Session, persona_id: int | None = None, *, limit: int = 100
) -> tuple[JobFailure, ...]:
    """Failed jobs of all runs, the newest first.

    Args:
        persona_id: only of this persona's runs.
    """
    query = _FAILURES.format(whose="(CAST(:persona AS bigint) IS NULL OR r.persona_id = :persona)")
    rows = session.execute(text(query), {"persona": persona_id, "limit": limit})
    return tuple(JobFailure(**row._mapping) for row in rows)


def traces(session: Session, run_id: int) -> dict[int, Trace]:
    """Each of the run's pictures by its candidate id."""
    rows = session.execute(text(_TRACES), {"run": run_id})
    loras = tuple(lora.words for lora in loras_of(session, run_id))
    return {row.candidate_id: Trace(**row._mapping, loras=loras) for row in rows}
