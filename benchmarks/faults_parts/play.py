"""Publisher and reconciler under the live policy, in virtual time, until nothing is left that can move.

The rounds come as in the program, every five seconds; a stretch in which nothing is due is skipped.
"""

from __future__ import annotations

import asyncio
import math
from asyncio import to_thread
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from benchmarks.faults_parts.clock import VirtualClock
from sqlalchemy import text
from tests.support.publishing import ThreadPool, World

from persona_tui.clients.media_host import MediaHost
from persona_tui.services.publishing.policy import PublishPolicy, ReconcilePolicy
from persona_tui.services.publishing.publisher import Publisher
from persona_tui.services.publishing.reconcile import Reconciler

TICK = 5.0
"""Seconds between two rounds, as `duties.TICK_SECONDS` has it for live accounts."""
REAL_PATIENCE = 60.0
PUBLISH = replace(PublishPolicy(), patience=REAL_PATIENCE, at_once=64)
RECONCILE = replace(ReconcilePolicy(), patience=REAL_PATIENCE)
CROWD_PAUSE = 0.1
IN_A_CROWD = replace(PUBLISH, polls=(0.0, 0.05, 0.1, 0.2))
"""Several processes can't agree when all of them wait, so the polls are short instead."""

OPEN_STATES = (
    "scheduled",
    "claimed",
    "staged",
    "creating",
    "container",
    "publishable",
    "sending",
    "unknown",
    "reconciling",
    "deferred",
)

# A due post behind another one of its account, or behind a gap, is not what comes next.
_NEXT = text(
    "SELECT extract(epoch FROM min(at) - persona_now())::float FROM ("
    " SELECT CASE WHEN p.state <> 'scheduled' THEN coalesce(p.lease_until, persona_now())"
    "  WHEN EXISTS (SELECT FROM scheduling_posts o WHERE o.account_id = p.account_id AND o.id <> p.id"
    "   AND (o.state = ANY(:owned) OR (o.state = 'deferred' AND o.lease_until > persona_now()))) THEN NULL"
    "  ELSE greatest(p.scheduled_at,"
    "   (SELECT max(o.published_at) FROM scheduling_posts o WHERE o.account_id = p.account_id) + :gap,"
    "   (SELECT max(t.sent_at) FROM publish_attempts t JOIN scheduling_posts o ON o.id = t.post_id"
    "     WHERE o.account_id = p.account_id AND t.open) + :gap) END AS at"
    " FROM scheduling_posts p JOIN instagram_accounts a ON a.id = p.account_id"
    " WHERE p.state = ANY(:open) AND (a.status = 'active' OR p.state <> 'scheduled')) AS things"
)


@dataclass
class Player:
    """One process's publisher and reconciler.

    Attributes:
        second_host: opens the media host that is used where the world's fails; None: there is none.
        each_round: called after each round, with the time of the database.
        real_time: the product waits by the machine's clock.
    """

    world: World
    clock: VirtualClock
    publish: PublishPolicy = PUBLISH
    reconcile: ReconcilePolicy = RECONCILE
    second_host: Callable[[], MediaHost] | None = None
    each_round: Callable[[datetime], Awaitable[None]] | None = None
    real_time: bool = False

    def __post_init__(self) -> None:
        """Make the two."""
        world = self.world
        self.publisher = Publisher(
            world.db.session_scope,
            world.media,
            make_client=world.client,
            host=world.host,
            second_host=self.second_host,
            pool=ThreadPool(),
            keyring=world.keyring,
            settings=world.settings,
            owner=world.owner,
            policy=self.publish,
            sleep=asyncio.sleep if self.real_time else self.clock.sleep,
            boot_clock=self.clock.boot,
        )
        self.reconciler = Reconciler(
            world.db.session_scope,
            make_client=world.client,
            keyring=world.keyring,
            settings=world.settings,
            owner=world.owner,
            policy=self.reconcile,
        )

    async def round(self) -> None:
        """One round, as the leader's tick has it."""
        now = await to_thread(self.world.now)
        await self.reconciler.tick(now)
        await self.publisher.tick(now)
        if self.each_round is not None:
            await self.each_round(now)

    async def until_still(self, limit: timedelta) -> bool:
        """Rounds until no post can move by itself; False when that took longer than `limit`."""
        began = self.clock.boot()
        while True:
            await self.round()
            wait = await to_thread(self.next_due)
            if wait is None:
                return True
            if self.clock.boot() - began > limit.total_seconds():
                return False
            await self.clock.sleep(max(TICK, math.ceil(wait / TICK) * TICK))

    async def in_a_crowd(self, seconds: float) -> bool:
        """Rounds in quick succession by the machine's clock, while others do the same and move time on."""
        deadline = asyncio.get_running_loop().time() + seconds
        while await to_thread(self.next_due) is not None:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await self.round()
            await asyncio.sleep(CROWD_PAUSE)
        return True

    def next_due(self) -> float | None:
        """Seconds until the next post can move; None: none will."""
        owned = [state for state in OPEN_STATES if state not in {"scheduled", "deferred"}]
        gap = timedelta(minutes=self.world.settings.instagram.min_gap_minutes)
        with self.world.db.session_scope() as session:
            values = {"owned": owned, "open": list(OPEN_STATES), "gap": gap}
            found: float | None = session.execute(_NEXT, values).scalar_one()
        return found

    async def aclose(self) -> None:
        """Let what is under way end."""
        await self.publisher.aclose()
        await self.reconciler.aclose()
