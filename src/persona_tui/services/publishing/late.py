"""Posts whose moment has passed: which they are, what is to be done with them, and acts on many at once.

After an outage nothing goes out in a burst: what is within its grace waits for its account's gap, what is
beyond it is missed and moved, dropped or asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import NotAllowedNow, PersonaError
from persona_tui.models.post import SchedulingPost
from persona_tui.services import events
from persona_tui.services.publishing import posts
from persona_tui.services.publishing.slots import Slot
from persona_tui.services.publishing.transitions import locked_post, post_rules, save

FindSlot = Callable[[Session, int, datetime], Slot]
"""(session, persona id, now) → the persona's next free slot; raises NotAllowedNow where there is none."""

LateAct = Literal["now", "reslot", "drop"]

AFTER_RESTORE = "Restored after its time;"
"""How the reason of a post begins that a restored backup calls missed: it may have gone out since (R1)."""

OVERDUE_STATES = ("scheduled", "deferred", "missed", "paused", "failed", "fix_needed")


@dataclass(frozen=True)
class Overdue:
    """A post that should be out already.

    Attributes:
        policy: what its persona, or the post itself, wants done once its grace is over.
        due_at: when it should have gone out.
    """

    id: int
    persona: str
    username: str
    state: str
    reason: str
    caption: str
    due_at: datetime
    zone: str
    wall_time: str
    policy: Literal["reslot", "drop", "ask"]


@dataclass(frozen=True)
class Before:
    """What a post was before an act on it."""

    state: str
    reason: str
    scheduled_at: datetime | None
    zone: str
    wall_time: str


@dataclass(frozen=True)
class Outcome:
    """What an act did to one of several posts.

    Attributes:
        sentence: what became of it, or why nothing did.
        before, after: None where nothing was done.
    """

    post_id: int
    done: bool
    sentence: str
    before: Before | None = None
    after: Before | None = None


def overdue_posts(session: Session, persona_id: int | None = None) -> tuple[Overdue, ...]:
    """Posts whose moment is over a minute past and that nobody is publishing, the longest overdue first.

    Args:
        persona_id: of this persona alone.
    """
    rows = session.execute(
        text(
            "SELECT p.id, n.name, coalesce(a.username, ''), p.state, p.reason, p.caption, p.scheduled_at,"
            " p.zone, p.wall_time, coalesce(nullif(p.late_policy, ''), n.late_policy)"
            " FROM scheduling_posts p JOIN personas n ON n.id = p.persona_id"
            " LEFT JOIN instagram_accounts a ON a.id = p.account_id"
            " WHERE p.state = ANY(:states) AND p.scheduled_at < persona_now() - interval '1 minute'"
            " AND (CAST(:persona AS bigint) IS NULL OR p.persona_id = :persona)"
            " ORDER BY p.scheduled_at, p.id"
        ),
        {"states": list(OVERDUE_STATES), "persona": persona_id},
    )
    return tuple(Overdue(*row) for row in rows)


def reslot_missed(session: Session, now: datetime, find_slot: FindSlot) -> tuple[int, ...]:
    """Give each missed post whose persona wants it its next free slot, the oldest first.

    One for which no slot is found, or that can't be planned now, stays missed and says why.
    """
    waiting = session.execute(
        text(
            "SELECT p.id FROM scheduling_posts p JOIN personas n ON n.id = p.persona_id"
            " WHERE p.state = 'missed' AND p.reason NOT LIKE 'No new slot%'"
            " AND NOT starts_with(p.reason, :restored)"
            " AND coalesce(nullif(p.late_policy, ''), n.late_policy) = 'reslot'"
            " AND NOT EXISTS (SELECT FROM publish_attempts t WHERE t.post_id = p.id AND t.open)"
            " ORDER BY p.scheduled_at, p.id"
        ),
        {"restored": AFTER_RESTORE},
    ).scalars()
    moved = []
    for post_id in waiting.all():
        outcome = _one(session, "reslot", post_id, now, find_slot, actor="scheduler")
        if outcome.done:
            moved.append(post_id)
            continue
        session.execute(
            text("UPDATE scheduling_posts SET reason = :reason WHERE id = :id AND state = 'missed'"),
            {"id": post_id, "reason": f"No new slot: {outcome.sentence}"},
        )
        events.emit(session, "post", post_id)
    return tuple(moved)


