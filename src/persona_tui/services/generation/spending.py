"""Counting what runs spend: pictures and seconds of the card, per run and per day of the operator.

A job reserves one picture and the seconds that its step's last one took, in the transaction that makes the
job (R9); at its end both are set right. Only where there is a limit is there a row to count in, so that runs
without one cost nothing. A limit that is set later starts from what jobs and pictures say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.models.pipeline import LIVE_JOB_STATES

_LIVE = f"({', '.join(repr(state) for state in LIVE_JOB_STATES)})"


@dataclass(frozen=True)
class DailyLimit:
    """What all runs together may spend on a day; None: without end.

    Attributes:
        zone: IANA zone of the operator's day.
    """

    max_pictures: int | None = None
    max_gpu_seconds: float | None = None
    zone: str = "UTC"

    @property
    def exists(self) -> bool:
        """Whether there is any limit."""
        return self.max_pictures is not None or self.max_gpu_seconds is not None


UNLIMITED = DailyLimit()

_TODAY = "(SELECT CAST(timezone(:zone, persona_now()) AS date))"
_SINCE = f"(SELECT timezone(:zone, CAST({_TODAY} AS timestamp)))"
"""Subqueries, so that the clock is asked once and not for each row."""


SPENT_BY_RUN = f"""
SELECT made.pictures + under_way.jobs AS pictures, under_way.jobs AS reserved,
       (SELECT coalesce(sum(j.gpu_seconds), 0) FROM comfyui_jobs j WHERE j.run_id = :run) AS gpu_seconds
FROM (SELECT count(*) AS pictures FROM image_candidates i WHERE i.run_id = :run) made,
     (SELECT count(*) AS jobs FROM comfyui_jobs j WHERE j.run_id = :run AND j.state IN {_LIVE}) under_way
