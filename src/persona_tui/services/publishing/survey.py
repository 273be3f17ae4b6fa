"""After a restore: what did the accounts publish that this database does not know?"""

from __future__ import annotations

from asyncio import to_thread
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.clients.instagram_facts import MediaFacts
from persona_tui.errors import NotAllowedNow, PersonaError
from persona_tui.services import events
from persona_tui.services.publishing.accounts import list_accounts
from persona_tui.services.publishing.attempts import close_attempt
from persona_tui.services.publishing.grants import MakeClient, client_of
from persona_tui.services.publishing.late import AFTER_RESTORE
from persona_tui.services.publishing.listings import expected_of, with_first_words
from persona_tui.services.publishing.listings import listed as listed_items
from persona_tui.services.publishing.signals import Expected, Likeness, likeness
from persona_tui.services.publishing.staging import SessionScope
from persona_tui.services.safety import audit
from persona_tui.services.secrets import Keyring

RESTORED = "Restored: it may have been published after the backup."
"""Reason of all posts that a restore paused; they are found again by it."""

LOOK_BACK = timedelta(hours=1)
"""Read from a little before the backup's time on: clocks differ, and calls were under way."""
SHOWN_FOR = timedelta(minutes=15)
LISTED = 1000

R = TypeVar("R")


@dataclass(frozen=True)
class RestoredPost:
    """A paused post and the item that it is, where one carries its words.

    Attributes:
        was_sent: a publish call for it was under way at the time of the backup.
    """

    post_id: int
    account_id: int | None
    scheduled_at: datetime | None
    was_sent: bool
    item: MediaFacts | None


@dataclass(frozen=True)
class AccountSurvey:
    """An account's items since the backup that no post is bound to.

    Attributes:
        unexplained: those that carry no restored post's words.
        problem: why the account could not be read; its posts stay paused then.
    """

    account_id: int
    username: str
    unexplained: tuple[MediaFacts, ...]
    problem: str


@dataclass(frozen=True)
class RestoreSurvey:
    """What the operator is shown before confirming."""

    taken_at: datetime
    since: datetime
    posts: tuple[RestoredPost, ...]
    accounts: tuple[AccountSurvey, ...]


@dataclass(frozen=True)
class RestoreOutcome:
    """What became of the restored posts: ids by what was done."""

    published: tuple[int, ...]
    scheduled: tuple[int, ...]
    missed: tuple[int, ...]
    in_doubt: tuple[int, ...]
    still_paused: tuple[int, ...]


@dataclass(frozen=True)
class _Paused:
    post_id: int
    account_id: int | None
    scheduled_at: datetime | None
    was_sent: bool
    expected: Expected


async def survey_restore(scope: SessionScope, *, make_client: MakeClient, keyring: Keyring) -> RestoreSurvey:
    """Read every account's items from the backup's time on and recognise restored posts among them.

    An item is a post only where both are the only ones with these words.

    Raises:
        NotAllowedNow: publishing is not held.
    """

    since, now = await _db(scope, _held_since)
    paused, views, bound = await _db(scope, lambda s: (_paused_posts(s), list_accounts(s), _bound(s)))
    items: dict[int, MediaFacts] = {}
    accounts = []
    for view in views:
        mine = [post for post in paused if post.account_id == view.id]
        listed, problem = await _listing(scope, make_client, keyring, view.id, since - LOOK_BACK)
        fresh = [item for item in listed if item.id not in bound]
        matches = _matches(mine, fresh)
        items |= matches
        explained = {item.id for item in matches.values()}
        unexplained = tuple(item for item in fresh if item.id not in explained)
        accounts.append(AccountSurvey(view.id, view.username, unexplained, problem))
    posts = tuple(
        RestoredPost(post.post_id, post.account_id, post.scheduled_at, post.was_sent, items.get(post.post_id))
        for post in paused
    )
    return RestoreSurvey(now, since, posts, tuple(accounts))


def confirm_restore(session: Session, survey: RestoreSurvey) -> RestoreOutcome:
    """Carry out what the survey found, and end the hold. `restore.confirm_restore` calls this.

    A recognised post is published. One whose sending was under way needs a human. A post with a time
    to come is scheduled again if every new item of its account is explained; otherwise it stays paused, as
    does one whose account could not be read. A post whose time is past is missed: the operator decides.

    Raises:
        NotAllowedNow: nothing is held, or the survey is too old.
    """
    _, now = _held_since(session)
    if survey.taken_at < now - SHOWN_FOR:
        raise NotAllowedNow("The survey is older than 15 minutes.", hint="Look again, then confirm.")
    done: dict[str, list[int]] = {}
    unclear = {one.account_id for one in survey.accounts if one.unexplained or one.problem}
    unread = {one.account_id for one in survey.accounts if one.problem}
    for post in survey.posts:
        state = _next_state(post, now, unclear=unclear, unread=unread)
        done.setdefault(_release(session, post, state), []).append(post.post_id)
    session.execute(
        text("UPDATE installation SET publishing_held = false, held_reason = '', held_since = NULL")
    )
    outcome = RestoreOutcome(
        **{
            name: tuple(done.get(state, ()))
            for name, state in (
                ("published", "published"),
                ("scheduled", "scheduled"),
                ("missed", "missed"),
                ("in_doubt", "needs_human"),
                ("still_paused", "paused"),
            )
        }
    )
    audit.append(
        session,
        actor="operator",
        action="installation.release",
        details={"since": survey.since.isoformat(), "posts": {k: len(v) for k, v in done.items()}},
    )
    return outcome


