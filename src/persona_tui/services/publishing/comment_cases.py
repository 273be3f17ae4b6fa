"""First comments as the database holds them: which are due, whose turn it is, and what a person may do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import NotAllowedNow
from persona_tui.models.post import SchedulingPost
from persona_tui.passed import Passed
from persona_tui.services import events
from persona_tui.services.publishing import attempts
from persona_tui.services.publishing.pausing import MAY_PUBLISH
from persona_tui.services.publishing.policy import CommentPolicy
from persona_tui.services.publishing.post_views import PostView, get_post
from persona_tui.services.publishing.transitions import locked_post, save
from persona_tui.services.publishing.wording import checked_comment
from persona_tui.services.safety import audit, guard


@dataclass(frozen=True)
class CommentCase:
    """A comment that is to be written or looked for.

    Attributes:
        tried_at: when it was sent last; with `state` it says whether another process was quicker.
        attempt_id: of the post's last attempt, which keeps the evidence; None after some restores.
        sends: calls that may have written it.
    """

    post_id: int
    persona_id: int
    account_id: int
    media_id: str
    words: str
    username: str
    state: str
    tried_at: datetime | None
    now: datetime
    attempt_id: int | None
    sends: int


def due_comments(session: Session, policy: CommentPolicy) -> list[int]:
    """Posts whose first comment is to be written or looked for now, the longest waiting first."""
    return list(
        session.execute(
            _DUE,
            {"rest": policy.rest, "over": policy.over, "most": policy.at_once},
        ).scalars()
    )


_DUE = text(
    "SELECT p.id FROM scheduling_posts p JOIN instagram_accounts a ON a.id = p.account_id"
    f" WHERE {MAY_PUBLISH} AND a.status = 'active' AND coalesce(a.quiet_until <= persona_now(), true)"
    " AND p.state = 'published' AND p.media_id IS NOT NULL AND (p.comment_state = 'unknown'"
    " OR p.comment_state = 'waiting' AND coalesce(p.comment_tried_at <= persona_now() - :rest, true)"
    " OR p.comment_state = 'sending' AND coalesce(p.comment_tried_at <= persona_now() - :over, true))"
    " ORDER BY p.comment_tried_at NULLS FIRST, p.published_at LIMIT :most"
)
_CASE = text(
    "SELECT p.id AS post_id, p.persona_id, p.account_id, p.media_id, p.first_comment AS words, a.username,"
    " p.comment_state AS state, p.comment_tried_at AS tried_at, persona_now() AS now,"
    " (SELECT max(t.id) FROM publish_attempts t WHERE t.post_id = p.id) AS attempt_id,"
    " (SELECT count(*) FROM publish_replies r JOIN publish_attempts t ON t.id = r.attempt_id"
    "   WHERE t.post_id = p.id AND r.call = :call AND r.body ->> 'sent' = 'true') AS sends"
    " FROM scheduling_posts p JOIN instagram_accounts a ON a.id = p.account_id"
    " WHERE p.id = :post AND p.state = 'published' AND p.media_id IS NOT NULL"
    " AND p.comment_state IN ('waiting', 'sending', 'unknown')"
)
_INTENT = text(
    "UPDATE scheduling_posts SET comment_state = 'sending', comment_tried_at = persona_now(),"
    " comment_reason = '' WHERE id = :post AND state = 'published' AND comment_state = :state"
    " AND comment_tried_at IS NOT DISTINCT FROM CAST(:tried AS timestamptz) AND first_comment = :words"
    " RETURNING comment_tried_at"
)
_MINE = text(
    "SELECT EXISTS (SELECT FROM scheduling_posts p WHERE p.id = :post"
    " AND p.comment_state = 'sending' AND p.comment_tried_at = :tried"
    f" AND p.comment_tried_at > persona_now() - CAST(:within AS interval) AND {MAY_PUBLISH})"
)
_MOVE = text(
    "UPDATE scheduling_posts SET comment_state = :to, comment_reason = :reason"
    " WHERE id = :post AND comment_state = :state"
    " AND comment_tried_at IS NOT DISTINCT FROM CAST(:tried AS timestamptz) RETURNING id"
)
_BIND = text(
    "UPDATE scheduling_posts SET comment_state = 'posted', comment_reason = '',"
    " comment_id = coalesce(:comment, comment_id) WHERE id = :post AND comment_state NOT IN ('', 'posted')"
    " RETURNING id"
)


def read_comment(session: Session, post_id: int) -> CommentCase | None:
    """The comment as it stands now; None when nothing is to be done about it any more."""
    row = session.execute(_CASE, {"post": post_id, "call": attempts.COMMENT}).mappings().one_or_none()
    return CommentCase(**row) if row is not None else None


def pass_comment(session: Session, case: CommentCase) -> Passed[str]:
    """Let its words through the guard.

    Raises:
        GuardRefused: a rule forbids them.
    """
    return guard.pass_text(session, case.words, purpose="post", persona_id=case.persona_id)


def write_intent(session: Session, case: CommentCase) -> CommentCase | None:
    """Commit that it is about to be sent; None where another process was quicker."""
    values = {"post": case.post_id, "state": case.state, "tried": case.tried_at, "words": case.words}
    tried_at = session.execute(_INTENT, values).scalar_one_or_none()
    if tried_at is None:
        return None
    events.emit(session, "post", case.post_id)
    return replace(case, state="sending", tried_at=tried_at)


def still_mine(session: Session, intent: CommentCase, policy: CommentPolicy) -> bool:
    """Whether the intent is fresh, nobody took it for unknown, and nothing holds publishing back."""
    values = {"post": intent.post_id, "tried": intent.tried_at, "within": policy.send_within}
    return bool(session.execute(_MINE, values).scalar_one())


def move_comment(session: Session, case: CommentCase, state: str, reason: str) -> bool:
    """Write another state; False where another process was quicker."""
    values = {
        "post": case.post_id,
        "state": case.state,
        "tried": case.tried_at,
        "to": state,
        "reason": reason,
    }
    moved = session.execute(_MOVE, values).one_or_none() is not None
    if moved:
        events.emit(session, "post", case.post_id)
    return moved


def bind_comment(session: Session, case: CommentCase, comment_id: str | None, found_by: str) -> None:
    """It stands there, whoever owns it by now: that stays true (R15)."""
    if session.execute(_BIND, {"post": case.post_id, "comment": comment_id}).one_or_none() is None:
        return
    audit.append(
        session,
        actor="publisher",
        action="post.comment",
        persona_id=case.persona_id,
        subject=f"scheduling_posts:{case.post_id}",
        details={"media_id": case.media_id, "comment_id": comment_id, "found_by": found_by},
    )
    events.emit(session, "post", case.post_id)


def write_comment(session: Session, post_id: int, comment: str, *, max_hashtags: int = 5) -> PostView:
    """Write or replace the first comment of a post that is out; '' takes away what was not written.

    One of a post that is not out yet belongs to its format (`formats.set_format`).

    Args:
        max_hashtags: `settings.instagram.max_hashtags`.

    Raises:
        NotAllowedNow: the post is not out, is a story, or its comment is written or may be.
        WordsRefused, GuardRefused: the words do not fit, or are forbidden.
    """
    words = checked_comment(comment, max_hashtags=max_hashtags)
    post = _open_comment(session, post_id)
    if words:
        guard.pass_text(session, words, purpose="post", persona_id=post.persona_id)
    post.first_comment, post.comment_state = words, "waiting" if words else ""
    post.comment_reason, post.comment_tried_at = "", None
    save(session, post, "post.write_comment")
    return get_post(session, post_id)


def retry_comment(session: Session, post_id: int) -> PostView:
    """Try a first comment again that failed; it is looked for first, as always.

    Raises:
        NotAllowedNow: it did not fail.
    """
    post = _open_comment(session, post_id)
    if post.comment_state != "failed":
        raise NotAllowedNow("There is no first comment that failed.", hint="Nothing to try again.")
    post.comment_state, post.comment_reason, post.comment_tried_at = "waiting", "", None
    save(session, post, "post.retry_comment")
    return get_post(session, post_id)


def _open_comment(session: Session, post_id: int) -> SchedulingPost:
    """A post whose first comment may be changed; its row is locked."""
    post = locked_post(session, post_id)
    if post.state != "published":
        raise NotAllowedNow("The post is not out yet.", hint="Its first comment is set with the post itself.")
    if post.kind == "story":
        raise NotAllowedNow("A story has no comments.")
    if post.comment_state not in {"", "waiting", "failed"}:
        raise NotAllowedNow(
            f"The first comment is {post.comment_state}: it is there already, or may be.",
            hint="Change it in the Instagram app.",
        )
    return post


__all__ = [
    "CommentCase",
    "bind_comment",
    "due_comments",
    "move_comment",
    "pass_comment",
    "read_comment",
    "retry_comment",
    "still_mine",
    "write_comment",
    "write_intent",
]