"""
"""What a run has spent, jobs under way included, which have reserved theirs; parameter :run."""


def reserve(session: Session, run_id: int, expected: float) -> bool:
    """Reserve one picture and so many seconds of a run that has a budget; False where it is spent.

    The caller holds the run's lock.
    """
    taken = session.execute(
        text(
            "UPDATE run_budgets SET pictures = pictures + 1, gpu_seconds = gpu_seconds + :expected"
            " WHERE run_id = :run AND (max_pictures IS NULL OR pictures + 1 <= max_pictures)"
            "  AND (max_gpu_seconds IS NULL"
            "       OR gpu_seconds < max_gpu_seconds AND gpu_seconds + :expected <= max_gpu_seconds)"
            " RETURNING run_id"
        ),
        {"run": run_id, "expected": expected},
    )
    return taken.scalar_one_or_none() is not None


def give_back(session: Session, run_id: int, expected: float) -> None:
    """Take a reservation of this transaction back."""
    session.execute(
        text(
            "UPDATE run_budgets SET pictures = pictures - 1, gpu_seconds = gpu_seconds - :expected"
            " WHERE run_id = :run"
        ),
        {"run": run_id, "expected": expected},
    )


def reserve_today(session: Session, limit: DailyLimit, expected: float) -> date | None:
    """Reserve one picture and so many seconds of today's budget; the day, or None where it is spent.

    The day's row is locked last in a transaction and by nothing but reserving and counting, so that it is in
    nobody's way. What ended jobs gave back, or took beyond, shows when it is counted afresh: here, before
    a no is believed, and at each look at a server.
    """
    return _reserve_now(session, limit, expected) or (
        _reserve_now(session, limit, expected) if recount_today(session, limit) else None
    )


def _reserve_now(session: Session, limit: DailyLimit, expected: float) -> date | None:
    taken: date | None = session.execute(
        text(
            "UPDATE daily_budgets SET pictures = pictures + 1, gpu_seconds = gpu_seconds + :expected"
            f" WHERE day = {_TODAY}"
            "  AND (CAST(:max_pictures AS int) IS NULL OR pictures + 1 <= :max_pictures)"
            "  AND (CAST(:max_seconds AS float8) IS NULL"
            "       OR gpu_seconds < :max_seconds AND gpu_seconds + :expected <= :max_seconds)"
            " RETURNING day"
        ),
        {
            "zone": limit.zone,
            "expected": expected,
            "max_pictures": limit.max_pictures,
            "max_seconds": limit.max_gpu_seconds,
        },
    ).scalar_one_or_none()
    return taken


def recount_today(session: Session, limit: DailyLimit) -> bool:
    """Count today's spending afresh from the day's jobs; whether the row now says something else."""
    values = {"zone": limit.zone}
    opened = session.execute(
        text(f"INSERT INTO daily_budgets (day) VALUES ({_TODAY}) ON CONFLICT (day) DO NOTHING RETURNING day"),
        values,
    ).scalar_one_or_none()
    session.execute(text(f"SELECT FROM daily_budgets WHERE day = {_TODAY} FOR UPDATE"), values)
    # A look of its own after the lock, so that it sees what the lock's last holder committed.
    changed = session.execute(text(_RECOUNT), values).scalar_one_or_none()
    return opened is not None or changed is not None


def adopt_today(session: Session, limit: DailyLimit) -> None:
    """Let what was spent today without a limit count in the day's budget: at the engine's start."""
    session.execute(text(_ADOPT), {"zone": limit.zone})
    recount_today(session, limit)


_ADOPT = f"""
UPDATE comfyui_jobs SET reserved_day = {_TODAY}
WHERE reserved_day IS NULL AND (state IN {_LIVE} OR finished_at >= {_SINCE})
"""
_RECOUNT = f"""
UPDATE daily_budgets d SET pictures = spent.pictures, gpu_seconds = spent.gpu_seconds
FROM (
  SELECT count(*) FILTER (WHERE j.state IN {_LIVE})
         + coalesce(sum((SELECT count(*) FROM image_candidates i WHERE i.job_id = j.id)), 0) AS pictures,
         coalesce(sum(j.gpu_seconds), 0) AS gpu_seconds
  FROM comfyui_jobs j WHERE j.reserved_day = {_TODAY}
) spent
WHERE d.day = {_TODAY} AND (d.pictures, d.gpu_seconds) IS DISTINCT FROM (spent.pictures, spent.gpu_seconds)
RETURNING d.day
"""


def today_sentence(session: Session, limit: DailyLimit) -> str | None:
    """What the operator is told when the day's budget is spent; None while it is not."""
    if not limit.exists:
        return None
    row = session.execute(
        text(f"SELECT pictures, gpu_seconds FROM daily_budgets WHERE day = {_TODAY}"), {"zone": limit.zone}
    ).one_or_none()
    if row is None:
        return None
    goes_on = f"it goes on tomorrow, on the clock of {limit.zone}."
    if limit.max_pictures is not None and row.pictures >= limit.max_pictures:
        return f"Today's budget of {counted(limit.max_pictures, 'picture')} is spent; {goes_on}"
    if limit.max_gpu_seconds is not None and row.gpu_seconds >= limit.max_gpu_seconds:
        return f"Today's budget of {limit.max_gpu_seconds / 60:g} GPU minutes is spent; {goes_on}"
    return None


def settle(session: Session, job_ids: Sequence[int], *, pictures: int, seconds: float | None) -> None:
    """Set right what jobs that have just ended had reserved; the caller holds their runs' locks.

    Args:
        pictures: that each of them gave, or hands on to the job after it.
        seconds: as the server measured; None takes the time since it was first seen to run.
    """
    session.execute(text(_SETTLE), {"jobs": list(job_ids), "pictures": pictures - 1, "seconds": seconds})


SETTLED = """
UPDATE run_budgets b SET pictures = greatest(b.pictures + e.pictures, 0),
  gpu_seconds = greatest(b.gpu_seconds + e.seconds, 0)
FROM (SELECT run_id, sum(pictures) AS pictures, sum(seconds) AS seconds FROM ended GROUP BY run_id) e
WHERE b.run_id = e.run_id
"""
"""Sets runs' budgets right by what stands in `ended`: of each job its run_id, and by how many pictures and
seconds it differs from what it had reserved."""

_SETTLE = f"""
WITH ended AS (
  UPDATE comfyui_jobs j SET gpu_seconds = before.seconds
  FROM (SELECT id, gpu_seconds AS reserved,
               greatest(coalesce(CAST(:seconds AS float8),
                                 extract(epoch FROM persona_now() - started_at)), 0) AS seconds
        FROM comfyui_jobs WHERE id = ANY (:jobs)) before
  WHERE j.id = before.id
  RETURNING j.run_id, CAST(:pictures AS int) AS pictures, j.gpu_seconds - before.reserved AS seconds
)
{SETTLED}
"""


def counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
