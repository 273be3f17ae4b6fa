"""The core that the app and the headless scheduler both start: resources, leadership, duties.

Everything runs on one asyncio loop; what blocks goes to threads. Only the leader generates, publishes and
sweeps; every process works on jobs and shows what happens.
"""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING

import psycopg
import structlog

from persona_tui.database.engine import Database, leader_lock_key
from persona_tui.errors import NotAllowedNow, PersonaError
from persona_tui.resources import Resources, Say
from persona_tui.services import events
from persona_tui.services.leadership import Leadership, ProcessKind, announce, this_process
from persona_tui.settings import Settings

if TYPE_CHECKING:
    from persona_tui.database.link import DatabaseLink
    from persona_tui.duties import Duties, Trouble
    from persona_tui.rehearsal import Progress
    from persona_tui.services.generation.engine import Engine, EngineStatus
    from persona_tui.services.planning.captions import CaptionProposal
    from persona_tui.services.planning.ideas import IdeaView
    from persona_tui.services.publishing.preview import PreviewedFile
    from persona_tui.services.publishing.reconcile import AccountListing
    from persona_tui.services.publishing.rehearsal import Rehearsal

log = structlog.get_logger("persona_tui.runtime")

BEAT_SECONDS = 3.0


@dataclass(frozen=True)
class CoreStatus:
    """What the core is doing, for screens, `--json` and the watchdog.

    Attributes:
        trouble: sentences on what is wrong at the moment.
    """

    process_id: str
    leader: bool
    leader_epoch: int
    last_tick: datetime | None
    engine: EngineStatus | None
    trouble: tuple[str, ...]


def _silent(_sentence: str) -> None:
    """Say nothing."""


