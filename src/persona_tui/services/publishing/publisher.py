"""The publisher: claims due posts and takes each to Instagram, once.

Exactly-once can't be had without a key on Instagram's side. What is had: at most one publish call of a post
that nobody knows the outcome of, and an end that the operator sees for every post.
"""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import text

from persona_tui.clients.instagram import InstagramClient
from persona_tui.clients.instagram_facts import Usage
from persona_tui.clients.media_host import MediaHost
from persona_tui.errors import PersonaError
from persona_tui.models.post import FENCED_STATES
from persona_tui.services.clock_watch import boot_seconds
from persona_tui.services.media import MediaStore
from persona_tui.services.publishing import claims
from persona_tui.services.publishing.accounts import keep_quiet
from persona_tui.services.publishing.attempts import STOPPED
from persona_tui.services.publishing.claims import Claim, Swept
from persona_tui.services.publishing.crew import Crew
from persona_tui.services.publishing.grants import MakeClient, client_of
from persona_tui.services.publishing.hands import Hands, HostName, Pool, RoundOver, Tools
from persona_tui.services.publishing.outcome import Ending
from persona_tui.services.publishing.owners import IsDead, owner_is_dead
from persona_tui.services.publishing.policy import PublishPolicy
from persona_tui.services.publishing.staging import SessionScope
from persona_tui.services.publishing.steps import Publication
from persona_tui.services.secrets import Keyring
from persona_tui.settings import Settings

log = structlog.get_logger("persona_tui.publishing")

CLEAN_UP_AT_ONCE = 20
HEEDED_USAGE = 90
"""Percent of the call budget from which an account rests."""


@dataclass(frozen=True)
class TickReport:
    """What a round did.

    Attributes:
        ended: (post id, state) of each post that a publication let go of since the last round.
        under_way: publications that go on.
        missed: posts whose grace has passed.
        released: posts taken back from owners that are gone.
        lost: posts whose sending nobody saw end; the reconciler has them now.
    """

    ended: tuple[tuple[int, str], ...] = ()
    under_way: int = 0
    missed: tuple[int, ...] = ()
    released: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()

    @property
    def published(self) -> tuple[int, ...]:
        """The posts that went out."""
        return tuple(post_id for post_id, state in self.ended if state == "published")


@dataclass(frozen=True)
class _Round:
    swept: Swept
    missed: tuple[int, ...]
    accounts: tuple[int, ...]


