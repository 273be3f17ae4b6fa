"""How a person ends the doubt about a post that was sent: it is this one, or it is not out (R18)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.clients.instagram_facts import ContainerState, is_id
from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.models.post import SchedulingPost
from persona_tui.services import events
from persona_tui.services.publishing.attempts import LOOK, close_attempt, replies_of_open_attempt
from persona_tui.services.publishing.cases import read_case
from persona_tui.services.publishing.claims import set_fence
from persona_tui.services.publishing.formats import drop_container
from persona_tui.services.publishing.policy import CONTAINER_OVER
from persona_tui.services.publishing.post_views import PostView, get_post
from persona_tui.services.publishing.transitions import locked_post, maybe_published, post_rules, save
from persona_tui.services.safety import audit

ONLY_SENT = "Only posts that were sent are looked for."
SEEN_FOR = timedelta(minutes=15)
"""How long a look at Instagram counts as current."""


def adopt(
    session: Session,
    post_id: int,
    media_id: str,
    *,
    permalink: str = "",
    published_at: datetime | None = None,
) -> PostView:
    """Say which item of the account's listing the post is.

    Args:
        media_id: Instagram's id of the item.
        permalink: its address, where known.
        published_at: when it was published; default: when it was sent, else now.

    Raises:
        InvalidRequest: that is no media id.
        NotAllowedNow: the post was never sent or its outcome is known, or another post is that item.
    """
    if not is_id(media_id):
        raise InvalidRequest("An Instagram media id consists of digits.")
    post = locked_post(session, post_id)
    if post.state not in {"needs_human", "paused"}:
        raise NotAllowedNow(
            f"A post that is {post.state.replace('_', ' ')} has nothing to adopt.",
            hint="Only posts whose outcome is unknown are adopted.",
        )
    moment = published_at or _sent_at(session, post_id) or _now(session)
    post.media_id, post.permalink, post.published_at = media_id, permalink, moment
    post.state, post.reason = "published", ""
    save(session, post, "post.adopt", media_id=media_id)
    close_attempt(session, post_id, "adopted")
    return get_post(session, post_id)


def mark_not_published(session: Session, post_id: int) -> PostView:
    """Say that a post did not go out; it becomes ready and may be scheduled again.

    Raises:
        NotAllowedNow: its outcome is not in question; or nobody has looked at the account's listing in the
            last 15 minutes (`Reconciler.look`); or the container could still be published.
    """
    post = locked_post(session, post_id)
    if post.state != "needs_human":
        raise NotAllowedNow(
            f"A post that is {post.state.replace('_', ' ')} can't be marked as not published.",
            hint="Only a post that needs a human is.",
        )
    _require_look(session, post)
    # The attempt is closed first: while it is open the database lets nothing of the post go (R13).
    close_attempt(session, post_id, "not published")
    post.state, post.reason = "ready", ""
    drop_container(post)
    post.scheduled_at, post.wall_time = None, ""
    save(session, post, "post.mark_not_published")
    return get_post(session, post_id)


def reconcile_now(session: Session, post_id: int) -> None:
    """Have the reconciler look at a post in doubt at its next round.

    Raises:
        UnknownName: no such post.
        NotAllowedNow: there is no doubt about it, or another post of the account is on its way.
    """
    post = locked_post(session, post_id)
    if read_case(session, post_id) is None or post.state not in {"unknown", "needs_human", "paused"}:
        raise NotAllowedNow("There is no doubt about this post.", hint=ONLY_SENT)
    changes = {"id": post_id, "fence": post.fence + (post.state != "unknown")}
    state = "unknown" if post.state == "unknown" else "reconciling"
    set_fence(session, post.fence)
    with post_rules(session):
        session.execute(
            text(
                "UPDATE scheduling_posts SET state = :state, fence = :fence, lease_owner = '',"
                " lease_until = persona_now() WHERE id = :id"
            ),
            {**changes, "state": state},
        )
    audit.append(
        session,
        actor="operator",
        action="post.reconcile",
        persona_id=post.persona_id,
        subject=f"scheduling_posts:{post_id}",
    )
    events.emit(session, "post", post_id)


def _require_look(session: Session, post: SchedulingPost) -> None:
    now = _now(session)
    looks = [reply for reply in replies_of_open_attempt(session, post.id) if reply.call == LOOK and reply.ok]
    if not looks or looks[-1].received_at < now - SEEN_FOR:
        raise NotAllowedNow(
            "Nobody has looked at the account's listing just now.",
            hint=f"`persona-tui post reconcile {post.id}` shows it; then mark the post.",
        )
    seen: dict[str, Any] = looks[-1].body
    made = post.container_created_at
    over = made is not None and made <= now - CONTAINER_OVER
    if seen.get("container") == ContainerState.PUBLISHED:
        raise NotAllowedNow("Instagram says that the post is published.", hint="Adopt the item that it is.")
    if seen.get("container") != ContainerState.EXPIRED and not over:
        raise NotAllowedNow(
            "The container has not expired: the post could still appear.",
            hint="Wait until 25 hours after it was made.",
        )


def _sent_at(session: Session, post_id: int) -> datetime | None:
    if not maybe_published(session, post_id):
        return None
    sent: datetime | None = session.execute(
        text("SELECT sent_at FROM publish_attempts WHERE post_id = :post AND open"), {"post": post_id}
    ).scalar_one_or_none()
    return sent


def _now(session: Session) -> datetime:
    now: datetime = session.execute(text("SELECT persona_now()")).scalar_one()
    return now


__all__ = ["ONLY_SENT", "SEEN_FOR", "adopt", "mark_not_published", "reconcile_now"]