class Core:
    """Everything behind the screens.

    Args:
        settings: the effective settings.
        kind: what this process is; a `worker` or `command` never leads.
        say: gets a sentence before each step of the start that may take seconds.
        link: the database, reached already; the start takes it over, or `stop` lets go of it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        kind: ProcessKind = "app",
        say: Say = _silent,
        link: DatabaseLink | None = None,
    ) -> None:
        self.settings = settings
        self.kind = kind
        self._say = say
        self._link = link
        self._resources: Resources | None = None
        self._leadership: Leadership | None = None
        self._duties: Duties | None = None
        self._trouble: Trouble | None = None
        self._work: asyncio.Task[None] | None = None

    # Life

    async def start(self) -> None:
        """Open the database; when this returns it can be read, and the duties are being taken up.

        Raises:
            PersonaError: it can't start; what had started is stopped again.
        """
        try:
            link, self._link = self._link, None
            self._resources = await to_thread(Resources.open, self.settings, say=self._say, link=link)
            self._leadership = Leadership(
                self.database.conninfo(), leader_lock_key(self.database.schema), self.kind
            )
            self._work = asyncio.create_task(self._take_up_duties(), name="duties")
        except BaseException:
            await self.stop()
            raise

    async def working(self) -> None:
        """Wait until the duties have been taken up and it is known whether this process leads."""
        while self._duties is None:
            if self._work is None or self._work.done():
                raise NotAllowedNow("The core has stopped.", hint="The log says why.")
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Stop everything cleanly; safe to call twice, and after a start that failed."""
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        duties, self._duties = self._duties, None
        if duties is not None:
            await duties.aclose()
        leadership, self._leadership = self._leadership, None
        if leadership is not None:
            await to_thread(leadership.resign)
        resources, self._resources = self._resources, None
        if resources is not None:
            await to_thread(resources.close)
        link, self._link = self._link, None
        if link is not None:
            await to_thread(link.dispose)

    async def _take_up_duties(self) -> None:
        module = await to_thread(import_module, "persona_tui.duties")
        assert self._leadership is not None
        self._trouble = module.Trouble()
        duties: Duties = module.Duties(self.resources, self._leadership, self._trouble)
        await to_thread(duties.check_incarnation)
        await self._beat()
        duties.begin(ticks=self.kind in {"app", "scheduler"})
        self._duties = duties
        while True:
            await duties.follow_leadership()
            await asyncio.sleep(BEAT_SECONDS)
            await self._beat()

    async def _beat(self) -> None:
        assert self._leadership is not None and self._trouble is not None
        before = self._leadership.leads
        try:
            leads = await to_thread(self._leadership.beat)
            self._trouble.settle("database")
        except (psycopg.Error, PersonaError) as problem:
            leads = False
            self._trouble.say("database", "The database is away; it is tried again by itself.")
            log.warning("heartbeat failed", problem=type(problem).__name__)
        if leads != before:
            log.info("leadership", leads=leads)
            with suppress(PersonaError):
                await to_thread(self._announce)

    def _announce(self) -> None:
        with self.database.session_scope() as session:
            announce(session)

    # What screens and commands use

    @property
    def resources(self) -> Resources:
        """Database, media, writers and clients.

        Raises:
            NotAllowedNow: the core has not started.
        """
        if self._resources is None:
            raise NotAllowedNow("The program is still starting.", hint="Try again in a moment.")
        return self._resources

    @property
    def database(self) -> Database:
        """The database."""
        return self.resources.database

    @property
    def leader(self) -> bool:
        """Whether this process leads."""
        return self._leadership is not None and self._leadership.leads

    @property
    def engine(self) -> Engine | None:
        """The generation engine, while this process leads."""
        return self._duties.engine if self._duties else None

    @property
    def good_rounds(self) -> int | None:
        """How many rounds have gone well; None while the database is away."""
        if self._duties is None or self._trouble is None or "database" in self._trouble.sentences:
            return None
        return self._duties.good_rounds

    def status(self) -> CoreStatus:
        """What the core is doing."""
        return CoreStatus(
            this_process().id,
            self.leader,
            self._leadership.epoch if self._leadership else 0,
            self._duties.last_tick if self._duties else None,
            self.engine.status() if self.engine else None,
            tuple(self._trouble.sentences.values()) if self._trouble else (),
        )

    async def events(self) -> AsyncIterator[tuple[str | None, int]]:
        """What is committed from now on, as (topic, id); topic None: anything may have changed."""
        while True:
            with suppress(psycopg.Error):
                async for event in events.listen(self.database.conninfo(), self.database.schema):
                    yield event.topic, event.id
            await asyncio.sleep(1.0)

    async def now(self) -> datetime:
        """The database's clock."""
        return await to_thread(self.resources.now)

    async def tick(self, now: datetime) -> bool:
        """Do what is due at this instant; only the leader does anything.

        Returns:
            Whether this process led and did its round.
        """
        await self.working()
        assert self._duties is not None
        return await self._duties.tick(now)

    async def look_after_trainings(self) -> None:
        """Register trainings that have ended, and take up those that were killed; for the leader."""
        await self.working()
        assert self._duties is not None
        await self._duties.look_after_trainings()

    async def propose_ideas(self, persona_id: int, pillar_id: int, count: int = 3) -> Sequence[IdeaView]:
        """Ask the writers for ideas for a pillar and store them."""
        from persona_tui.services.planning import ideas

        return await ideas.propose_ideas(
            self.database.session_scope,
            self.resources.writers,
            persona_id,
            pillar_id,
            count=count,
            now=await self.now(),
        )

    async def propose_caption(self, post_id: int) -> CaptionProposal:
        """Ask the writers for a caption for a post's picture and keep it as a draft."""
        from persona_tui.services.planning import captions

        return await captions.propose_caption(
            self.database.session_scope,
            self.resources.writers,
            self.resources.media,
            post_id,
            max_hashtags=self.settings.instagram.max_hashtags,
        )

    async def rehearse(self, days: int, progress: Progress) -> Rehearsal:
        """Play what is planned for the next days against the sandbox, on a copy.

        Raises:
            NotAllowedNow: nothing is planned in these days.
            PersonaError: the copy or the sandbox can't be made.
        """
        from persona_tui.rehearsal import rehearse

        return await rehearse(self.resources, days, progress=progress)

    async def preview(self, post_id: int) -> tuple[PreviewedFile, ...]:
        """Make the very files that go out for a post, to be looked at.

        Raises:
            InvalidRequest: Instagram would refuse the post as it is, or a picture can't be read.
            StorageError: an original is gone, or there is no room.
        """
        await self.working()
        assert self._duties is not None
        return await self._duties.preview(post_id)

    async def look_at(self, post_id: int) -> AccountListing:
        """Look at the account for a post that may be published already; changes nothing at Instagram.

        Raises:
            NotAllowedNow: there is no doubt about the post.
            ClientError: Instagram can't be read.
        """
        await self.working()
        assert self._duties is not None
        return await self._duties.look_at(post_id)


async def wait_until(done: Callable[[], Awaitable[bool]], *, timeout: timedelta, pause: float = 0.1) -> bool:
    """Ask again and again until it is so.

    Returns:
        False when the time ran out first.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout.total_seconds()
    while loop.time() < deadline:
        if await done():
            return True
        await asyncio.sleep(pause)
    return False
