"""A claimed post in this process's hands: its transactions, its lease, and how it is let go."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Literal, NoReturn, Protocol, TypeVar

from sqlmodel import Session

from persona_tui.clients.media_host import MediaHost
from persona_tui.errors import ClientError, DatabaseError
from persona_tui.services.clock_watch import boot_seconds
from persona_tui.services.media import MediaStore
from persona_tui.services.publishing import attempts, breakers
from persona_tui.services.publishing.accounts import stop_account
from persona_tui.services.publishing.claims import Claim, advance
from persona_tui.services.publishing.outcome import Ending
from persona_tui.services.publishing.policy import PublishPolicy, nth
from persona_tui.services.publishing.staging import SessionScope

R = TypeVar("R")
HostName = Literal["first", "second"]

NOTE_TRIES, NOTE_PAUSE = 5, 1.0
SOON_TRIES = 20
"""Tries in a row without an answer that follow soon; each may leave a container behind, and a day has 400."""


class Pool(Protocol):
    """What of `pool.WorkPool` is needed here."""

    async def run(self, function: Callable[..., R], *args: object, timeout: float | None = None) -> R:
        """Call a module-level function elsewhere and return its result."""
        ...


@dataclass(frozen=True)
class Tools:
    """What every post's way needs.

    Attributes:
        hosts: what opens each media host, the preferred one first; each raises where it can not be opened.
        sleep: waits so many seconds.
        boot_clock: seconds that go on in suspend, for deadlines inside this process.
    """

    scope: SessionScope
    media: MediaStore
    hosts: Mapping[HostName, Callable[[], MediaHost]]
    pool: Pool
    policy: PublishPolicy
    owner: str
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    boot_clock: Callable[[], float] = boot_seconds


class RoundOver(Exception):
    """The post has been let go; nothing more is done with it in this round."""


class Hands:
    """The post, and all that is written about it.

    Attributes:
        claim: the post as this process last wrote it.
        deadline: on the boot clock, when the lease runs out at the latest.
    """

    def __init__(self, tools: Tools, claim: Claim) -> None:
        self.tools = tools
        self.policy = tools.policy
        self.claim = claim
        self.deadline = 0.0

    @property
    def container(self) -> str:
        """The container's id; the database demands one from `container` to `sending`."""
        creation_id = self.claim.creation_id
        assert creation_id is not None
        return creation_id

    async def db(self, work: Callable[[Session], R]) -> R:
        """Run a piece of database work in a thread and a transaction of its own."""

        def in_thread() -> R:
            with self.tools.scope() as session:
                return work(session)

        return await to_thread(in_thread)

    async def advance(
        self,
        to_state: str,
        *,
        also: Callable[[Session], object] | None = None,
        lease: timedelta | None = None,
        owner: str | None = None,
        **changes: Any,
    ) -> None:
        """Move the post, together with `also`, in one transaction under its fence.

        The post's row comes first, as in the operator's acts: all lock it before the audit trail.

        Raises:
            LeaseLost: it is another's by now.
        """
        began = self.tools.boot_clock()
        held = self.policy.lease if lease is None else lease
        name = self.tools.owner if owner is None else owner

        def work(session: Session) -> Claim:
            moved = advance(session, self.claim, to_state, lease=held, owner=name, **changes)
            if also is not None:
                also(session)
            return moved

        self.claim = await self.db(work)
        self.deadline = began + held.total_seconds()

    async def renew(self) -> None:
        """Own the post for another full lease."""
        await self.advance(self.claim.state)

    async def leave(self, wait: timedelta, reason: str) -> NoReturn:
        """Keep the state and let go: the next round after that time takes it up.

        Raises:
            RoundOver: always.
        """
        await self.advance(self.claim.state, lease=wait, owner="", reason=reason)
        raise RoundOver

    async def end(self, ending: Ending) -> NoReturn:
        """Move the post out of the publisher's states and end its attempt.

        Raises:
            RoundOver: always.
        """
        claim = self.claim
        if ending.outcome == attempts.RETRIED:
            ending = await self._counted(ending)

        def close(session: Session) -> None:
            attempts.close_attempt(session, claim.post_id, ending.outcome)
            if ending.stop_account is not None:
                stop_account(session, claim.account_id, ending.stop_account, ending.reason)

        await self.advance(
            ending.state, also=close, lease=ending.wait or timedelta(0), owner="", reason=ending.reason
        )
        raise RoundOver

    async def _counted(self, ending: Ending) -> Ending:
        """The ending with its back-off; a failure where it was the last try."""
        tries = await self.db(lambda session: attempts.tries_in_a_row(session, self.claim.post_id))
        if ending.tries is not None and tries + 1 >= ending.tries:
            return Ending("failed", ending.reason, "failed")
        wait = ending.wait or nth(self.policy.backoff, tries)
        if ending.unanswered and tries < SOON_TRIES:
            wait = min(wait, self.policy.unanswered)
        return Ending(ending.state, ending.reason, ending.outcome, wait=wait)

    async def note(self, call: str, **facts: Any) -> None:
        """Keep an answer in a transaction of its own, without a fence (R15).

        A database that is away is waited for: the answer may name what was published.
        """
        for left in reversed(range(NOTE_TRIES)):
            try:
                await self.db(partial(self._keep, call, facts))
                return
            except DatabaseError:
                if not left:
                    raise
                await self.tools.sleep(NOTE_PAUSE)

    def _keep(self, call: str, facts: Mapping[str, Any], session: Session) -> None:
        attempts.append_reply(session, self.claim.attempt_id, call, **facts)
        error = facts.get("error")
        if isinstance(error, ClientError) and breakers.is_service_trouble(error):
            breakers.note_failure(session, breakers.GRAPH, error.message)
        elif error is None or isinstance(error, ClientError):
            breakers.note_success(session, breakers.GRAPH)


__all__ = ["Hands", "HostName", "Pool", "RoundOver", "Tools"]
