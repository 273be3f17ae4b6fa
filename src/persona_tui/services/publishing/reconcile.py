"""The reconciler: finds out what came of publish calls whose answer was lost. It only reads from Instagram.

Between two looks a post is `unknown` and its lease says when the next one is due. The verdict is written
under the fence; sending again is the publisher's, with the same container.
"""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from persona_tui.clients.instagram import InstagramClient
from persona_tui.clients.instagram_errors import Step, Verdict, classify
from persona_tui.clients.instagram_facts import ContainerState, MediaFacts
from persona_tui.errors import NotAllowedNow, PersonaError
from persona_tui.services.publishing import attempts
from persona_tui.services.publishing.accounts import stop_account
from persona_tui.services.publishing.cases import Case, cases_waiting, read_case, take_case
from persona_tui.services.publishing.claims import LeaseLost, advance
from persona_tui.services.publishing.crew import Crew
from persona_tui.services.publishing.grants import MakeClient, client_of
from persona_tui.services.publishing.listings import listed as listed_items
from persona_tui.services.publishing.listings import with_items_words
from persona_tui.services.publishing.owners import IsDead, owner_is_dead
from persona_tui.services.publishing.policy import CONTAINER_OVER, ReconcilePolicy, nth
from persona_tui.services.publishing.results import bind, keep_read_back
from persona_tui.services.publishing.signals import (
    Ask,
    Bound,
    Judgement,
    Likeness,
    Reading,
    SendAgain,
    Wait,
    candidates_in,
    judge,
)
from persona_tui.services.publishing.staging import SessionScope
from persona_tui.services.publishing.transitions import locked_post
from persona_tui.services.safety import audit
from persona_tui.services.secrets import Keyring
from persona_tui.settings import Settings

log = structlog.get_logger("persona_tui.publishing")

R = TypeVar("R")

LISTED = 100
"""How many of the account's newest items are compared."""


@dataclass(frozen=True)
class ReconcileReport:
    """What a round found out: (post id, state) of each post looked at, and how many looks go on."""

    settled: tuple[tuple[int, str], ...] = ()
    under_way: int = 0


@dataclass(frozen=True)
class ListedItem:
    """An item of the account's listing, and how much it speaks for being the post; None: it is another."""

    facts: MediaFacts
    likeness: Likeness | None


@dataclass(frozen=True)
class AccountListing:
    """What a person is shown before deciding: the container's state and the items since the sending."""

    post_id: int
    taken_at: datetime
    container: ContainerState | None
    quota: int | None
    items: tuple[ListedItem, ...]


@dataclass(frozen=True)
class _Look:
    """One look at Instagram; `problem` is the first part that could not be read."""

    reading: Reading
    listed: tuple[MediaFacts, ...] = ()
    problem: PersonaError | None = None

    @property
    def shows_something(self) -> bool:
        """Whether at least one of the three signs could be read."""
        parts = (self.reading.container, self.reading.candidates, self.reading.quota)
        return any(part is not None for part in parts)


