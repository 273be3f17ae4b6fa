"""Moves of a post: what the table `post_transitions` allows, and the sentence for each thing it refuses."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlmodel import Session, col, select

from persona_tui.errors import NotAllowedNow, PersonaError, UnknownName
from persona_tui.models.post import FENCED_STATES, PostTransition, SchedulingPost
from persona_tui.services import events
from persona_tui.services.inputs import told
from persona_tui.services.safety import audit

OPERATOR_ACTS = frozenset(
    {
        "complete",
        "schedule",
        "unschedule",
        "cancel",
        "drop",
        "edit",
        "fix",
        "resume",
        "retry",
        "adopt",
        "mark not published",
        "reopen",
    }
)
"""Acts of the table that a person does; the others belong to publisher, reconciler and restore."""

SENT_STATES = ("sending", "unknown", "reconciling", "needs_human")
"""States in which a post may be published already."""


@dataclass(frozen=True)
class Transition:
    """A move that is possible: the act's name, and the state it leads to."""

    act: str
    to_state: str


class PostBusy(NotAllowedNow):
    """The publisher or the reconciler has the post in hand."""

    title = "Post is on its way"
    hint = "Wait until it is published or comes back."


def next_acts(session: Session, state: str, *, maybe_published: bool = False) -> tuple[Transition, ...]:
    """What the operator can do with a post in this state.

    Args:
        maybe_published: a publish call was sent and its outcome is open: only what settles it remains.
    """
    rows = session.exec(
        select(PostTransition)
        .where(PostTransition.from_state == state, col(PostTransition.act).in_(OPERATOR_ACTS))
        .order_by(PostTransition.act, PostTransition.to_state)
    )
    settling = {"adopt", "mark not published"}
    return tuple(
        Transition(row.act, row.to_state) for row in rows if not maybe_published or row.act in settling
    )


def locked_post(session: Session, post_id: int) -> SchedulingPost:
    """The post's row, locked until the transaction ends and read anew.

    Raises:
        UnknownName: there is none of that id.
    """
    post = session.get(SchedulingPost, post_id, with_for_update=True, populate_existing=True)
    if post is None:
        raise UnknownName(f"There is no post {post_id}.", hint="`persona-tui post list` shows them.")
    return post


def maybe_published(session: Session, post_id: int) -> bool:
    """Whether a publish call was sent for the post and nobody knows yet what came of it."""
    found = session.execute(
        text(
            "SELECT EXISTS (SELECT FROM publish_attempts"
            " WHERE post_id = :post AND open AND sent_at IS NOT NULL)"
        ),
        {"post": post_id},
    )
    return bool(found.scalar_one())


def require_move(session: Session, post: SchedulingPost, to_state: str, *, doing: str) -> None:
    """Refuse an act that the table does not know, in words.

    Args:
        doing: what the operator wanted, to fill "can't be …".

    Raises:
        PostBusy: the post is owned by the publisher.
        NotAllowedNow: the state does not allow it.
    """
    allowed = session.get(PostTransition, (post.state, to_state))
    unsettled = maybe_published(session, post.id)
    if allowed is not None and allowed.act in OPERATOR_ACTS and not unsettled:
        return
    if post.state in FENCED_STATES and post.state not in SENT_STATES:
        raise PostBusy(f"The post can't be {doing}: it is being published right now.")
    if post.state in SENT_STATES or unsettled:
        raise PostBusy(
            f"The post can't be {doing}: it was sent, and may be published already.",
            hint="`persona-tui post reconcile` looks at Instagram; then adopt the post or mark it.",
        )
    words = post.state.replace("_", " ")
    acts = ", ".join(dict.fromkeys(act.act for act in next_acts(session, post.state)))
    raise NotAllowedNow(
        f"A post that is {words} can't be {doing}.",
        hint=f"Possible now: {acts}." if acts else "Nothing more happens to this post.",
    )


def save(
    session: Session, post: SchedulingPost, act: str, *, actor: str = "operator", **details: Any
) -> None:
    """Write a change of a post, tell everybody, and keep it in the audit trail.

    Args:
        act: the audit action, `post.<verb>`.
        actor: whose act it is.
        details: for the trail, plain JSON.

    Raises:
        NotAllowedNow and others: a rule of the database forbids it; each has its sentence.
    """
    with post_rules(session):
        session.add(post)
    audit.append(
        session,
        actor=actor,
        action=act,
        persona_id=post.persona_id,
        subject=f"scheduling_posts:{post.id}",
        details=details | {"state": post.state},
    )
    events.emit(session, "post", post.id)


def post_rules(session: Session) -> AbstractContextManager[None]:
    """Flush at the end of the block; a rule of the database that is broken becomes its sentence."""
    return told(session, _sentences())


def _sentences() -> dict[str, PersonaError]:
    busy = PostBusy("The post is being published right now.")
    return {
        "post_transition": NotAllowedNow(
            "The post's state has just changed and does not allow this any more.", hint="Look at it again."
        ),
        "post_fence": busy,
        "post_lease": busy,
        "post_maybe_published": PostBusy(
            "The post may be published already.",
            hint="`persona-tui post reconcile` looks at Instagram again.",
        ),
        "post_kept": NotAllowedNow(
            "Only drafts and what never went out can be deleted.", hint="Cancel the post instead."
        ),
        "uq_post_items_live_picture": NotAllowedNow(
            "That picture is already in another live post of this account.",
            title="Picture is taken",
            hint="Choose another picture, or allow a repost on this post.",
        ),
        "post_picture_count": NotAllowedNow("The post has not the number of pictures that its kind needs."),
        "uq_scheduling_posts_environment_media_id": NotAllowedNow(
            "Another post has that media id already.", hint="Look at the listing and choose another."
        ),
        "fk_publish_attempts_post_id_environment": NotAllowedNow(
            "The post was tried already, and its record is kept.", hint="Leave it, or cancel it."
        ),
    }


__all__ = [
    "OPERATOR_ACTS",
    "SENT_STATES",
    "PostBusy",
    "Transition",
    "locked_post",
    "maybe_published",
    "next_acts",
    "post_rules",
    "require_move",
    "save",
]
