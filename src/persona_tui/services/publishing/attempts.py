"""Attempts to publish, and the answers that came: evidence that is appended and never changed (R15)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.clients.instagram_errors import InstagramError
from persona_tui.errors import ClientError, PersonaError
from persona_tui.models.post import PublishReply
from persona_tui.text import clean

CREATE, CREATE_CHILD, STATUS, PUBLISH, READ, LOOK, COMMENT, PROBE, FETCH = (
    "create_container",
    "create_child",
    "container_status",
    "media_publish",
    "reconcile",
    "look",
    "create_comment",
    "publishing_limit",
    "fetch",
)
"""Names of calls in `publish_replies`; READ and LOOK are readings of several calls together, FETCH is
Instagram's own of a media host, in vain."""

RETRIED = "retried"
"""Outcome of an attempt after which the post is tried again by itself."""
STOPPED = "account stopped"
"""Outcome of an attempt that ended with its account being paused or restricted."""


@dataclass(frozen=True)
class Reply:
    """One answer as it was kept."""

    id: int
    call: str
    ok: bool
    body: dict[str, Any]
    received_at: datetime


def open_attempt(
    session: Session, post_id: int, *, environment: str, fence: int, owner: str
) -> tuple[int, bool]:
    """The post's open attempt, taken over, or a new one.

    Returns:
        Its id, and whether it was sent already.
    """
    values = {"post": post_id, "environment": environment, "fence": fence, "owner": owner}
    taken = session.execute(
        text(
            "UPDATE publish_attempts SET fence = :fence, owner = :owner"
            " WHERE post_id = :post AND open RETURNING id, sent_at IS NOT NULL"
        ),
        values,
    ).one_or_none()
    if taken is not None:
        return taken[0], taken[1]
    made: int = session.execute(
        text(
            "INSERT INTO publish_attempts (post_id, number, environment, fence, owner)"
            " SELECT :post, coalesce(max(number), 0) + 1, :environment, :fence, :owner"
            " FROM publish_attempts WHERE post_id = :post RETURNING id"
        ),
        values,
    ).scalar_one()
    return made, False


def close_attempt(session: Session, post_id: int, outcome: str) -> None:
    """End the post's open attempt, if it has one."""
    session.execute(
        text(
            "UPDATE publish_attempts SET open = false, outcome = :outcome, ended_at = persona_now()"
            " WHERE post_id = :post AND open"
        ),
        {"post": post_id, "outcome": outcome},
    )


def tries_in_a_row(session: Session, post_id: int) -> int:
    """How many attempts in a row, up to the newest closed one, ended as `retried`."""
    count: int = session.execute(
        text(
            "SELECT count(*) FROM publish_attempts"
            " WHERE post_id = :post AND NOT open AND outcome = :retried"
            " AND number > (SELECT coalesce(max(number), 0) FROM publish_attempts"
            "   WHERE post_id = :post AND NOT open AND outcome <> :retried)"
        ),
        {"post": post_id, "retried": RETRIED},
    ).scalar_one()
    return count


def append_reply(
    session: Session,
    attempt_id: int,
    call: str,
    *,
    ok: bool,
    body: Mapping[str, Any] | None = None,
    error: BaseException | None = None,
) -> None:
    """Keep an answer, or that none came. Works without any fence.

    Args:
        body: ids and Instagram's cleaned words; plain JSON.
        error: what the client raised.
    """
    facts = error if isinstance(error, ClientError) else None
    session.add(
        PublishReply(
            attempt_id=attempt_id,
            call=call,
            ok=ok,
            status=facts.status if facts else None,
            code=facts.code if facts else None,
            subcode=facts.subcode if facts else None,
            body={**(body or {}), **(told_by(error) if error is not None else {})},
        )
    )
    session.flush()


def told_by(error: BaseException) -> dict[str, Any]:
    """What an error says, as plain JSON; whether anything was sent above all."""
    sent = error.sent if isinstance(error, ClientError) else not isinstance(error, PersonaError)
    words = error.message if isinstance(error, PersonaError) else type(error).__name__
    told: dict[str, Any] = {"sent": sent, "error": clean(words, keep_lines=False)}
    if isinstance(error, InstagramError):
        told |= {"fbtrace_id": error.fbtrace_id, "user_message": error.user_message}
    return told


def replies_of_open_attempt(session: Session, post_id: int) -> tuple[Reply, ...]:
    """All that was answered in the post's open attempt, oldest first."""
    rows = session.execute(
        text(
            "SELECT r.id, r.call, r.ok, r.body, r.received_at FROM publish_replies r"
            " JOIN publish_attempts t ON t.id = r.attempt_id"
            " WHERE t.post_id = :post AND t.open ORDER BY r.id"
        ),
        {"post": post_id},
    )
    return tuple(Reply(*row) for row in rows)


__all__ = [
    "COMMENT",
    "CREATE",
    "CREATE_CHILD",
    "FETCH",
    "LOOK",
    "PROBE",
    "PUBLISH",
    "READ",
    "RETRIED",
    "STATUS",
    "STOPPED",
    "Reply",
    "append_reply",
    "close_attempt",
    "open_attempt",
    "replies_of_open_attempt",
    "tries_in_a_row",
]
