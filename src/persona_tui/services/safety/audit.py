"""The append-only audit trail: each event carries the hash of the one before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg.types.json import Jsonb
from sqlmodel import Session, select

from persona_tui.database.driver import rows_of
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
    (head,) = rows_of(session, _HEAD, {})
    facts = {
        "at": head.at.astimezone(UTC).isoformat(),
        "actor": actor,
        "action": action,
        "persona_id": persona_id,
        "subject": subject,
        "content_sha256": content_sha256,
        "details": dict(details or {}),
    }
    chained = _chain_hash(head.hash, facts)
    values = {
        **facts,
        "at": head.at,
        "details": Jsonb(facts["details"]),
        "previous_hash": head.hash,
        "hash": chained,
    }
    (added,) = rows_of(session, _APPEND, values)
    return AuditEntry(added.id, head.at, actor, action, subject, content_sha256, facts["details"], chained)


_HEAD = "SELECT hash, persona_now() AS at FROM audit_heads WHERE id = 1 FOR UPDATE"
_APPEND = (
    "WITH added AS (INSERT INTO audit_events"
    " (at, actor, action, persona_id, subject, content_sha256, details, previous_hash, hash)"
    " VALUES (:at, :actor, :action, :persona_id, :subject, :content_sha256, :details, :previous_hash, :hash)"
    " RETURNING id), moved AS (UPDATE audit_heads SET hash = :hash WHERE id = 1)"
    " SELECT id FROM added"
)
"""Two statements an event: every picture that is sent and every one that is taken pass here."""


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
    query = select(AuditHead).where(AuditHead.id == 1).execution_options(populate_existing=True)
    head = session.exec(query).one()
    return None if head.hash == previous else 0
