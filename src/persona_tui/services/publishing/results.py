"""A post that is out: bound to its item on Instagram, by the publisher or by the reconciler."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, text
from sqlmodel import Session

from persona_tui.clients.instagram_facts import MediaFacts
from persona_tui.services import events
from persona_tui.services.publishing.attempts import close_attempt
from persona_tui.services.publishing.claims import Claim, advance
from persona_tui.services.safety import audit


def bind(
    session: Session, claim: Claim, media_id: str, *, found_by: str, published_at: datetime | None = None
) -> Claim:
    """Mark an owned post as published.

    Args:
        found_by: `reply`, or what the reconciler recognised it by.
        published_at: Instagram's time of the item; default: now.

    Raises:
        LeaseLost: the post is another's by now.
        IntegrityError: another post is bound to that item.
    """
    bound = advance(
        session,
        claim,
        "published",
        lease=timedelta(0),
        owner="",
        media_id=media_id,
        published_at=published_at or func.persona_now(),
        reason="",
    )
    close_attempt(session, claim.post_id, "published")
    labelled = session.execute(
        text("SELECT is_ai_generated FROM scheduling_posts WHERE id = :id"), {"id": claim.post_id}
    ).scalar_one()
    audit.append(
        session,
        actor="publisher",
        action="post.publish",
        persona_id=claim.persona_id,
        subject=f"scheduling_posts:{claim.post_id}",
        details={
            "media_id": media_id,
            "creation_id": claim.creation_id,
            "found_by": found_by,
            "ai_label_sent": labelled,
        },
    )
    return bound


def keep_read_back(session: Session, post_id: int, facts: MediaFacts) -> None:
    """Keep what the world sees of a published post: address, AI label, alternative text."""
    seen: dict[str, Any] = {
        "is_ai_generated": facts.is_ai_generated,
        "alt_text": facts.alt_text,
        "timestamp": facts.timestamp.astimezone(UTC).isoformat() if facts.timestamp else None,
    }
    session.execute(
        text(
            "UPDATE scheduling_posts SET permalink = coalesce(:permalink, permalink),"
            " caption_metadata = caption_metadata || jsonb_build_object('read_back', CAST(:seen AS jsonb))"
            " WHERE id = :id AND state = 'published' AND media_id = :media"
        ),
        {"id": post_id, "permalink": facts.permalink, "seen": json.dumps(seen), "media": facts.id},
    )
    events.emit(session, "post", post_id)


__all__ = ["bind", "keep_read_back"]
