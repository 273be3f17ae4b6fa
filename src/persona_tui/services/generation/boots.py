"""Knowing when a server was started again: its queue numbers begin anew (R11).

What was sent to an earlier boot may be lost, and is looked for at once instead of after a call's timeout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.services.generation.jobs import LiveJob


@dataclass(frozen=True)
class Taken:
    """A prompt that the server took.

    Attributes:
        number: in its queue; None where it told none.
        before: `highest_number` as it was when the prompt was about to be sent.
    """

    job: LiveJob
    number: float | None
    before: float | None

    @property
    def restarted(self) -> bool:
        """Whether the server was started again since the last prompt."""
        return self.number is not None and self.before is not None and 0 <= self.number <= self.before


def highest_number(session: Session, endpoint: str) -> float | None:
    """The highest queue number that the endpoint's present boot gave us; None before the first.

    Read before a prompt is sent: whatever number the prompt then gets is higher, in any order in which the
    answers of several senders are written down, unless the counter began anew.
    """
    found: float | None = session.execute(
        text("SELECT queue_number FROM comfyui_endpoints WHERE url = :url"), {"url": endpoint}
    ).scalar_one_or_none()
    return found


def note_taken(session: Session, endpoint: str, taken: Taken) -> None:
    """Write down that the server took a prompt, under which number, and in which boot."""
    session.execute(
        text(_NOTE),
        {
            "id": taken.job.id,
            "prompt": taken.job.prompt_id,
            "url": endpoint,
            "number": taken.number,
            "restarted": taken.restarted,
        },
    )


_NOTE = """
WITH seen AS (
  INSERT INTO comfyui_endpoints AS e (url, queue_number)
  SELECT :url, CAST(:number AS float8) WHERE CAST(:number AS float8) >= 0
  ON CONFLICT (url) DO UPDATE SET boot = e.boot + CAST(CAST(:restarted AS boolean) AS int),
    queue_number = CASE WHEN CAST(:restarted AS boolean) THEN excluded.queue_number
                        ELSE greatest(e.queue_number, excluded.queue_number) END
  RETURNING boot
)
UPDATE comfyui_jobs SET state = CASE state WHEN 'submitting' THEN 'submitted' ELSE state END,
  queue_number = :number, boot = (SELECT boot FROM seen)
WHERE id = (SELECT id FROM comfyui_jobs WHERE id = :id AND prompt_id = :prompt
  AND state IN ('submitting', 'submitted', 'running', 'storing') FOR NO KEY UPDATE SKIP LOCKED)
"""
"""Its events may have been heard, and written down, before its answer. For the lock see `jobs.advance`."""


def note_all_taken(session: Session, endpoint: str, taken: Sequence[Taken]) -> None:
    """Write down by one statement that the server took prompts, all of the boot that is known."""
    rows_of(
        session,
        _NOTE_ALL,
        {
            "url": endpoint,
            "ids": [one.job.id for one in taken],
            "prompts": [one.job.prompt_id for one in taken],
            "numbers": [one.number for one in taken],
        },
    )


_NOTE_ALL = """
WITH told AS (
  SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:prompts AS uuid[]), CAST(:numbers AS float8[]))
    AS one (id, prompt_id, number)
), seen AS (
  INSERT INTO comfyui_endpoints AS e (url, queue_number)
  SELECT :url, max(number) FROM told HAVING max(number) >= 0
  ON CONFLICT (url) DO UPDATE SET queue_number = greatest(e.queue_number, excluded.queue_number)
  RETURNING boot
), free AS MATERIALIZED (
  SELECT j.id, told.number FROM comfyui_jobs j
  JOIN told ON told.id = j.id AND told.prompt_id = j.prompt_id
  WHERE j.state IN ('submitting', 'submitted', 'running', 'storing')
  ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED)
UPDATE comfyui_jobs j SET state = CASE j.state WHEN 'submitting' THEN 'submitted' ELSE j.state END,
  queue_number = free.number, boot = (SELECT boot FROM seen)
FROM free WHERE j.id = free.id
"""
