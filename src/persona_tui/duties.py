"""What a process does behind the screens: jobs, and while it leads engine, publisher and tick.

Imported by the core once its first data can be read: engine, clients and queues are half of the start.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import to_thread
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from persona_tui.clients.http import HttpService
from persona_tui.database.migrate import current_revision, head_revision
from persona_tui.errors import PersonaError
from persona_tui.job_duties import JobDuties
from persona_tui.pool import WorkPool
from persona_tui.resources import Resources
from persona_tui.services.clock_watch import watch_clock
from persona_tui.services.folder_watch import FolderWatch
from persona_tui.services.generation.engine import DailyLimit, Engine, EngineOptions
from persona_tui.services.generation.night import Night
from persona_tui.services.leadership import Leadership, this_process
from persona_tui.services.planning.upkeep import PlanUpkeep
from persona_tui.services.publishing.comments import CommentRound
from persona_tui.services.publishing.preview import PreviewedFile, preview_post
from persona_tui.services.publishing.publisher import Publisher
from persona_tui.services.publishing.reconcile import AccountListing, Reconciler
from persona_tui.services.publishing.restore import check_incarnation
from persona_tui.services.publishing.tokens import TokenKeeper
from persona_tui.services.training.watch import TrainingWatch

log = structlog.get_logger("persona_tui.duties")

TICK_SECONDS = {"live": 5.0, "sandbox": 1.0}
WATCH_SECONDS = {"live": 30.0, "sandbox": 2.0}
"""Rest between two looks into the watched folders."""
STOP_SECONDS = 10.0
JUMP_SHOWN = 3600.0
"""Seconds for which a jump of the clock stays among the troubles."""


@dataclass
class Trouble:
    """What is wrong at the moment: one sentence per part that complains."""

    sentences: dict[str, str] = field(default_factory=dict)

    def say(self, part: str, sentence: str) -> None:
        """A part has a complaint."""
        self.sentences[part] = sentence

    def settle(self, part: str) -> None:
        """A part is well again."""
        self.sentences.pop(part, None)


class Duties:
    """Engine, publisher, reconciler, jobs and tick of one process."""

    def __init__(self, resources: Resources, leadership: Leadership, trouble: Trouble) -> None:
        self._resources = resources
        self._settings = resources.settings
        self._scope = resources.database.session_scope
        self._leadership = leadership
        self._trouble = trouble
        self._pool = WorkPool()
        self._jobs = JobDuties(resources, self._pool, self._tell)
        self._publisher = Publisher(
            self._scope,
            resources.media,
            host=resources.media_host,
            second_host=resources.second_media_host,
            pool=self._pool,
            epoch=lambda: leadership.epoch,
            **self._publishing_parts(),
        )
        self._reconciler = Reconciler(self._scope, **self._publishing_parts())
        self._comments = CommentRound(
            self._scope,
            make_client=resources.instagram_client,
            keyring=resources.keyring,
            settings=self._settings,
        )
        self._tokens = TokenKeeper(
            self._scope,
            make_client=resources.instagram_client,
            make_token_client=resources.token_client,
            keyring=resources.keyring,
        )
        gap = timedelta(minutes=resources.settings.instagram.min_gap_minutes)
        self._upkeep = PlanUpkeep(self._scope, min_gap=gap)
        self._night = Night(self._scope, resources.media)
        self._folders = FolderWatch(self._scope, resources.media)
        self._trainings = TrainingWatch(resources.trainings)
        self.engine: Engine | None = None
        """The generation engine, while this process leads."""
        self.last_tick: datetime | None = None
        """The last good round."""
        self.good_rounds = 0
        """Rounds that went well, those of standing by included."""
        self._engine_task: asyncio.Task[None] | None = None
        self._engine_stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._scheduler: AsyncIOScheduler | None = None
        self._tick_lock = asyncio.Lock()
        self._token_task: asyncio.Task[None] | None = None
        self._schema = head_revision()

    # Life

    def check_incarnation(self) -> None:
        """Hold publishing when this database was restored or copied (R1); before anything else. Blocks.

        Raises:
            PersonaError: the database is away, or the configuration folder can't be written.
        """
        with self._scope() as session:
            check_incarnation(
                session, self._settings.config_dir / "incarnation.json", self._settings.data_dir
            )

    def begin(self, *, ticks: bool) -> None:
        """Begin to work on jobs and, when asked to, to tick (a tick does nothing while another leads)."""
        self._begin(self._jobs.work(), "jobs")
        if ticks:
            self._start_ticking()
            self._begin(watch_clock(self._clock_jumped), "clock")
            every = WATCH_SECONDS[self._settings.environment]
            self._begin(self._folders.run(self._leads, partial(self._tell, "watch"), every=every), "watch")
            self._begin(self._trainings.run(self._leads, partial(self._tell, "trainings")), "trainings")

    async def aclose(self) -> None:
        """Finish or record what is under way, then stop."""
        self._folders.stop()
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None
        await self.stop_engine()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS), self._tick_lock:
                pass
        rounds = (self._publisher, self._reconciler, self._comments)
        await asyncio.gather(*(one.aclose(STOP_SECONDS) for one in rounds))
        if self._token_task is not None:
            await asyncio.wait({self._token_task}, timeout=STOP_SECONDS)
            self._tasks.append(self._token_task)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(self._pool.aclose(), self._jobs.aclose())

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    # Generation

    async def follow_leadership(self) -> None:
        """Run the engine while this process leads, and only then."""
        if self._leadership.leads and self._engine_task is None:
            self._start_engine()
        elif not self._leadership.leads and self._engine_task is not None:
            await self.stop_engine()

    def _start_engine(self) -> None:
        comfyui = self._settings.comfyui
        minutes = comfyui.daily_max_gpu_minutes
        daily = DailyLimit(
            comfyui.daily_max_pictures, None if minutes is None else minutes * 60, self._settings.default_zone
        )
        self._engine_stop = asyncio.Event()
        self.engine = Engine(
            self._scope,
            self._resources.media,
            self._resources.endpoints(),
            options=EngineOptions(
                depth=comfyui.depth, ahead=comfyui.ahead, timeout=comfyui.timeout, daily=daily
            ),
        )
        self._engine_task = asyncio.create_task(self.engine.run(self._engine_stop), name="engine")

    async def stop_engine(self) -> None:
        """Stop generating; what ComfyUI has in its queue is found again by the next engine."""
        task, self._engine_task, self.engine = self._engine_task, None, None
        if task is None:
            return
        self._engine_stop.set()
        done, _ = await asyncio.wait({task}, timeout=STOP_SECONDS)
        if not done:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _leads(self) -> bool:
        return self._leadership.leads

    def _tell(self, part: str, sentence: str) -> None:
        if sentence:
            self._trouble.say(part, sentence)
        else:
            self._trouble.settle(part)

    # The tick

    def _start_ticking(self) -> None:
        # It would log each tick, which is each second in the sandbox.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._scheduler.add_job(
            self._scheduled_tick,
            "interval",
            seconds=TICK_SECONDS[self._settings.environment],
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )
        self._scheduler.start()

    def _clock_jumped(self, sentence: str) -> None:
        """APScheduler goes by the wall clock and, set back, would wait as long."""
        self._trouble.say("clock", sentence)
        asyncio.get_running_loop().call_later(JUMP_SHOWN, self._trouble.settle, "clock")
        for job in self._scheduler.get_jobs() if self._scheduler is not None else ():
            job.modify(next_run_time=datetime.now(UTC))

    async def _scheduled_tick(self) -> None:
        try:
            await self.tick(await to_thread(self._resources.now))
            self._trouble.settle("tick")
            self.good_rounds += 1
        except asyncio.CancelledError:
            pass  # APScheduler ends rounds under way when it is shut down, and would log this as an error
        except PersonaError as problem:
            self._trouble.say("tick", problem.message)
            log.warning("tick failed", problem=problem.message)
        except Exception:
            self._trouble.say("tick", "The scheduler's tick failed; the log has the details.")
            log.exception("tick failed")

    async def look_after_trainings(self) -> None:
        """Look after trainings once, without waiting for the next look. Only the leader may."""
        await self._trainings.catch_up(take_up=True)

    async def tick(self, now: datetime) -> bool:
        """Do what is due: reconcile, publish, rescue stalled jobs, pass gates. Only the leader does anything.

        Args:
            now: the database's clock, UTC.

        Returns:
            Whether this process led and did its round.
        """
        async with self._tick_lock:
            if not await to_thread(self._leadership.still_leads):
                return False
            if await to_thread(current_revision, self._resources.database) != self._schema:
                self._trouble.say("schema", "Another version changed the database; this process stands down.")
                await to_thread(self._leadership.resign)
                return False
            await self._reconciler.tick(now)
            await self._publisher.tick(now)
            await to_thread(self._upkeep.tick, now)
            await self._comments.tick()
            self._keep_tokens()
            await self._jobs.sweep()
            await self._jobs.queue_analyses()
            await self._pass_gates()
            self.last_tick = now
        await self._ping_dead_man()
        return True

    def _keep_tokens(self) -> None:
        """Look at tokens beside the rounds: a service that hangs holds up no post."""
        if self._token_task is None or self._token_task.done():
            self._token_task = asyncio.create_task(self._look_at_tokens(), name="tokens")

    async def _look_at_tokens(self) -> None:
        try:
            await self._tokens.tick()
            self._trouble.settle("tokens")
        except Exception as problem:  # the driver and the pool each raise their own
            self._trouble.say("tokens", "Tokens can't be looked at; the log has the details.")
            log.warning("tokens not looked at", problem=type(problem).__name__)

    async def _pass_gates(self) -> None:
        """Night mode: go on with runs that may without the operator."""
        if await to_thread(self._night.tick) and self.engine is not None:
            self.engine.wake()

    async def look_at(self, post_id: int) -> AccountListing:
        """Look at the account for a post that may be published already; changes nothing at Instagram.

        Raises:
            NotAllowedNow: there is no doubt about the post.
            ClientError: Instagram can't be read.
        """
        return await self._reconciler.look(post_id)

    async def preview(self, post_id: int) -> tuple[PreviewedFile, ...]:
        """The very files that go out for a post."""
        folder = self._settings.data_dir / "previews"
        return await preview_post(self._scope, self._resources.media, self._pool, folder, post_id)

    def _publishing_parts(self) -> dict[str, Any]:
        return {
            "make_client": self._resources.instagram_client,
            "keyring": self._resources.keyring,
            "settings": self._settings,
            "owner": this_process().id,
        }

    async def _ping_dead_man(self) -> None:
        """Tell an outside watcher that the round was good: a dead host can't report itself (R8)."""
        url = self._settings.notify.dead_man_url
        if url is None:
            return
        service = HttpService("The dead-man watcher", url, timeout=5.0)
        try:
            await service.send("GET", "")
        except (PersonaError, httpx.HTTPError) as problem:
            log.warning("dead-man ping failed", problem=str(problem))
        finally:
            await service.aclose()