class Publisher:
    """Publishes due posts of all accounts, one post of an account at a time.

    Several publishers may run on one database, in one process or many: the claims keep them apart.
    """

    def __init__(
        self,
        scope: SessionScope,
        media: MediaStore,
        *,
        make_client: MakeClient,
        host: Callable[[], MediaHost],
        second_host: Callable[[], MediaHost] | None = None,
        pool: Pool,
        keyring: Keyring,
        settings: Settings,
        owner: str,
        epoch: Callable[[], int] | None = None,
        policy: PublishPolicy | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        boot_clock: Callable[[], float] = boot_seconds,
        is_dead: IsDead = owner_is_dead,
    ) -> None:
        """Args:
        scope: opens a transaction.
        make_client: makes an account's client from its Instagram id, token and login.
        host: opens the media host; raises where none is set.
        second_host: opens the one that is used where the first fails; None: there is none.
        owner: this process, as `leadership.this_process().id`.
        epoch: the leader epoch of this process (R4); None: whoever calls may publish.
        policy: times; default: those of the settings' environment.
        sleep, boot_clock, is_dead: time and proof of death, for tests.
        """
        hosts: dict[HostName, Callable[[], MediaHost]] = {"first": host}
        if second_host is not None:
            hosts["second"] = second_host
        self._policy = policy or PublishPolicy.of(settings.environment)
        self._tools = Tools(scope, media, hosts, pool, self._policy, owner, sleep, boot_clock)
        self._make_client = make_client
        self._keyring = keyring
        self._min_gap = timedelta(minutes=settings.instagram.min_gap_minutes)
        self._epoch = epoch
        self._is_dead = is_dead
        self._crew: Crew[tuple[tuple[int, str], ...]] = Crew(self._policy.at_once)

    async def tick(self, now: datetime) -> TickReport:
        """One round: take up what dead owners left, mark what is too late, publish what is due.

        Waits for its posts up to the policy's patience; slower ones go on and are reported by a later
        round. Rounds may overlap.

        Args:
            now: what is due is judged by this; leases go by the database's own clock.

        Raises:
            DatabaseError: the database is away; the next round goes on.
        """
        found = await to_thread(self._look, now)
        for account_id in found.accounts:
            if not self._crew.busy(account_id):
                self._crew.begin(account_id, partial(self._serve, account_id, now))
        ended = await self._crew.collect(self._policy.patience)
        await self._clean_up(now)
        return TickReport(
            tuple(post for posts in ended for post in posts),
            sum(self._crew.busy(account_id) for account_id in found.accounts),
            found.missed,
            found.swept.released,
            found.swept.lost,
        )

    async def aclose(self, patience: float = 10.0) -> None:
        """Let publications under way end, then stop them where they are: each can be taken up again."""
        await self._crew.aclose(patience)

    def _look(self, now: datetime) -> _Round:
        scope = self._tools.scope
        with scope() as session:
            swept = claims.sweep(session, is_dead=self._is_dead)
        with scope() as session:
            claims.wake_deferred(session)
            missed = claims.miss_late(session, now)
        with scope() as session:
            return _Round(swept, missed, claims.waiting_accounts(session, now, self._min_gap))

    async def _serve(self, account_id: int, now: datetime) -> tuple[tuple[int, str], ...]:
        """Publish the account's posts one after the other, as far as its gaps allow."""
        served: list[tuple[int, str]] = []
        while (claim := await to_thread(self._claim, account_id, now)) is not None:
            state = await self._publish(claim)
            served.append((claim.post_id, state))
            if state in FENCED_STATES:  # left half-way: the account waits for it
                break
        return tuple(served)

    def _claim(self, account_id: int, now: datetime) -> Claim | None:
        with self._tools.scope() as session:
            return claims.claim_next(
                session,
                account_id,
                now=now,
                min_gap=self._min_gap,
                lease=self._policy.lease,
                owner=self._tools.owner,
                epoch=self._epoch() if self._epoch is not None else None,
                is_dead=self._is_dead,
            )

    async def _publish(self, claim: Claim) -> str:
        try:
            client = await to_thread(self._client_of, claim.account_id)
        except PersonaError as problem:
            return await self._without_client(claim, problem)
        try:
            return await Publication(self._tools, claim, client).run()
        finally:
            await client.aclose()
            await to_thread(self._heed, claim.account_id, client.last_usage)

    def _heed(self, account_id: int, usage: Usage | None) -> None:
        """Rest before Instagram throttles: calling on while it does prolongs it."""
        if usage is None or usage.highest < HEEDED_USAGE:
            return
        wait = usage.regain_after or self._policy.near_throttle
        log.warning("call budget nearly used", account=account_id, percent=usage.highest)
        with self._tools.scope() as session:
            keep_quiet(session, account_id, wait)

    def _client_of(self, account_id: int) -> InstagramClient:
        with self._tools.scope() as session:
            return client_of(session, self._keyring, self._make_client, account_id)

    async def _without_client(self, claim: Claim, problem: PersonaError) -> str:
        """The token can't be opened or must not go where it would go: nothing can be done for the account."""
        log.warning("account can't be used", account=claim.account_id, problem=problem.message)
        words = f"{problem.message} {problem.hint}"
        hands = Hands(self._tools, claim)
        with suppress(RoundOver, claims.LeaseLost):
            if claim.was_sent:
                await hands.leave(timedelta(minutes=5), words)
            await hands.end(Ending("paused", words, STOPPED, stop_account="paused"))
        return hands.claim.state

    async def _clean_up(self, now: datetime) -> None:
        """Take copies away that Instagram no longer needs; those of posts in doubt stay (R18)."""
        copies = await to_thread(self._old_copies, now)
        if not copies:
            return
        try:
            opened: dict[HostName, MediaHost] = {}
            for identifier, key, name in copies:
                if name not in opened:
                    if name not in self._tools.hosts:
                        continue  # the host is not set any more: its copies are its owner's
                    opened[name] = await to_thread(self._tools.hosts[name])
                await opened[name].delete(key)
                await to_thread(self._note_deleted, identifier)
        except PersonaError as problem:
            log.warning("hosted copies can't be deleted", problem=problem.message)

    def _old_copies(self, now: datetime) -> list[tuple[int, str, HostName]]:
        with self._tools.scope() as session:
            values = {"before": now - self._policy.keep_hosted, "most": CLEAN_UP_AT_ONCE}
            return [(row[0], row[1], row[2]) for row in session.execute(_OLD_COPIES, values)]

    def _note_deleted(self, identifier: int) -> None:
        with self._tools.scope() as session:
            session.execute(_DELETED, {"id": identifier})


_OLD_COPIES = text(
    "SELECT m.id, m.key, m.host FROM media_objects m JOIN scheduling_posts p ON p.id = m.post_id"
    " WHERE m.deleted_at IS NULL AND m.created_at < :before"
    " AND p.state NOT IN ('claimed', 'staged', 'creating', 'container', 'publishable', 'sending', 'unknown',"
    "  'reconciling', 'needs_human')"
    " AND NOT EXISTS (SELECT FROM publish_attempts t WHERE t.post_id = p.id AND t.open)"
    " ORDER BY m.id LIMIT :most"
)
_DELETED = text("UPDATE media_objects SET deleted_at = persona_now() WHERE id = :id")

__all__ = ["MakeClient", "Publisher", "TickReport"]
