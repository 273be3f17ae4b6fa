"""Knowing when a server was started again: its queue numbers begin anew (R11).

What was sent to an earlier boot may be lost, and is looked for at once instead of after a call's timeout.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.services.generation.jobs import LiveJob


@dataclass(frozen=True)
class Noted:
    """What came of a prompt that the server took.

    Attributes:
        wanted: the job still was what the caller took it for.
        restarted: the server was started again since the last prompt.
    """

    wanted: bool
    restarted: bool


def highest_number(session: Session, endpoint: str) -> float | None:
    """The highest queue number that the endpoint's present boot gave us; None before the first.

    Read before a prompt is sent: whatever number the prompt then gets is higher, in any order in which the
    answers of several senders are written down, unless the counter began anew.
    """
    found: float | None = session.execute(
        text("SELECT queue_number FROM comfyui_endpoints WHERE url = :url"), {"url": endpoint}
    ).scalar_one_or_none()
    return found


def note_submitted(
    session: Session, job: LiveJob, endpoint: str, number: float | None, before: float | None
) -> Noted:
    """Write down that the server took a prompt, under which number, and in which boot.

    Args:
        number: as the server told it; None where it told none.
        before: `highest_number` as it was when the prompt was about to be sent.
    """
    restarted = number is not None and before is not None and 0 <= number <= before
    row = session.execute(
        text(_NOTE),
        {
            "id": job.id,
            "prompt": job.prompt_id,
            "url": endpoint,
            "number": number,
            "restarted": restarted,
        },
    )
    return Noted(row.scalar_one_or_none() is not None, restarted)


_NOTE = """
WITH seen AS (
  INSERT INTO comfyui_endpoints AS e (url, queue_number)
  SELECT :url, CAST(:number AS float8) WHERE CAST(:number AS float8) >= 0
  ON CONFLICT (url) DO UPDATE SET boot = e.boot + CAST(CAST(:restarted AS boolean) AS int),
    queue_number = CASE WHEN CAST(:restarted AS boolean) THEN excluded.queue_number
                        ELSE greatest(e.queue_number, excluded.queue_number) END
  RETURNING boot
)
UPDATE comfyui_jobs SET state = 'submitted', queue_number = :number, boot = (SELECT boot FROM seen)
WHERE id = :id AND prompt_id = :prompt AND state = 'submitting' RETURNING id
"""
