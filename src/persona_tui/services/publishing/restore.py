"""A database that went back in time, or lives in two places, publishes nothing until a person says so (R1).

Outside the database, in the configuration folder, stands which database this machine works on and how far
it had come. A restored backup, a copied data folder, another machine, or a file system that was rolled
back differs from that: every unfinished post is paused and publishing is held. `survey_restore` then reads
what the accounts have published since, and `confirm_restore` lets go, on the operator's word.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from sqlalchemy import Row, text
from sqlmodel import Session

from persona_tui.errors import StorageError
from persona_tui.models.post import FENCED_STATES
from persona_tui.services import events
from persona_tui.services.media import write_durably
from persona_tui.services.publishing.attempts import STOPPED, close_attempt
from persona_tui.services.publishing.claims import take_over
from persona_tui.services.publishing.survey import (
    RESTORED,
    AccountSurvey,
    RestoredPost,
    RestoreOutcome,
    RestoreSurvey,
    survey_restore,
)
from persona_tui.services.publishing.survey import (
    confirm_restore as _confirm,
)
from persona_tui.services.publishing.transitions import maybe_published
from persona_tui.services.safety import audit

_MACHINE_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_PAUSED_STATES = ("scheduled", "deferred", "missed", "needs_human")


class Incarnation(BaseModel):
    """What is kept outside the database, one record for each data folder.

    Attributes:
        machine_id: a hash of the machine's id; empty where a container has none.
        leader_epoch: the highest that was seen; a lower one in the database means that it went back in time.
    """

    model_config = ConfigDict(frozen=True)

    incarnation_id: str
    machine_id: str
    leader_epoch: int


_RECORDS = TypeAdapter(dict[str, Incarnation])


@dataclass(frozen=True)
class IncarnationReport:
    """What the check found.

    Attributes:
        state: `first` start of this database, the `same` as last time, or `changed`.
        reasons: what differs, one sentence each.
        paused: posts that were paused now.
        held: whether publishing is held.
    """

    state: Literal["first", "same", "changed"]
    reasons: tuple[str, ...] = ()
    paused: tuple[int, ...] = ()
    held: bool = False


@dataclass(frozen=True)
class Hold:
    """Why nothing is published until the operator confirms, and from when on the accounts must be read."""

    reason: str
    since: datetime


def publishing_hold(session: Session) -> Hold | None:
    """Whether publishing is held."""
    row = session.execute(
        text("SELECT held_reason, coalesce(held_since, created_at) FROM installation WHERE publishing_held")
    ).one_or_none()
    return Hold(*row) if row is not None else None


def machine_id() -> str:
    """A hash that names this machine, or '' where it has no id (some containers)."""
    for name in _MACHINE_FILES:
        try:
            found = Path(name).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if found:
            return hashlib.sha256(f"persona-tui {found}".encode()).hexdigest()[:32]
    return ""


def check_incarnation(
    session: Session, incarnation_file: Path, data_dir: Path, *, machine: str | None = None
) -> IncarnationReport:
    """Compare the database with what this machine remembers of it; the first start writes both.

    Runs at every start, before anything may publish. An empty database is taken as it is.

    Args:
        incarnation_file: outside the data folder.
        machine: this machine's id; default: `machine_id()`.

    Raises:
        StorageError: the file can't be written.
    """
    row = session.execute(
        text(
            "SELECT incarnation_id, leader_epoch, publishing_held,"
            " EXISTS (SELECT FROM scheduling_posts) AS used FROM installation FOR UPDATE"
        )
    ).one()
    now = Incarnation(
        incarnation_id=row.incarnation_id or secrets.token_hex(16),
        machine_id=machine if machine is not None else machine_id(),
        leader_epoch=row.leader_epoch,
    )
    reasons = _differences(row, now, _read(incarnation_file).get(str(data_dir.resolve())))
    if not reasons or not row.used:
        if now.incarnation_id != row.incarnation_id:
            session.execute(text("UPDATE installation SET incarnation_id = :id"), {"id": now.incarnation_id})
        _write(incarnation_file, data_dir, now)
        return IncarnationReport("same" if row.incarnation_id else "first", held=row.publishing_held)
    paused = _pause_all(session)
    _hold(session, reasons)
    return IncarnationReport("changed", reasons, paused, held=True)


def confirm_restore(
    session: Session,
    survey: RestoreSurvey,
    incarnation_file: Path,
    data_dir: Path,
    *,
    machine: str | None = None,
) -> RestoreOutcome:
    """Let go on the operator's word: bind what was recognised, make the rest due or leave it, end the hold.

    Args:
        survey: what the operator was shown, at most 15 minutes old.
        machine: this machine's id; default: `machine_id()`.

    Raises:
        NotAllowedNow: nothing is held, or the survey is too old.
        StorageError: the file can't be written.
    """
    outcome = _confirm(session, survey)
    row = session.execute(text("SELECT incarnation_id, leader_epoch FROM installation")).one()
    restored = not row.incarnation_id or row.incarnation_id.startswith("restored-")
    now = Incarnation(
        incarnation_id=secrets.token_hex(16) if restored else row.incarnation_id,
        machine_id=machine if machine is not None else machine_id(),
        leader_epoch=row.leader_epoch,
    )
    session.execute(text("UPDATE installation SET incarnation_id = :id"), {"id": now.incarnation_id})
    _write(incarnation_file, data_dir, now)
    return outcome


def _differences(row: Row[Any], now: Incarnation, kept: Incarnation | None) -> tuple[str, ...]:
    if kept is None:
        return ("Nobody has worked on this database in this folder on this machine, by its records.",)
    found = []
    if row.incarnation_id != kept.incarnation_id:
        found.append("The database was restored from a backup, or is another one.")
    if now.machine_id != kept.machine_id:
        found.append("It runs on another machine than before.")
    if now.leader_epoch < kept.leader_epoch:
        found.append("The database is in an older state than this machine has seen.")
    return tuple(found)


def _pause_all(session: Session) -> tuple[int, ...]:
    """Pause every post that could go out or may have; owned ones are taken from their owners first."""
    states = [*FENCED_STATES, *_PAUSED_STATES, "paused"]
    rows = session.execute(
        text(
            "SELECT id, state, fence FROM scheduling_posts WHERE state = ANY(:states) AND reason <> :reason"
            " ORDER BY id FOR UPDATE"
        ),
        {"states": states, "reason": RESTORED},
    ).all()
    for row in rows:
        if row.state in FENCED_STATES:
            take_over(session, row.id, row.fence)
        session.execute(_PAUSE, {"id": row.id, "reason": RESTORED})
        if not maybe_published(session, row.id):
            close_attempt(session, row.id, "restored")
        session.execute(_NOT_THE_ACCOUNT, {"id": row.id, "stopped": STOPPED})
        events.emit(session, "post", row.id)
    return tuple(row.id for row in rows)


_PAUSE = text(
    "UPDATE scheduling_posts SET state = 'paused', reason = :reason, lease_owner = '' WHERE id = :id"
)
# A new token must not set free what a restore has paused.
_NOT_THE_ACCOUNT = text(
    "UPDATE publish_attempts SET outcome = 'restored' WHERE post_id = :id AND NOT open AND outcome = :stopped"
)


def _hold(session: Session, reasons: tuple[str, ...]) -> None:
    """Hold publishing; what a restore wrote as the backup's time stays, else the last sign of life counts."""
    session.execute(
        text(
            "UPDATE installation SET publishing_held = true, held_reason = :reason,"
            " held_since = coalesce(held_since, (SELECT max(at) FROM audit_events), created_at)"
        ),
        {"reason": " ".join(reasons)},
    )
    audit.append(session, actor="system", action="installation.hold", details={"reasons": list(reasons)})


def _read(path: Path) -> dict[str, Incarnation]:
    """Data folder → its record; what can't be read counts as no record."""
    try:
        return _RECORDS.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return {}


def _write(path: Path, data_dir: Path, incarnation: Incarnation) -> None:
    """Keep the record beside those of other data folders (the demo has one of its own)."""
    folder = str(data_dir.resolve())
    if _read(path).get(folder) == incarnation:
        return
    with _alone(path):
        records = _read(path) | {folder: incarnation}
        write_durably(path, _RECORDS.dump_json(records, indent=2) + b"\n")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from writing the file meanwhile."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(f"{path}.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise StorageError(f"{path.parent} can't be written: {problem.strerror}.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


__all__ = [
    "RESTORED",
    "AccountSurvey",
    "Hold",
    "Incarnation",
    "IncarnationReport",
    "RestoreOutcome",
    "RestoreSurvey",
    "RestoredPost",
    "check_incarnation",
    "confirm_restore",
    "machine_id",
    "publishing_hold",
    "survey_restore",
]
