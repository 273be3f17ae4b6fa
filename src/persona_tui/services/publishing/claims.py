"""Who owns a post: claims with lease and fence, taking over from the dead, and what nobody came for.

Ownership is a row's `fence` with a lease by the database's clock. Each claim or take-over raises the fence;
each change of an owned row says the fence it was claimed with, in the transaction's setting
`persona.fence` and in the statement, so that who was overtaken changes nothing (R16, R19).

`lease_until` is the moment before which nobody else touches the row: an owner's lease; after `leave` the
time of the next look; in `deferred` the time of the next try.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, text, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from persona_tui.errors import PersonaError
from persona_tui.models.post import FENCED_STATES, SchedulingPost
from persona_tui.services import events
from persona_tui.services.publishing.attempts import PUBLISH, append_reply, close_attempt, open_attempt
from persona_tui.services.publishing.breakers import GRAPH_ANSWERS
from persona_tui.services.publishing.owners import IsDead, owner_is_dead
from persona_tui.services.publishing.pausing import MAY_PUBLISH

NEVER_SENT_STATES = ("claimed", "staged", "creating")
"""States in which nothing exists at Instagram yet, or a container that nobody will miss."""
RESUMABLE_STATES = ("container", "publishable")

_ONE_PER_ACCOUNT = "uq_scheduling_posts_account_serial"


class LeaseLost(PersonaError):
    """Another publisher, a restore or the operator has the post now; this one lets go of it."""

    title = "Post changed hands"
    hint = "Nothing to do: its new owner goes on with it."


@dataclass(frozen=True)
class Claim:
    """A post in this process's hands.

    Attributes:
        fence: the number that every change must name.
        creation_id: the post's container, made earlier or by `advance`.
        container_age: how old that container was when the post was claimed, by the database's clock.
        was_sent: a publish call for that container was sent before.
    """

    post_id: int
    account_id: int
    persona_id: int
    attempt_id: int
    fence: int
    state: str
    kind: str
    creation_id: str | None
    container_age: timedelta | None
    was_sent: bool


@dataclass(frozen=True)
class Swept:
    """Posts that a sweep moved: taken back for another try, and those whose sending nobody saw end."""

    released: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()


def set_fence(session: Session, fence: int) -> None:
    """Name the fence under which this transaction changes an owned row."""
    session.execute(text("SELECT set_config('persona.fence', :fence, true)"), {"fence": str(fence)})


def advance(
    session: Session, claim: Claim, to_state: str, *, lease: timedelta, owner: str, **changes: Any
) -> Claim:
    """Move an owned post, or with its own state as the target renew its lease.

    Args:
        lease: from now, by the database's clock.
        owner: who goes on with it; '' nobody.
        changes: further columns.

    Raises:
        LeaseLost: the post is another's by now.
    """
    set_fence(session, claim.fence)
    values: dict[str, Any] = {
        "state": to_state,
        "lease_until": func.persona_now() + lease,
        "lease_owner": owner,
        **changes,
    }
    found = session.execute(
        update(SchedulingPost)
        .where(
            col(SchedulingPost.id) == claim.post_id,
            col(SchedulingPost.fence) == claim.fence,
            col(SchedulingPost.state) == claim.state,
        )
        .values(values)
        .returning(col(SchedulingPost.creation_id))
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if found is None:
        raise LeaseLost(f"Post {claim.post_id} is in other hands by now.")
    if to_state != claim.state:
        events.emit(session, "post", claim.post_id)
    return replace(claim, state=to_state, creation_id=found[0])


def still_mine(session: Session, claim: Claim, margin: timedelta) -> bool:
    """Whether the lease lasts that much longer, the fence is ours and nothing holds publishing back."""
    found = session.execute(
        text(
            "SELECT EXISTS (SELECT FROM scheduling_posts WHERE id = :id AND fence = :fence AND state = :state"
            f" AND lease_until > persona_now() + :margin) AND {MAY_PUBLISH}"
        ),
        {"id": claim.post_id, "fence": claim.fence, "state": claim.state, "margin": margin},
    )
    return bool(found.scalar_one())


def take_over(session: Session, post_id: int, fence: int) -> int | None:
    """Raise the fence of an owned post whose owner is gone; the row stays locked.

    A lease that has not run out is ended under the old fence first: the caller knows that its owner is dead.

    Returns:
        The new fence; None when another was quicker.
    """
    locked = session.execute(
        text("SELECT 1 FROM scheduling_posts WHERE id = :id AND fence = :fence FOR UPDATE SKIP LOCKED"),
        {"id": post_id, "fence": fence},
    ).one_or_none()
    if locked is None:
        return None
    set_fence(session, fence)
    values = {"id": post_id, "fence": fence + 1}
    ended = "UPDATE scheduling_posts SET lease_until = least(lease_until, persona_now()) WHERE id = :id"
    session.execute(text(ended), values)
    session.execute(text("UPDATE scheduling_posts SET fence = :fence WHERE id = :id"), values)
    set_fence(session, fence + 1)
    return fence + 1


def sweep(session: Session, *, is_dead: IsDead = owner_is_dead) -> Swept:
    """Take up what ended owners left: unsent posts are due again, sent ones become unknown (R16)."""
    released: list[int] = []
    lost: list[int] = []
    for post_id, state, fence in abandoned(session, (*NEVER_SENT_STATES, "sending"), is_dead):
        taken = take_over(session, post_id, fence)
        if taken is None:
            continue
        to_state = "unknown" if state == "sending" else "scheduled"
        reason = "The program ended while the post was being sent." if state == "sending" else ""
        session.execute(
            text(
                "UPDATE scheduling_posts SET state = :state, reason = :reason, lease_owner = ''"
                " WHERE id = :id"
            ),
            {"id": post_id, "state": to_state, "reason": reason},
        )
        _end_attempt(session, post_id, sent=state == "sending")
        (lost if state == "sending" else released).append(post_id)
        events.emit(session, "post", post_id)
    return Swept(tuple(released), tuple(lost))


def abandoned(session: Session, states: tuple[str, ...], is_dead: IsDead) -> list[tuple[int, str, int]]:
    """Posts in these states without a living owner: id, state, fence."""
    rows = session.execute(
        text(
            "SELECT id, state, fence, lease_owner, lease_until <= persona_now() FROM scheduling_posts"
            " WHERE state = ANY(:states) ORDER BY id"
        ),
        {"states": list(states)},
    ).all()
    return [(row[0], row[1], row[2]) for row in rows if row[4] or (row[3] and is_dead(row[3]))]


def _end_attempt(session: Session, post_id: int, *, sent: bool) -> None:
    if not sent:
        close_attempt(session, post_id, "released")
        return
    attempt = session.execute(
        text("SELECT id FROM publish_attempts WHERE post_id = :post AND open"), {"post": post_id}
    ).scalar_one()
    append_reply(session, attempt, PUBLISH, ok=False, body={"lost": True, "sent": True})


def wake_deferred(session: Session) -> tuple[int, ...]:
    """Make posts due again whose waiting time is over."""
    return _told(
        session,
        "UPDATE scheduling_posts p SET state = 'scheduled', lease_until = NULL FROM installation i"
        " WHERE p.state = 'deferred' AND coalesce(p.lease_until, persona_now()) <= persona_now()"
        " AND NOT i.publishing_held AND NOT i.publishing_paused RETURNING p.id",
    )


def miss_late(session: Session, now: datetime) -> tuple[int, ...]:
    """Mark posts that nobody published within their grace; where the persona wants it, drop them.

    A stopped account keeps its posts due: they were not missed, they wait for the operator.
    """
    missed = _told(
        session,
        "UPDATE scheduling_posts p SET state = 'missed', lease_until = NULL,"
        " reason = 'Its time passed more than ' || p.grace_minutes || ' minutes ago.'"
        " FROM instagram_accounts a, installation i WHERE a.id = p.account_id AND a.status = 'active'"
        " AND NOT i.publishing_held AND NOT i.publishing_paused AND p.state IN ('scheduled', 'deferred')"
        " AND p.scheduled_at + make_interval(mins => p.grace_minutes) < :now RETURNING p.id",
        now=now,
    )
    if missed:
        session.execute(
            text(
                "UPDATE scheduling_posts p SET state = 'cancelled' FROM personas n"
                " WHERE n.id = p.persona_id AND p.id = ANY(:posts)"
                " AND coalesce(nullif(p.late_policy, ''), n.late_policy) = 'drop'"
            ),
            {"posts": list(missed)},
        )
    return missed


def _told(session: Session, statement: str, **values: Any) -> tuple[int, ...]:
    posts = tuple(session.execute(text(statement), values).scalars().all())
    for post_id in posts:
        events.emit(session, "post", post_id)
    return posts


_MAY_BEGIN = (
    "NOT EXISTS (SELECT FROM scheduling_posts d WHERE d.account_id = {account}"
    "  AND d.state = 'deferred' AND d.lease_until > (SELECT persona_now()))"
    " AND NOT EXISTS (SELECT FROM scheduling_posts d WHERE d.account_id = {account}"
    "  AND d.published_at > (SELECT persona_now()) - CAST(:gap AS interval))"
    " AND NOT EXISTS (SELECT FROM publish_attempts t JOIN scheduling_posts d ON d.id = t.post_id"
    "  WHERE d.account_id = {account} AND t.open"
    "  AND t.sent_at > (SELECT persona_now()) - CAST(:gap AS interval))"
)
"""Whether an account may begin with another post: nothing of it is deferred, and its gap has passed."""


def waiting_accounts(session: Session, now: datetime, min_gap: timedelta) -> tuple[int, ...]:
    """Active accounts with a post that is half-way, or due and allowed to begin, the longest waiting first.

    Args:
        min_gap: least time between two posts of an account.
    """
    rows = session.execute(
        text(
            "SELECT a.id FROM instagram_accounts a"
            " LEFT JOIN LATERAL (SELECT p.scheduled_at FROM scheduling_posts p WHERE p.account_id = a.id"
            "  AND p.state IN ('container', 'publishable') LIMIT 1) half_way ON true"
            " LEFT JOIN LATERAL (SELECT p.scheduled_at FROM scheduling_posts p WHERE p.account_id = a.id"
            "  AND p.state = 'scheduled' AND p.scheduled_at <= :now"
            "  ORDER BY p.scheduled_at LIMIT 1) due ON true"
            f" WHERE a.status = 'active' AND {MAY_PUBLISH} AND {GRAPH_ANSWERS}"
            " AND coalesce(a.quiet_until <= persona_now(), true)"
            " AND (half_way.scheduled_at IS NOT NULL OR (due.scheduled_at IS NOT NULL"
            f"  AND {_MAY_BEGIN.format(account='a.id')}))"
            " ORDER BY least(half_way.scheduled_at, due.scheduled_at)"
        ),
        {"now": now, "gap": min_gap},
    )
    return tuple(rows.scalars().all())


def claim_next(
    session: Session,
    account_id: int,
    *,
    now: datetime,
    min_gap: timedelta,
    lease: timedelta,
    owner: str,
    epoch: int | None,
    is_dead: IsDead = owner_is_dead,
) -> Claim | None:
    """Take the account's next post: one that was left half-way, else the first that is due.

    None when there is none, the account is busy, stopped, waiting or too soon after its last post, when
    publishing is held, or when another process has won leadership since `epoch` (R4).

    Args:
        min_gap: least time between two posts of the account.
        epoch: the leader epoch under which this process works; None takes the current one.
    """
    current = _may_claim(session, account_id, epoch)
    if current is None:
        return None
    half_way = session.execute(
        text("SELECT id, state FROM scheduling_posts WHERE account_id = :account AND state = ANY(:owned)"),
        {"account": account_id, "owned": list(FENCED_STATES)},
    ).one_or_none()
    if half_way is not None:
        found = [row for row in abandoned(session, RESUMABLE_STATES, is_dead) if row[0] == half_way[0]]
        fence = take_over(session, found[0][0], found[0][2]) if found else None
        state = str(half_way[1])
        post_id = int(half_way[0])
    else:
        state = "claimed"
        post_id, fence = _first_due(session, account_id, now, min_gap) or (0, None)
    if fence is None:
        return None
    return _own(session, post_id, state, fence, lease=lease, owner=owner, epoch=current)


_OPEN = text(f"SELECT {MAY_PUBLISH} AND {GRAPH_ANSWERS}, leader_epoch FROM installation")


def _may_claim(session: Session, account_id: int, epoch: int | None) -> int | None:
    """Lock the account and return the leader epoch, or None."""
    locked = session.execute(
        text(
            "SELECT 1 FROM instagram_accounts WHERE id = :id AND status = 'active'"
            " AND coalesce(quiet_until <= persona_now(), true)"
            " FOR NO KEY UPDATE SKIP LOCKED"
        ),
        {"id": account_id},
    ).one_or_none()
    if locked is None:
        return None
    open_, current = session.execute(_OPEN).one()
    return None if not open_ or (epoch is not None and epoch != current) else int(current)


def _first_due(
    session: Session, account_id: int, now: datetime, min_gap: timedelta
) -> tuple[int, int] | None:
    """Lock the account's first due post; its id and the fence to claim it with."""
    row = session.execute(
        text(
            "SELECT p.id, p.fence + 1 FROM scheduling_posts p WHERE p.account_id = :account"
            " AND p.state = 'scheduled' AND p.scheduled_at <= :now"
            f" AND {_MAY_BEGIN.format(account=':account')}"
            " ORDER BY p.scheduled_at, p.id LIMIT 1 FOR UPDATE OF p SKIP LOCKED"
        ),
        {"account": account_id, "now": now, "gap": min_gap},
    ).one_or_none()
    return (row[0], row[1]) if row is not None else None


