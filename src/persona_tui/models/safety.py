"""Consent and the audit trail."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text

from persona_tui.models.base import (
    Table,
    bigint,
    created_at,
    document,
    filled,
    identity,
    moment,
    one_of,
)


class Consent(Table, table=True):
    """A real person's permission to use a likeness."""

    __tablename__ = "consents"
    __table_args__ = (
        UniqueConstraint("id", "persona_id"),
        one_of("scope", "training", "publishing", "all"),
        CheckConstraint("length(btrim(subject)) BETWEEN 1 AND 200", name="subject_filled"),
        CheckConstraint("evidence_sha256 ~ '^([0-9a-f]{64})?$'", name="evidence_hash_form"),
        CheckConstraint("expires_at IS NULL OR expires_at > given_at", name="expires_later"),
        CheckConstraint("withdrawn_at IS NOT NULL OR withdrawn_reason = ''", name="reason_of_withdrawn"),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="RESTRICT")
    subject: str
    """Who gave it, in the operator's words."""
    scope: str
    evidence: str = filled("")
    """Where the proof is kept: a file's name, a letter, a message."""
    evidence_sha256: str = filled("")
    given_at: datetime = created_at()
    expires_at: datetime | None = moment(default=None)
    withdrawn_at: datetime | None = moment(default=None)
    withdrawn_reason: str = filled("")


class AuditEvent(Table, table=True):
    """One fact of the append-only trail, chained by hash; the app's role may only insert and read."""

    __tablename__ = "audit_events"
    __table_args__ = (
        UniqueConstraint("hash"),
        Index("ix_audit_events_content", "content_sha256"),
        Index("ix_audit_events_licence", "subject", postgresql_where=text("action = 'licence.acknowledge'")),
        CheckConstraint("hash ~ '^[0-9a-f]{64}$'", name="hash_form"),
    )

    id: int = identity()
    at: datetime = created_at()
    actor: str
    action: str
    persona_id: int | None = bigint(default=None)
    """Kept as a bare number: the trail outlives what it tells about."""
    subject: str = filled("")
    """'table:id' of what the event is about."""
    content_sha256: str | None = None
    """Hash of the text, picture or workflow that was judged."""
    details: dict[str, Any] = document()
    previous_hash: str
    hash: str


class AuditHead(Table, table=True):
    """The one row on which appends queue up (R31)."""

    __tablename__ = "audit_heads"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: int = identity()
    hash: str
