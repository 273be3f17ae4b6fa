"""The append-only audit trail: each event carries the hash of the one before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True)
class Happened:
    """What is to be told of one event.

    Attributes:
        actor: who acted: `operator`, `guard`, `publisher`, `system`.
        action: what was done, as `area.verb`: `guard.pass`, `post.schedule`.
        subject: `table:id` of what it was done to.
        content_sha256: hash of the text, picture or workflow that was judged.
        details: plain JSON; never a secret.
    """

    actor: str
    action: str
    persona_id: int | None = None
    subject: str = ""
    content_sha256: str | None = None
    details: Mapping[str, Any] | None = None


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
    """Append one event; see `append_all` and `Happened`."""
    happened = Happened(actor, action, persona_id, subject, content_sha256, details)
    return append_all(session, [happened])[0]


def append_all(session: Session, events: Sequence[Happened]) -> tuple[AuditEntry, ...]:
    """Append events, in their order, in the session's transaction.

    Appends queue up on one row until the transaction ends (R31), so a transaction that audits is short.
    """
    if not events:
        return ()
    (head,) = rows_of(session, _HEAD, {})
    previous, chain = head.hash, []
    for happened in events:
        facts = {"at": head.at.astimezone(UTC).isoformat(), **vars(happened)}
        facts["details"] = dict(happened.details or {})
        chain.append((facts, previous, _chain_hash(previous, facts)))
        previous = chain[-1][2]
    columns = {f"{name}s": [facts[name] for facts, _, _ in chain] for name in _TOLD}
    values = {
        **columns,
        "at": head.at,
        "details": [Jsonb(facts["details"]) for facts, _, _ in chain],
        "befores": [before for _, before, _ in chain],
        "hashes": [after for _, _, after in chain],
        "newest": previous,
    }
    added = rows_of(session, _APPEND, values)
    return tuple(
        AuditEntry(
            row.id, head.at, happened.actor, happened.action, happened.subject, happened.content_sha256,
            facts["details"], after,
        )
        for row, happened, (facts, _, after) in zip(added, events, chain, strict=True)
    )  # fmt: skip


_TOLD = ("actor", "action", "persona_id", "subject", "content_sha256")
_HEAD = "SELECT hash, persona_now() AS at FROM audit_heads WHERE id = 1 FOR UPDATE"
_APPEND = """
WITH added AS (
  INSERT INTO audit_events
    (at, actor, action, persona_id, subject, content_sha256, details, previous_hash, hash)
  SELECT CAST(:at AS timestamptz), actor, action, persona_id, subject, content_sha256, details, before, hash
  FROM unnest(CAST(:actors AS text[]), CAST(:actions AS text[]), CAST(:persona_ids AS bigint[]),
    CAST(:subjects AS text[]), CAST(:content_sha256s AS text[]), CAST(:details AS jsonb[]),
    CAST(:befores AS text[]), CAST(:hashes AS text[])) WITH ORDINALITY
    AS one (actor, action, persona_id, subject, content_sha256, details, before, hash, rank)
  ORDER BY rank RETURNING id
), moved AS (
  UPDATE audit_heads SET hash = :newest WHERE id = 1
)
SELECT id FROM added ORDER BY id
"""
"""Two statements for any number of events: every picture passes here on its way out."""


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
