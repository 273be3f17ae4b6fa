"""What a run, or a gate, will cost: pictures by its N and K, minutes by how long pictures took lately."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

RUNS = 4
RECENT = 50
"""So many of the newest pictures of so many newest runs say how long one takes."""


@dataclass(frozen=True)
class StepCost:
    """What one step will cost.

    Attributes:
        minutes: of one card's time; None when no picture of the step was ever timed.
    """

    position: int
    pictures: int
    minutes: float | None


@dataclass(frozen=True)
class Cost:
    """What several steps will cost, the earliest first."""

    steps: tuple[StepCost, ...]

    @property
    def pictures(self) -> int:
        """All pictures together."""
        return sum(step.pictures for step in self.steps)

    @property
    def minutes(self) -> float | None:
        """All minutes together, of one card's time; None when a step was never timed."""
        known = [step.minutes for step in self.steps if step.minutes is not None]
        return sum(known) if len(known) == len(self.steps) else None


def growth(steps: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Pictures that each step makes.

    Args:
        steps: N (pictures per parent) and K (pictures that go on) of each step, the first one first.

    Returns:
        N of the first step; of each further one its N for each picture that goes on to it.
    """
    made: list[int] = []
    parents = 1
    for children, top_k in steps:
        made.append(parents * children)
        parents = min(top_k, made[-1])
    return tuple(made)


_SECONDS = f"""
SELECT st.position, timed.version,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY timed.seconds) AS seconds
FROM pipeline_steps st
CROSS JOIN LATERAL (
  SELECT v.number AS version, rs.id
  FROM pipeline_versions mine
  JOIN pipeline_versions v ON v.pipeline_id = mine.pipeline_id AND v.number <= mine.number
  JOIN pipeline_steps old ON old.pipeline_version_id = v.id AND old.position = st.position
  JOIN pipeline_run_steps rs ON rs.pipeline_step_id = old.id
  JOIN contests c ON c.run_step_id = rs.id
  WHERE mine.id = st.pipeline_version_id
  ORDER BY v.number DESC, rs.id DESC LIMIT {RUNS}
) ran
CROSS JOIN LATERAL (
  SELECT ran.version, CAST(i.provenance ->> 'seconds' AS double precision) AS seconds
  FROM (SELECT id, provenance FROM image_candidates WHERE run_step_id = ran.id OFFSET 0) i
  WHERE i.provenance ? 'seconds' ORDER BY i.id DESC LIMIT {RECENT}
) timed
WHERE st.pipeline_version_id = :version
GROUP BY st.position, timed.version
ORDER BY st.position, timed.version
"""
"""Of each version its own median, the newest version last: a changed workflow may take another time. A step
with pictures has a contest, which is quicker to see than the pictures; the OFFSET keeps the planner from
walking all pictures by their ids for the newest ones (R12)."""


def picture_seconds(session: Session, pipeline_version_id: int) -> dict[int, float | None]:
    """How long a picture of each step took lately.

    A version that has not run yet is judged by the newest earlier version that has.

    Returns:
        Step's position → median seconds on the card; None when no picture of the step was ever timed.
    """
    positions = session.execute(
        text("SELECT position FROM pipeline_steps WHERE pipeline_version_id = :version ORDER BY position"),
        {"version": pipeline_version_id},
    )
    seconds: dict[int, float | None] = dict.fromkeys(positions.scalars())
    for row in session.execute(text(_SECONDS), {"version": pipeline_version_id}):
        seconds[row.position] = float(row.seconds)
    return seconds


def cost_of(pictures: Mapping[int, int], seconds: Mapping[int, float | None]) -> Cost:
    """What so many pictures will cost.

    Args:
        pictures: step's position → pictures to make.
        seconds: as `picture_seconds` gives it.
    """
    return Cost(
        tuple(
            StepCost(position, count, _minutes(count, seconds.get(position)))
            for position, count in sorted(pictures.items())
        )
    )


def run_cost(session: Session, pipeline_version_id: int, steps: Sequence[tuple[int, int]]) -> Cost:
    """What a run with these N and K will cost from its start to its end.

    Args:
        steps: N and K of each step, as `growth` takes them.
    """
    pictures = dict(enumerate(growth(steps), start=1))
    return cost_of(pictures, picture_seconds(session, pipeline_version_id))


def _minutes(pictures: int, seconds: float | None) -> float | None:
    if not pictures:
        return 0.0
    return None if seconds is None else pictures * seconds / 60