class Reconciler:
    """Clears up posts in doubt, of all accounts."""

    def __init__(
        self,
        scope: SessionScope,
        *,
        make_client: MakeClient,
        keyring: Keyring,
        settings: Settings,
        owner: str,
        policy: ReconcilePolicy | None = None,
        is_dead: IsDead = owner_is_dead,
    ) -> None:
        """Args:
        scope: opens a transaction.
        make_client: makes an account's client from its Instagram id, token and login.
        owner: this process, as `leadership.this_process().id`.
        policy: times; default: those of the settings' environment.
        is_dead: proof of an owner's death, for tests.
        """
        self._scope = scope
        self._make_client = make_client
        self._keyring = keyring
        self._owner = owner
        self._policy = policy or ReconcilePolicy.of(settings.environment)
        self._is_dead = is_dead
        self._crew: Crew[tuple[int, str]] = Crew(self._policy.at_once)

    async def tick(self, now: datetime) -> ReconcileReport:
        """One round: look once at each post in doubt that is due for a look.

        Args:
            now: taken for symmetry with the publisher; the looks go by the database's own clock.

        Raises:
            DatabaseError: the database is away; the next round goes on.
        """
        del now
        waiting = await self._db(lambda session: cases_waiting(session, self._is_dead))
        for post_id, fence in waiting:
            if not self._crew.busy(post_id):
                self._crew.begin(post_id, partial(self._settle, post_id, fence))
        settled = await self._crew.collect(self._policy.patience)
        return ReconcileReport(settled, sum(self._crew.busy(post_id) for post_id, _ in waiting))

    async def aclose(self, patience: float = 10.0) -> None:
        """Let looks under way end."""
        await self._crew.aclose(patience)

    async def look(self, post_id: int) -> AccountListing:
        """Look at Instagram for a person, who then adopts an item or says that the post is not out.

        Raises:
            UnknownName: no such post.
            NotAllowedNow: it was never sent, or its outcome is known.
            ClientError: Instagram can't be read.
        """
        case = await self._db(lambda session: read_case(session, post_id))
        if case is None:
            await self._db(lambda session: locked_post(session, post_id))
            raise NotAllowedNow(
                "There is no doubt about this post.", hint="Only posts that were sent are looked for."
            )
        look = await self._look_at(case)
        if look.reading.candidates is None:
            raise look.problem or NotAllowedNow("The account's listing can't be read.")
        await self._note(case, look, attempts.LOOK)
        items = tuple(
            ListedItem(item, (look.reading.candidates or {}).get(item.id))
            for item in look.listed
            if item.id not in case.known
        )
        return AccountListing(post_id, look.reading.at, look.reading.container, look.reading.quota, items)

    async def _db(self, work: Callable[[Session], R]) -> R:
        def in_thread() -> R:
            with self._scope() as session:
                return work(session)

        return await to_thread(in_thread)

    # One post

    async def _settle(self, post_id: int, fence: int) -> tuple[int, str]:
        case = await self._db(
            lambda session: take_case(session, post_id, fence, lease=self._policy.lease, owner=self._owner)
        )
        if case is None:
            return post_id, "taken"
        try:
            return post_id, await self._decide(case)
        except LeaseLost:
            return post_id, "taken"

    async def _decide(self, case: Case) -> str:
        if case.media_id is not None:
            return await self._bind(case, case.media_id, "reply")
        if case.surely_unsent and case.now < case.sent.made_at + CONTAINER_OVER:
            return await self._send_again(case, "Nothing was sent; it is tried again.")
        if case.account_status == "paused":
            return await self._without_token(case)
        look = await self._look_at(case)
        await self._note(case, look, attempts.READ)
        readings = [*case.readings, look.reading] if look.shows_something else case.readings
        judgement = judge(readings, case.sent, case.now, self._policy) if readings else Wait()
        return await self._act(case, judgement, len(readings), look)

    async def _act(self, case: Case, judgement: Judgement, looks: int, look: _Look) -> str:
        match judgement:
            case Bound(media_id, by):
                facts = next((item for item in look.listed if item.id == media_id), None)
                return await self._bind(case, media_id, str(by), facts)
            case SendAgain():
                return await self._send_again(case, "It was not published; the same container is sent again.")
            case Ask(reason):
                return await self._ask(case, reason)
        if case.now >= case.sent.made_at + CONTAINER_OVER and not looks:
            return await self._ask(case, "Instagram could not be asked for 25 hours. Look at the account.")
        return await self._wait(case, looks, unread=not look.shows_something)

    async def _without_token(self, case: Case) -> str:
        if case.now >= case.sent.made_at + CONTAINER_OVER:
            return await self._ask(case, "Without a valid token nobody could find out. Look at the account.")
        return await self._wait(case, len(self._policy.pauses), "Its account needs a new token.")

    # Reading

    async def _look_at(self, case: Case) -> _Look:
        """The three signs, read together; a dead token among the answers stops the account."""
        since = case.sent_at - self._policy.skew
        until = case.published_by + self._policy.skew if case.published_by is not None else None
        try:
            client = await to_thread(self._client_of, case.claim.account_id)
        except PersonaError as unusable:
            return _Look(Reading(case.now, None, None, None), problem=unusable)
        try:
            container, listed, limit = await asyncio.gather(
                _read(client.container_status(case.claim.creation_id or "")),
                _read(listed_items(client, case.claim.kind, since=since, limit=LISTED)),
                _read(client.publishing_limit()),
            )
            if not isinstance(listed, PersonaError):
                listed = await with_items_words(client, listed, case.expected, known=case.known)
        finally:
            await client.aclose()
        problems = [answer for answer in (container, listed, limit) if isinstance(answer, PersonaError)]
        await self._stop_by(case, problems)
        items = () if isinstance(listed, PersonaError) else listed
        reading = Reading(
            await self._db(_clock),
            None if isinstance(container, PersonaError) else container.status_code,
            None
            if isinstance(listed, PersonaError)
            else candidates_in(items, case.expected, known=case.known, since=since, until=until),
            None if isinstance(limit, PersonaError) else limit.quota_usage,
        )
        return _Look(reading, items, next(iter(problems), None))

    async def _stop_by(self, case: Case, problems: list[PersonaError]) -> None:
        rulings = [classify(problem, Step.READ) for problem in problems]
        dead = next((ruling for ruling in rulings if ruling.verdict is Verdict.PAUSE_TOKEN), None)
        if dead is not None:
            account_id, sentence = case.claim.account_id, dead.sentence
            await self._db(lambda session: stop_account(session, account_id, "paused", sentence))

    def _client_of(self, account_id: int) -> InstagramClient:
        with self._scope() as session:
            return client_of(session, self._keyring, self._make_client, account_id)

    async def _note(self, case: Case, look: _Look, call: str) -> None:
        """Keep what was seen, without a fence: it stays true whoever owns the post."""
        await self._db(
            lambda session: attempts.append_reply(
                session,
                case.claim.attempt_id,
                call,
                ok=look.shows_something,
                body=look.reading.as_json(),
                error=look.problem,
            )
        )

    # Verdicts

    async def _bind(self, case: Case, media_id: str, found_by: str, facts: MediaFacts | None = None) -> str:
        published_at = facts.timestamp if facts is not None else None

        def work(session: Session) -> None:
            bind(session, case.claim, media_id, found_by=found_by, published_at=published_at)
            if facts is not None:
                keep_read_back(session, case.claim.post_id, facts)

        try:
            await self._db(work)
        except IntegrityError:
            return await self._ask(case, "The item that it seems to be is another post's.")
        log.info("found", post=case.claim.post_id, media_id=media_id, found_by=found_by)
        return "published"

    async def _send_again(self, case: Case, reason: str) -> str:
        wait = self._policy.resend_after
        await self._move(case, "publishable", lease=wait, reason=reason)
        return "publishable"

    async def _ask(self, case: Case, reason: str) -> str:
        def work(session: Session) -> None:
            advance(session, case.claim, "needs_human", lease=timedelta(0), owner="", reason=reason)
            audit.append(
                session,
                actor="publisher",
                action="post.ask",
                persona_id=case.claim.persona_id,
                subject=f"scheduling_posts:{case.claim.post_id}",
                details={"reason": reason},
            )

        await self._db(work)
        return "needs_human"

    async def _wait(self, case: Case, looks: int, reason: str = "", *, unread: bool = False) -> str:
        words = reason or f"The answer was lost; Instagram has been asked {looks}× so far."
        pause = nth(self._policy.pauses, looks)
        # Soon after the line is back it is read again, however long it was away.
        lease = min(pause, self._policy.unread) if unread else pause
        await self._move(case, "unknown", lease=lease, reason=words)
        return "unknown"

    async def _move(self, case: Case, to_state: str, *, lease: timedelta, reason: str) -> None:
        await self._db(
            lambda session: advance(session, case.claim, to_state, lease=lease, owner="", reason=reason)
        )


async def _read(call: Awaitable[R]) -> R | PersonaError:
    """The answer, or what the client raised."""
    try:
        return await call
    except PersonaError as problem:
        return problem


def _clock(session: Session) -> datetime:
    now: datetime = session.execute(text("SELECT persona_now()")).scalar_one()
    return now


__all__ = ["AccountListing", "ListedItem", "ReconcileReport", "Reconciler"]