def carry_out(
    session: Session, act: LateAct, post_ids: Sequence[int], now: datetime, find_slot: FindSlot
) -> tuple[Outcome, ...]:
    """Do the same with several posts; one that can't be done leaves the others as they are wanted.

    Args:
        act: `now`: publish at the next rounds, as far as the account's gap allows; `reslot`: the next free
            slot; `drop`: give it up, its pictures are free.
        post_ids: in the order in which slots are given out.
        find_slot: finds the persona's next free slot.
    """
    return tuple(_one(session, act, post_id, now, find_slot) for post_id in post_ids)


def undo(session: Session, outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """Take acts back, as far as the posts are still what the acts made of them; the last one first."""
    return tuple(_undo_one(session, outcome) for outcome in reversed(outcomes) if outcome.done)


def _one(
    session: Session,
    act: LateAct,
    post_id: int,
    now: datetime,
    find_slot: FindSlot,
    *,
    actor: str = "operator",
) -> Outcome:
    try:
        with session.begin_nested():
            post = locked_post(session, post_id)
            before = _facts(post)
            if act != "drop" and post.reason.startswith(AFTER_RESTORE):
                raise NotAllowedNow(
                    "Its database was restored, so it may be out already.",
                    hint="Look at the account, then schedule it alone.",
                )
            match act:
                case "now":
                    posts.publish_now(session, post_id)
                case "drop":
                    _drop(session, post)
                case "reslot":
                    slot = find_slot(session, post.persona_id, now)
                    if post.state == "scheduled":
                        posts.reschedule(session, post_id, slot.at, slot.zone)
                    else:
                        posts.schedule(session, post_id, slot.at, slot.zone, actor=actor)
            after = _facts(locked_post(session, post_id))
    except PersonaError as problem:
        return Outcome(post_id, False, f"{problem.message} {problem.hint}".strip())
    return Outcome(post_id, True, _sentence(act, after), before, after)


def _drop(session: Session, post: SchedulingPost) -> None:
    if post.state == "failed":
        raise NotAllowedNow("A failed post is off the calendar already.", hint="Its pictures are free.")
    posts.cancel(session, post.id)


def _sentence(act: LateAct, after: Before) -> str:
    match act:
        case "now":
            return "goes out at the next round"
        case "drop":
            return "given up"
    return f"moved to {datetime.fromisoformat(after.wall_time):%a %d %b %H:%M} ({after.zone})"


def _undo_one(session: Session, outcome: Outcome) -> Outcome:
    assert outcome.before is not None
    try:
        with session.begin_nested():
            post = locked_post(session, outcome.post_id)
            if _facts(post) != outcome.after:
                raise NotAllowedNow("It has gone on meanwhile.", hint="It stays as it is.")
            _restore(session, post, outcome.before)
    except PersonaError as problem:
        return Outcome(outcome.post_id, False, f"{problem.message} {problem.hint}".strip())
    return Outcome(outcome.post_id, True, "as it was before", outcome.after, outcome.before)


def _restore(session: Session, post: SchedulingPost, before: Before) -> None:
    """Lead the post back over moves that the table allows; a failed one can only become ready."""
    if post.state == "cancelled":
        _go(session, post, "draft", before)
        _go(session, post, "scheduled", before)
    back_to = {"failed": "ready", "fix_needed": "fix_needed"}.get(before.state, before.state)
    post.scheduled_at, post.zone, post.wall_time = before.scheduled_at, before.zone, before.wall_time
    post.state, post.reason = back_to, before.reason
    save(session, post, "post.undo", state_before=before.state)


def _go(session: Session, post: SchedulingPost, state: str, before: Before) -> None:
    post.scheduled_at, post.zone, post.wall_time = before.scheduled_at, before.zone, before.wall_time
    post.state = state
    with post_rules(session):
        session.add(post)


def _facts(post: SchedulingPost) -> Before:
    return Before(post.state, post.reason, post.scheduled_at, post.zone, post.wall_time)


__all__ = [
    "AFTER_RESTORE",
    "OVERDUE_STATES",
    "Before",
    "FindSlot",
    "LateAct",
    "Outcome",
    "Overdue",
    "carry_out",
    "overdue_posts",
    "reslot_missed",
    "undo",
]