def _next_state(post: RestoredPost, now: datetime, *, unclear: set[int], unread: set[int]) -> str:
    if post.item is not None:
        return "published"
    if post.was_sent:
        return "needs_human"
    if post.scheduled_at is not None and post.scheduled_at <= now:
        return "paused" if post.account_id in unread else "missed"
    return "paused" if post.account_id in unclear or post.scheduled_at is None else "scheduled"


_REASONS = {
    "missed": f"{AFTER_RESTORE} no item of the account carries its words. Look before it goes out.",
    "needs_human": "It was being sent at the time of the backup. Look at the account.",
    "paused": "Restored: the account shows new items that can't be told apart from it, or can't be read.",
}


def _release(session: Session, post: RestoredPost, state: str) -> str:
    values: dict[str, Any] = {"id": post.post_id, "state": state, "reason": _REASONS.get(state, "")}
    changes = "state = :state, reason = :reason, lease_until = NULL, lease_owner = ''"
    if post.item is not None:
        changes += ", media_id = :media, permalink = coalesce(:permalink, ''),"
        changes += " published_at = coalesce(:published, persona_now())"
        values |= {"media": post.item.id, "permalink": post.item.permalink, "published": post.item.timestamp}
    moved = session.execute(
        text(
            f"UPDATE scheduling_posts SET {changes}"
            " WHERE id = :id AND state = 'paused' AND reason = :restored RETURNING id"
        ),
        {**values, "restored": RESTORED},
    ).one_or_none()
    if moved is None:
        return "changed meanwhile"
    if state == "published":
        close_attempt(session, post.post_id, "adopted")
    events.emit(session, "post", post.post_id)
    return state


def _matches(posts: Iterable[_Paused], items: Iterable[MediaFacts]) -> dict[int, MediaFacts]:
    """Post id → its item, where neither has another that fits."""
    pairs = [
        (post.post_id, item)
        for item in items
        for post in posts
        if likeness(item, post.expected) is Likeness.WORDS
    ]
    of_post = Counter(post_id for post_id, _ in pairs)
    of_item = Counter(item.id for _, item in pairs)
    return {post_id: item for post_id, item in pairs if of_post[post_id] == of_item[item.id] == 1}


def _held_since(session: Session) -> tuple[datetime, datetime]:
    held, since, now = session.execute(
        text("SELECT publishing_held, coalesce(held_since, created_at), persona_now() FROM installation")
    ).one()
    if not held:
        raise NotAllowedNow("Publishing is not held.", hint="There is nothing to confirm.")
    return since, now


def _paused_posts(session: Session) -> list[_Paused]:
    rows = session.execute(
        text(
            "SELECT p.id, p.account_id, p.scheduled_at, p.kind, p.caption, p.hashtags, p.alt_text,"
            " p.is_ai_generated,"
            " (SELECT count(*) FROM post_items i WHERE i.post_id = p.id) AS pictures,"
            " EXISTS (SELECT FROM publish_attempts t"
            "  WHERE t.post_id = p.id AND t.open AND t.sent_at IS NOT NULL) AS was_sent"
            " FROM scheduling_posts p WHERE p.state = 'paused' AND p.reason = :restored ORDER BY p.id"
        ),
        {"restored": RESTORED},
    )
    return [
        _Paused(
            row.id,
            row.account_id,
            row.scheduled_at,
            row.was_sent,
            expected_of(
                row.kind,
                row.caption,
                row.hashtags,
                row.alt_text,
                labelled=row.is_ai_generated,
                pictures=row.pictures,
            ),
        )
        for row in rows
    ]


def _bound(session: Session) -> frozenset[str]:
    rows = session.execute(text("SELECT media_id FROM scheduling_posts WHERE media_id IS NOT NULL"))
    return frozenset(rows.scalars().all())


async def _listing(
    scope: SessionScope, make_client: MakeClient, keyring: Keyring, account_id: int, since: datetime
) -> tuple[tuple[MediaFacts, ...], str]:
    """The account's items since then, and what went wrong instead."""
    try:
        client = await _db(scope, lambda session: client_of(session, keyring, make_client, account_id))
        try:
            posts = await client.list_media(since=since, limit=LISTED)
            stories = await listed_items(client, "story", since=since, limit=LISTED)
            return tuple([await with_first_words(client, item) for item in (*posts, *stories)]), ""
        finally:
            await client.aclose()
    except PersonaError as problem:
        return (), problem.message


async def _db(scope: SessionScope, work: Callable[[Session], R]) -> R:
    def in_thread() -> R:
        with scope() as session:
            return work(session)

    return await to_thread(in_thread)


__all__ = [
    "RESTORED",
    "AccountSurvey",
    "RestoreOutcome",
    "RestoreSurvey",
    "RestoredPost",
    "confirm_restore",
    "survey_restore",
]
