"""Warnings on runs: what did not go as asked though the run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.services import events

WarningKind = Literal["lora", "gate", "budget", "engine"]


@dataclass(frozen=True)
class RunWarningView:
    """A sentence on a run; `kind` is the part of the program that it is about."""

    kind: str
    sentence: str
    at: datetime


def warn(session: Session, run_id: int, kind: WarningKind, sentence: str) -> bool:
    """Note a sentence on a run; one that is there already is not said again.

    Returns:
        Whether it is new.
    """
    made = session.execute(
        text(
            "INSERT INTO run_warnings (run_id, kind, sentence) VALUES (:run, :kind, :sentence)"
            " ON CONFLICT (run_id, sentence) DO NOTHING RETURNING id"
        ),
        {"run": run_id, "kind": kind, "sentence": sentence},
    ).scalar_one_or_none()
    if made is not None:
        events.emit(session, "run", run_id)
    return made is not None


def warnings_of(session: Session, run_id: int) -> tuple[RunWarningView, ...]:
    """What was noted on a run, the oldest first."""
    return warnings_by_run(session, [run_id]).get(run_id, ())


def warnings_by_run(session: Session, run_ids: Sequence[int]) -> dict[int, tuple[RunWarningView, ...]]:
    """What was noted on these runs; those without a warning are left out."""
    rows = session.execute(
        text(
            "SELECT run_id, kind, sentence, created_at FROM run_warnings"
            " WHERE run_id = ANY (:runs) ORDER BY id"
        ),
        {"runs": list(run_ids)},
    )
    found: dict[int, tuple[RunWarningView, ...]] = {}
    for row in rows:
        view = RunWarningView(row.kind, row.sentence, row.created_at)
        found[row.run_id] = (*found.get(row.run_id, ()), view)
    return found