_OWN = text(
    "UPDATE scheduling_posts SET state = :state, fence = :fence, lease_until = persona_now() + :lease,"
    " lease_owner = :owner, leader_epoch = :epoch, reason = '' WHERE id = :id"
    " RETURNING account_id, persona_id, kind, creation_id, persona_now() - container_created_at, environment"
)


def _own(
    session: Session, post_id: int, state: str, fence: int, *, lease: timedelta, owner: str, epoch: int
) -> Claim | None:
    values = {"id": post_id, "state": state, "fence": fence, "lease": lease, "owner": owner, "epoch": epoch}
    try:
        with session.begin_nested():
            account_id, persona_id, kind, creation_id, age, environment = session.execute(_OWN, values).one()
    except IntegrityError as problem:
        if getattr(getattr(problem.orig, "diag", None), "constraint_name", "") != _ONE_PER_ACCOUNT:
            raise
        return None  # another process serves this account (R17)
    attempt_id, was_sent = open_attempt(session, post_id, environment=environment, fence=fence, owner=owner)
    events.emit(session, "post", post_id)
    return Claim(post_id, account_id, persona_id, attempt_id, fence, state, kind, creation_id, age, was_sent)


__all__ = [
    "Claim",
    "LeaseLost",
    "Swept",
    "abandoned",
    "advance",
    "claim_next",
    "miss_late",
    "set_fence",
    "still_mine",
    "sweep",
    "take_over",
    "waiting_accounts",
    "wake_deferred",
]
