"""Instagram accounts with their tokens, and what keeps all posts of an account or a service waiting."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field

from persona_tui.models.base import (
    Table,
    bigint,
    created_at,
    document,
    filled,
    identity,
    moment,
    number,
    one_of,
)


class InstagramAccount(Table, table=True):
    """An Instagram account of a persona; the token is encrypted (R26)."""

    __tablename__ = "instagram_accounts"
    __table_args__ = (
        UniqueConstraint("environment", "ig_user_id"),
        UniqueConstraint("id", "persona_id"),
        UniqueConstraint("id", "environment"),
        one_of("environment", "live", "sandbox"),
        one_of("login", "instagram", "facebook"),
        one_of("status", "active", "paused", "restricted"),
        Index(
            "uq_instagram_accounts_persona",
            "persona_id",
            "environment",
            unique=True,
            postgresql_where=text("status <> 'restricted'"),
        ),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="RESTRICT")
    environment: str
    login: str = filled("instagram")
    ig_user_id: str
    username: str = filled("")
    token_ciphertext: bytes = Field(sa_type=LargeBinary)
    """AES-GCM: 12 bytes nonce, then ciphertext and tag; associated data is 'id:environment'."""
    token_key_id: str
    token_expires_at: datetime | None = moment(default=None)
    status: str = filled("active")
    status_reason: str = filled("")
    page_id: str = filled("")
    """The Facebook Page that the account is linked to, under Facebook Login."""
    scopes: list[str] = document("[]")
    """Permissions that the token was seen to have."""
    token_obtained_at: datetime | None = moment(default=None)
    """When the token in use was issued; Instagram refreshes one only after 24 hours."""
    token_checked_at: datetime | None = moment(default=None)
    """When Instagram last took the token."""
    token_refreshed_at: datetime | None = moment(default=None)
    """When the token in use was last renewed by us; null: it is as the operator gave it."""
    token_due_at: datetime | None = moment(default=None)
    """When the token is looked at next; null: at once."""
    token_trouble: str = filled("")
    """Why the last refresh failed; empty after one that worked."""
    previous_token_ciphertext: bytes | None = Field(default=None, sa_type=LargeBinary)
    """The token before this one, kept until Instagram has answered to the new one."""
    previous_token_key_id: str = filled("")
    quiet_until: datetime | None = moment(default=None)
    """Instagram throttles the account: no call before this moment."""
    min_gap_minutes: int | None = None
    """Between two posts of this account; null: the setting."""
    created_at: datetime = created_at()


class CircuitBreaker(Table, table=True):
    """Failures in a row of something that many posts need; while it is open nobody tries."""

    __tablename__ = "circuit_breakers"

    scope: str = Field(primary_key=True)
    """`graph`, `host:first`, `host:second`, or `account:<id>`."""
    failures: int = number(0)
    open_until: datetime | None = moment(default=None)
    reason: str = filled("")
    changed_at: datetime = created_at()
