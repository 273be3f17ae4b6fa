"""The append-only audit trail: each event carries the hash of the one before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlmodel import Session, select

from persona_tui.models.safety import AuditEvent, AuditHead

GENESIS = "0" * 64


@dataclass(frozen=True)
class AuditEntry:
    """An event as it stands in the trail."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    content_sha256: str | None
    details: Mapping[str, Any]
    hash: str


def _chain_hash(previous: str, facts: Mapping[str, Any]) -> str:
    body = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{previous}\n{body}".encode()).hexdigest()


def _facts(event: AuditEvent) -> dict[str, Any]:
    return {
        "at": event.at.astimezone(UTC).isoformat(),
        "actor": event.actor,
        "action": event.action,
        "persona_id": event.persona_id,
        "subject": event.subject,
        "content_sha256": event.content_sha256,
        "details": event.details,
    }


def append(
    session: Session,
    *,
    actor: str,
    action: str,
    persona_id: int | None = None,
    subject: str = "",
    content_sha256: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Append one event in the session's transaction.

    Appends queue up on one row until the transaction ends (R31), so a transaction that audits is short.

    Args:
        actor: who acted: `operator`, `guard`, `publisher`, `system`.
        action: what was done, as `area.verb`: `guard.pass`, `post.schedule`.
        subject: `table:id` of what it was done to.
        content_sha256: hash of the text, picture or workflow that was judged.
        details: plain JSON; never a secret.
    """
    head = session.exec(select(AuditHead).where(AuditHead.id == 1).with_for_update()).one()
    at = session.execute(text("SELECT persona_now()")).scalar_one()
    event = AuditEvent(
        at=at,
        actor=actor,
        action=action,
        persona_id=persona_id,
        subject=subject,
        content_sha256=content_sha256,
        details=dict(details or {}),
        previous_hash=head.hash,
        hash="",
    )
    event.hash = _chain_hash(head.hash, _facts(event))
    head.hash = event.hash
    session.add(event)
    session.flush()
    return _entry(event)


def _entry(event: AuditEvent) -> AuditEntry:
    return AuditEntry(
        event.id,
        event.at,
        event.actor,
        event.action,
        event.subject,
        event.content_sha256,
        event.details,
        event.hash,
    )


def first_break(session: Session) -> int | None:
    """Check the whole chain.

    Returns:
        The id of the first event whose hash does not fit, 0 when the chain's end is missing, None when
        all is well.
    """
    previous = GENESIS
    for event in session.exec(select(AuditEvent).order_by(AuditEvent.id)).yield_per(1000):  # type: ignore[arg-type]
        if event.previous_hash != previous or event.hash != _chain_hash(previous, _facts(event)):
            return event.id
        previous = event.hash
    head = session.exec(select(AuditHead).where(AuditHead.id == 1)).one()
    return None if head.hash == previous else 0
