"""How fast a run's pictures come, and how long those that are still to come will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median

from sqlalchemy import text
from sqlmodel import Session

PAUSE = 8.0
"""So many times the usual wait for a picture is a pause in which nothing worked."""
RECENT = 20
"""So many of a step's newest pictures say how fast they come."""


@dataclass(frozen=True)
class Pace:
    """How a run gets on with the step at which it stands.

    Attributes:
        remaining: pictures that the step still waits for.
        per_minute: as they came lately; None before the second one.
        seconds_each: median of what one picture took on a card, where that was measured.
    """

    remaining: int
    per_minute: float | None
    seconds_each: float | None

    def seconds_left(self, servers: int = 1) -> float | None:
        """Until the step is complete: at the pace of late, or by what one picture took.

        Args:
            servers: that work, where only the second is known.
        """
        if not self.remaining:
            return 0.0
        if self.per_minute:
            return 60 * self.remaining / self.per_minute
        if self.seconds_each is not None:
            return self.remaining * self.seconds_each / max(servers, 1)
        return None


def rate(moments: Sequence[datetime], now: datetime) -> float | None:
    """Pictures per minute.

    Args:
        moments: when the newest pictures came, in any order. What lies far above the usual time between two
            is left out: nothing worked then, the app was closed or the run paused. Only the present wait
            counts whatever its length, so that the rate falls while nothing comes.
    """
    if len(moments) < 2:
        return None
    times = sorted(moments)
    between = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    usual = [one for one in between if one <= PAUSE * max(median(between), 1.0)]
    seconds, waiting = sum(usual), (now - times[-1]).total_seconds()
    if usual and waiting > seconds / len(usual):
        seconds += waiting
    return 60 * len(usual) / seconds if seconds > 0 else None


_PACES = f"""
SELECT st.run_id, places.remaining, lately.moments, lately.seconds, persona_now() AS now
FROM pipeline_run_steps st
CROSS JOIN LATERAL (
  SELECT count(*) AS remaining
  FROM generation_slots s LEFT JOIN image_candidates p ON p.id = s.parent_id
  WHERE s.run_step_id = st.id AND s.state IN ('open', 'busy')
    AND (s.parent_id IS NULL OR p.status = 'active')
) places
CROSS JOIN LATERAL (
  SELECT array_agg(i.created_at) AS moments,
         percentile_cont(0.5) WITHIN GROUP (
           ORDER BY CAST(i.provenance ->> 'seconds' AS double precision)) AS seconds
  FROM (
    SELECT created_at, provenance FROM image_candidates
    WHERE run_step_id = st.id ORDER BY id DESC LIMIT {RECENT}
  ) i
) lately
WHERE st.id = ANY (:steps)
"""


def paces(session: Session, run_step_ids: Sequence[int]) -> dict[int, Pace]:
    """The pace of some runs, in one query.

    Args:
        run_step_ids: of each run the step at which it stands.

    Returns:
        Run's id → its pace.
    """
    rows = session.execute(text(_PACES), {"steps": list(run_step_ids)})
    return {row.run_id: Pace(row.remaining, rate(row.moments or (), row.now), row.seconds) for row in rows}
