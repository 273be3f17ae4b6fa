"""From which likeness on a picture counts as a persona's, as its trainings found it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session

from persona_tui.database.driver import rows_of


@dataclass(frozen=True)
class Threshold:
    """What the newest evaluation by one scorer went by.

    Attributes:
        scorer: what told faces, or whole pictures, apart.
        least: likeness from which on a picture counts.
        pairs: of references and other people that it was found from; 0: it is a usual value.
        run_id: the training whose evaluation found it.
    """

    scorer: str
    least: float
    pairs: int
    run_id: int


def thresholds_of(session: Session, persona_id: int) -> tuple[Threshold, ...]:
    """A persona's thresholds, the newest of each scorer; empty before an evaluation found one."""
    return tuple(Threshold(*row) for row in rows_of(session, _NEWEST, {"persona": persona_id}))


_NEWEST = """
SELECT DISTINCT ON (c.scores ->> 'scorer') c.scores ->> 'scorer', (c.scores ->> 'threshold')::float,
  coalesce((c.scores ->> 'calibrated_on')::int, 0), r.id
FROM checkpoints c JOIN training_runs r ON r.id = c.training_run_id
WHERE r.persona_id = :persona AND jsonb_typeof(c.scores -> 'threshold') = 'number'
ORDER BY c.scores ->> 'scorer', c.id DESC
"""
