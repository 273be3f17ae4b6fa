"""What the operator does with posts: draft, words, times, second thoughts.

Each act locks the post's row, asks the table of transitions, leaves an audit event and tells all screens.
What a publisher owns, or may have published already, can't be touched here (R18); `settle` ends that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.models.persona import Persona
from persona_tui.models.post import SchedulingPost
from persona_tui.services import events
from persona_tui.services.publishing.accounts import account_of_persona
from persona_tui.services.publishing.formats import (
    CHANGES_IN,
    STORY_HAS_NO_WORDS,
    FormatRefused,
    drop_container,
    films_of,
    format_of,
    refuse_unfit,
    set_format,
)
from persona_tui.services.publishing.post_views import (
    PostDetail,
    PostPicture,
    PostView,
    get_post,
    list_posts,
    post_detail,
)
from persona_tui.services.publishing.settle import adopt, mark_not_published, reconcile_now
from persona_tui.services.publishing.transitions import (
    PostBusy,
    locked_post,
    maybe_published,
    post_rules,
    require_move,
    save,
)
from persona_tui.services.publishing.winners import attach_winner, draft_for_winner
from persona_tui.services.publishing.wording import PostWords, checked_words, full_caption
from persona_tui.services.safety import audit, guard

PUBLISH_AGAIN_IN = frozenset({"failed", "paused", "deferred", "missed", "fix_needed"})
_NEVER_PLANNED = frozenset({"draft", "awaiting_image", "ready"})
JUST_PASSED = timedelta(minutes=1)
MAX_GRACE = 7 * 24 * 60


def write_caption(
    session: Session,
    post_id: int,
    caption: str,
    hashtags: Sequence[str] = (),
    alt_text: str = "",
    metadata: Mapping[str, Any] | None = None,
    written_by: str = "operator",
    *,
    max_hashtags: int = 5,
) -> PostView:
    """Write a post's words; a draft with a picture and a caption becomes ready.

    Args:
        hashtags: with or without #; they are appended to the caption when it is sent.
        metadata: how the words came about, plain JSON.
        written_by: a model's name, `template` or `operator`.
        max_hashtags: `settings.instagram.max_hashtags`.

    Raises:
        WordsRefused: too long, or too many hashtags or names.
        FormatRefused: a story has no words.
        GuardRefused: the guard forbids the words.
        NotAllowedNow: the post is past changing.
    """
    words = checked_words(caption, hashtags, alt_text, max_hashtags=max_hashtags)
    post = locked_post(session, post_id)
    if post.state not in CHANGES_IN or maybe_published(session, post_id):
        raise PostBusy(f"The words of a post that is {post.state.replace('_', ' ')} can't be changed.")
    if post.kind == "story" and words != PostWords("", (), ""):
        raise FormatRefused(STORY_HAS_NO_WORDS)
    for passage in (full_caption(words.caption, words.hashtags), words.alt_text):
        if passage:
            guard.pass_text(session, passage, purpose="post", persona_id=post.persona_id)
    post.caption, post.hashtags, post.alt_text = words.caption, list(words.hashtags), words.alt_text
    post.caption_metadata = {**(metadata or {}), "written_by": written_by}
    drop_container(post)
    if post.state == "draft" and words.caption and get_post(session, post_id).pictures:
        post.state = "ready"
    save(session, post, "post.caption", written_by=written_by)
    return get_post(session, post_id)


def schedule(
    session: Session,
    post_id: int,
    at: datetime,
    zone: str | None = None,
    *,
    grace_minutes: int | None = None,
    strategy_name: str = "",
    repost: bool = False,
    actor: str = "operator",
) -> PostView:
    """Let a post go out at that moment, to its persona's account.

    A missing caption or alternative text does not stop it; the view's `warnings` say so.

    Args:
        at: with a time zone.
        zone: IANA zone whose clock the time is shown on; default: the persona's.
        grace_minutes: how late it may still go out; later it becomes `missed`.
        strategy_name: what chose the slot.
        repost: the picture may be in another live post as well.
        actor: who plans it, for the audit trail.

    Raises:
        InvalidRequest: no such moment or zone, or it is past.
        NotAllowedNow: no picture, no account, the picture is taken, or the state does not allow it.
        FormatRefused: Instagram would refuse such a post.
    """
    post = locked_post(session, post_id)
    if post.state == "scheduled":
        raise NotAllowedNow("The post is scheduled already.", hint="`post reschedule` moves it.")
    require_move(session, post, "scheduled", doing="scheduled")
    _plan(session, post, at, zone, grace_minutes)
    post.strategy_name = strategy_name or post.strategy_name
    post.repost_allowed = repost or post.repost_allowed
    post.state = "scheduled"
    save(session, post, "post.schedule", actor=actor, at=_iso(post.scheduled_at), zone=post.zone)
    return get_post(session, post_id)


def reschedule(session: Session, post_id: int, at: datetime, zone: str | None = None) -> PostView:
    """Move a scheduled, missed, paused or deferred post to another moment.

    Raises:
        InvalidRequest, NotAllowedNow: as `schedule`.
    """
    post = locked_post(session, post_id)
    if post.state != "scheduled":
        require_move(session, post, "scheduled", doing="rescheduled")
    before = _iso(post.scheduled_at)
    _plan(session, post, at, zone, None)
    post.state = "scheduled"
    save(session, post, "post.reschedule", before=before, at=_iso(post.scheduled_at), zone=post.zone)
    return get_post(session, post_id)


def publish_now(session: Session, post_id: int) -> PostView:
    """Let a post go out at the publisher's next round (the gap between an account's posts still counts).

    Raises:
        NotAllowedNow: as `schedule`.
    """
    now = _now(session)
    if locked_post(session, post_id).state == "scheduled":
        return reschedule(session, post_id, now)
    return schedule(session, post_id, now)


def retry(session: Session, post_id: int) -> PostView:
    """Try a post again that failed, waits, was missed or was fixed: at its time, or now if that is past.

    Raises:
        NotAllowedNow: as `schedule`.
    """
    post = locked_post(session, post_id)
    require_move(session, post, "scheduled", doing="tried again")
    if post.state not in PUBLISH_AGAIN_IN:
        raise NotAllowedNow(
            f"A post that is {post.state.replace('_', ' ')} can't be tried again.",
            hint="Schedule it instead.",
        )
    now = _now(session)
    at = max(post.scheduled_at, now) if post.scheduled_at is not None else now
    return schedule(session, post_id, at, post.zone)


def unschedule(session: Session, post_id: int) -> PostView:
    """Take a post off the calendar and keep it ready.

    Raises:
        NotAllowedNow: the state does not allow it, or it has no time.
    """
    post = locked_post(session, post_id)
    if post.scheduled_at is None and post.state in _NEVER_PLANNED:
        raise NotAllowedNow("The post is not on the calendar: it has no time.", hint="Nothing to do.")
    return _move(session, post_id, "ready", "unscheduled", "post.unschedule", scheduled_at=None, wall_time="")


def cancel(session: Session, post_id: int) -> PostView:
    """Give a post up; its picture is free again.

    Raises:
        NotAllowedNow: it went out, or may have.
    """
    return _move(session, post_id, "cancelled", "cancelled", "post.cancel")


def reopen(session: Session, post_id: int) -> PostView:
    """Make a cancelled post a draft again.

    Raises:
        NotAllowedNow: it is not cancelled.
    """
    return _move(session, post_id, "draft", "reopened", "post.reopen", scheduled_at=None, wall_time="")


def delete_draft(session: Session, post_id: int) -> None:
    """Delete a post that never went on its way.

    Raises:
        NotAllowedNow: it is scheduled or further, or was tried already.
    """
    post = locked_post(session, post_id)
    with post_rules(session):
        session.delete(post)
    audit.append(
        session,
        actor="operator",
        action="post.delete",
        persona_id=post.persona_id,
        subject=f"scheduling_posts:{post_id}",
    )
    events.emit(session, "post", post_id)


def _move(session: Session, post_id: int, to_state: str, doing: str, action: str, **changes: Any) -> PostView:
    post = locked_post(session, post_id)
    require_move(session, post, to_state, doing=doing)
    before = post.state
    _clear(post)
    for name, value in changes.items():
        setattr(post, name, value)
    post.state = to_state
    save(session, post, action, before=before)
    return get_post(session, post_id)


def _plan(
    session: Session, post: SchedulingPost, at: datetime, zone: str | None, grace_minutes: int | None
) -> None:
    """Fill in time and account."""
    if at.tzinfo is None:
        raise InvalidRequest(
            "The time has no time zone.", title="Bad date", hint="Write it as 2026-11-24T18:00+01:00."
        )
    moment = at.astimezone(UTC)
    if moment < _now(session) - JUST_PASSED:
        raise InvalidRequest("That moment is past.", title="Bad date", hint="Choose a later one.")
    if grace_minutes is not None and not 0 <= grace_minutes <= MAX_GRACE:
        raise InvalidRequest(f"The grace is 0 to {MAX_GRACE:,} minutes.")
    place = zone or session.get_one(Persona, post.persona_id).zone
    if place not in available_timezones():
        raise InvalidRequest(f"{place!r} is no IANA time zone.", hint="Write it as Europe/Berlin.")
    _require_pictures(session, post)
    _send_to_account(session, post)
    _clear(post)
    post.scheduled_at, post.zone = moment, place
    post.wall_time = moment.astimezone(ZoneInfo(place)).replace(tzinfo=None).isoformat(timespec="minutes")
    if grace_minutes is not None:
        post.grace_minutes = grace_minutes


def _require_pictures(session: Session, post: SchedulingPost) -> None:
    """Refuse a time for what Instagram would refuse anyway."""
    films = films_of(session, post.id)
    if not films:
        raise NotAllowedNow("The post has no picture yet.", hint="Choose a winner or a photo for it.")
    refuse_unfit(format_of(post), films=films)


def _send_to_account(session: Session, post: SchedulingPost) -> None:
    account = account_of_persona(session, post.persona_id)
    if account is None:
        raise NotAllowedNow(
            "The persona has no Instagram account.",
            title="No account",
            hint="Connect one with `persona-tui account add`.",
        )
    if account.id != post.account_id:
        drop_container(post)
    post.account_id = account.id


def _clear(post: SchedulingPost) -> None:
    """Forget why and until when it waited."""
    post.reason, post.lease_until, post.lease_owner = "", None, ""


def _now(session: Session) -> datetime:
    now: datetime = session.execute(text("SELECT persona_now()")).scalar_one()
    return now


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment is not None else None


__all__ = [
    "PostDetail",
    "PostPicture",
    "PostView",
    "adopt",
    "attach_winner",
    "cancel",
    "delete_draft",
    "draft_for_winner",
    "get_post",
    "list_posts",
    "mark_not_published",
    "post_detail",
    "publish_now",
    "reconcile_now",
    "reopen",
    "reschedule",
    "retry",
    "schedule",
    "set_format",
    "unschedule",
    "write_caption",
]
