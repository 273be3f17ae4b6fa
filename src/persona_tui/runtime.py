"""The core that the app and the headless scheduler both start: engine, job worker, tick, leadership.

Everything runs on one asyncio loop; what blocks goes to threads. Only the leader generates, publishes and
sweeps; every process works on jobs and shows what happens.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import to_thread
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from persona_tui.clients.http import HttpService
from persona_tui.database.engine import Database, leader_lock_key
from persona_tui.database.migrate import current_revision, head_revision
from persona_tui.errors import NotAllowedNow, PersonaError
from persona_tui.pool import WorkPool
from persona_tui.resources import Resources, Say
from persona_tui.services import events, jobs
from persona_tui.services.generation.engine import Endpoint, Engine, EngineStatus
from persona_tui.services.leadership import Leadership, ProcessKind, announce, this_process
from persona_tui.services.planning import captions, ideas
from persona_tui.services.publishing.publisher import Publisher
from persona_tui.services.publishing.reconcile import Reconciler
from persona_tui.settings import Settings

if TYPE_CHECKING:
    from persona_tui.services.planning.captions import CaptionProposal
    from persona_tui.services.planning.ideas import IdeaView
    from persona_tui.services.publishing.reconcile import AccountListing

log = structlog.get_logger("persona_tui.runtime")

BEAT_SECONDS = 3.0
TICK_SECONDS = {"live": 5.0, "sandbox": 1.0}
RESCUE_SECONDS = 30.0
STOP_SECONDS = 10.0


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
    """

    def __init__(self, settings: Settings, *, kind: ProcessKind = "app", say: Say = _silent) -> None:
        self.settings = settings
        self.kind = kind
        self._say = say
        self._resources: Resources | None = None
        self._leadership: Leadership | None = None
        self._engine: Engine | None = None
        self._engine_task: asyncio.Task[None] | None = None
        self._engine_stop = asyncio.Event()
        self._publisher: Publisher | None = None
        self._reconciler: Reconciler | None = None
        self._pool = WorkPool()
        self._tasks: list[asyncio.Task[None]] = []
        self._scheduler: AsyncIOScheduler | None = None
        self._tick_lock = asyncio.Lock()
        self._last_tick: datetime | None = None
        self._last_rescue = 0.0
        self._trouble: dict[str, str] = {}
        self._schema: str | None = None

    # Life

    async def start(self) -> None:
        """Open everything and begin to work.

        Raises:
            PersonaError: it can't start; what had started is stopped again.
        """
        try:
            self._resources = await to_thread(Resources.open, self.settings, say=self._say)
            self._schema = head_revision()
            self._leadership = Leadership(
                self.database.conninfo(), leader_lock_key(self.database.schema), self.kind
            )
            await self._beat()
            self._begin(self._beat_loop(), "heartbeat")
            self._begin(self._work_loop(), "jobs")
            if self.kind in {"app", "scheduler"}:
                self._start_ticking()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop everything cleanly; safe to call twice, and after a start that failed."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None
        await self._stop_engine()
        await self._stop_publishing()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._leadership is not None:
            await to_thread(self._leadership.resign)
            self._leadership = None
        await self._pool.aclose()
        if self._resources is not None:
            await to_thread(self._resources.close)
            self._resources = None

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
        return self._engine

    def status(self) -> CoreStatus:
        """What the core is doing."""
        return CoreStatus(
            this_process().id,
            self.leader,
            self._leadership.epoch if self._leadership else 0,
            self._last_tick,
            self._engine.status() if self._engine else None,
            tuple(self._trouble.values()),
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

    async def propose_ideas(self, persona_id: int, pillar_id: int, count: int = 3) -> Sequence[IdeaView]:
        """Ask the writers for ideas for a pillar and store them."""
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
        return await captions.propose_caption(
            self.database.session_scope,
            self.resources.writers,
            self.resources.media,
            post_id,
            max_hashtags=self.settings.instagram.max_hashtags,
        )

    async def look_at(self, post_id: int) -> AccountListing:
        """Look at the account for a post that may be published already; changes nothing at Instagram.

        Raises:
            NotAllowedNow: there is no doubt about the post.
            ClientError: Instagram can't be read.
        """
        reconciler = Reconciler(self.database.session_scope, **self._publishing_parts())
        try:
            return await reconciler.look(post_id)
        finally:
            await reconciler.aclose()

    # Leadership

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _beat_loop(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            await self._beat()

    async def _beat(self) -> None:
        assert self._leadership is not None
        before = self._leadership.leads
        try:
            leads = await to_thread(self._leadership.beat)
            self._trouble.pop("database", None)
        except (psycopg.Error, PersonaError) as problem:
            leads = False
            self._trouble["database"] = "The database is away; it is tried again by itself."
            log.warning("heartbeat failed", problem=type(problem).__name__)
        if leads and self._engine_task is None:
            self._start_engine()
        if not leads and self._engine_task is not None:
            await self._stop_engine()
        if leads != before:
            log.info("leadership", leads=leads)
            with suppress(PersonaError):
                await to_thread(self._announce)

    def _announce(self) -> None:
        with self.database.session_scope() as session:
            announce(session)

    # Generation

    def _start_engine(self) -> None:
        clients = self.resources.comfyui_clients()
        self._engine_stop = asyncio.Event()
        self._engine = Engine(
            self.database.session_scope,
            self.resources.media,
            [Endpoint(url, client) for url, client in clients.items()],
            depth=self.settings.comfyui.depth,
        )
        self._engine_task = asyncio.create_task(self._engine.run(self._engine_stop), name="engine")

    async def _stop_engine(self) -> None:
        task, self._engine_task = self._engine_task, None
        self._engine = None
        if task is None:
            return
        self._engine_stop.set()
        done, _ = await asyncio.wait({task}, timeout=STOP_SECONDS)
        if not done:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _stop_publishing(self) -> None:
        """Let a round and what it has begun end and be recorded, then stop where it is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS), self._tick_lock:
                pass
        if self._publisher is not None and self._reconciler is not None:
            await asyncio.gather(self._publisher.aclose(STOP_SECONDS), self._reconciler.aclose(STOP_SECONDS))
        self._publisher = self._reconciler = None

    # Jobs

    async def _work_loop(self) -> None:
        tools = jobs.JobTools(self.database.session_scope, self.resources.media, self._pool)
        while True:
            try:
                app = jobs.make_worker_app(self.database.conninfo())
                async with app.open_async():
                    await jobs.run_worker(app, tools, name=this_process().id)
            except asyncio.CancelledError:
                raise
            except Exception as problem:  # the driver, the pool and procrastinate each raise their own
                log.warning("job worker failed", problem=type(problem).__name__)
            await asyncio.sleep(2.0)

    async def _rescue_jobs(self) -> None:
        loop_time = asyncio.get_running_loop().time()
        if loop_time - self._last_rescue < RESCUE_SECONDS:
            return
        self._last_rescue = loop_time
        app = jobs.make_worker_app(self.database.conninfo())
        async with app.open_async():
            rescued = await jobs.rescue_stalled(app)
        if rescued:
            log.info("stalled jobs taken up again", count=rescued)

    # The tick

    def _start_ticking(self) -> None:
        # It would log each tick, which is each second in the sandbox.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._scheduler.add_job(
            self._scheduled_tick,
            "interval",
            seconds=TICK_SECONDS[self.settings.environment],
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )
        self._scheduler.start()

    async def _scheduled_tick(self) -> None:
        try:
            await self.tick(await self.now())
            self._trouble.pop("tick", None)
        except PersonaError as problem:
            self._trouble["tick"] = problem.message
            log.warning("tick failed", problem=problem.message)
        except Exception:
            self._trouble["tick"] = "The scheduler's tick failed; the log has the details."
            log.exception("tick failed")

    async def tick(self, now: datetime) -> bool:
        """Do what is due: publish, reconcile, take up stalled jobs. Only the leader does anything.

        Args:
            now: the database's clock, UTC.

        Returns:
            Whether this process led and did its round.
        """
        async with self._tick_lock:
            leadership = self._leadership
            if leadership is None or not await to_thread(leadership.still_leads):
                return False
            if await to_thread(current_revision, self.database) != self._schema:
                self._trouble["schema"] = "Another version changed the database; this process stands down."
                await to_thread(leadership.resign)
                return False
            await self._publish(now)
            await self._rescue_jobs()
            self._last_tick = now
        await self._ping_dead_man()
        return True

    async def _publish(self, now: datetime) -> None:
        if self._publisher is None or self._reconciler is None:
            self._make_publisher()
        assert self._publisher is not None and self._reconciler is not None and self._leadership is not None
        await self._reconciler.tick(now)
        await self._publisher.tick(now)

    def _make_publisher(self) -> None:
        parts = self._publishing_parts()
        self._publisher = Publisher(
            self.database.session_scope,
            self.resources.media,
            host=self.resources.media_host,
            pool=self._pool,
            epoch=lambda: self._leadership.epoch if self._leadership else 0,
            **parts,
        )
        self._reconciler = Reconciler(self.database.session_scope, **parts)

    def _publishing_parts(self) -> dict[str, Any]:
        """What publisher and reconciler both need."""
        return {
            "make_client": self.resources.instagram_client,
            "keyring": self.resources.keyring,
            "settings": self.settings,
            "owner": this_process().id,
        }

    async def _ping_dead_man(self) -> None:
        """Tell an outside watcher that the round was good: a dead host can't report itself (R8)."""
        url = self.settings.notify.dead_man_url
        if url is None:
            return
        service = HttpService("The dead-man watcher", url, timeout=5.0)
        try:
            await service.send("GET", "")
        except (PersonaError, httpx.HTTPError) as problem:
            log.warning("dead-man ping failed", problem=str(problem))
        finally:
            await service.aclose()


Waiting = Callable[[], Awaitable[bool]]


async def wait_until(done: Waiting, *, timeout: timedelta, pause: float = 0.1) -> bool:
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
