"""The part of a process's duties that is about background jobs: working on them, seeing to what is due."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import Callable

import structlog

from persona_tui.errors import StorageError
from persona_tui.pool import WorkPool
from persona_tui.resources import Resources
from persona_tui.services import jobs
from persona_tui.services.leadership import this_process
from persona_tui.services.library import analyses, embeddings
from persona_tui.services.library.staging import remove_deleted
from persona_tui.services.removals import remove_files

log = structlog.get_logger("persona_tui.duties")

RESCUE_SECONDS = 30.0
ANALYSE_SECONDS = 60.0
MODEL_SECONDS = 120.0
"""How long a model without work keeps its gigabyte."""
LOOK_ANYWAY_SECONDS = 3600.0
"""Jobs can be lost; a look over all pictures of 100,000 takes a second."""


class JobDuties:
    """The job worker of one process, and what its leader queues, takes up again and removes.

    Args:
        pool: children for short work; models have a pool of their own here.
        tell: gets a part's name with what is wrong with it, or with nothing once it is well.
    """

    def __init__(self, resources: Resources, pool: WorkPool, tell: Callable[[str, str], None]) -> None:
        self._resources = resources
        self._scope = resources.database.session_scope
        self._pool = pool
        self._models = WorkPool(idle=MODEL_SECONDS)
        self._tell = tell
        self._last_rescue = 0.0
        self._last_look: float | None = None
        self._looked_at: object = None

    async def aclose(self) -> None:
        """End the models' children."""
        await self._models.aclose()

    async def work(self) -> None:
        """Work on jobs until this is cancelled; no failure ends it."""
        tools = jobs.JobTools(
            self._scope,
            self._resources.media,
            self._pool,
            self._resources.settings,
            self._models,
            self._resources.seers,
            self._resources.writers,
            owner=lambda: self._resources.database.connect("owner", autocommit=True),
        )
        me = asyncio.current_task()
        assert me is not None
        while not me.cancelling():  # the worker swallows a cancellation when it fails while it ends
            try:
                app = jobs.make_worker_app(self._resources.database.conninfo())
                async with app.open_async():
                    await jobs.run_worker(app, tools, name=this_process().id)
            except asyncio.CancelledError:
                raise
            except Exception as problem:  # the driver, the pool and procrastinate each raise their own
                log.warning("job worker failed", problem=type(problem).__name__)
            await asyncio.sleep(2.0)

    async def sweep(self) -> None:
        """Take up stalled jobs, and remove files of deleted runs that a crash left behind, now and then."""
        loop_time = asyncio.get_running_loop().time()
        if loop_time - self._last_rescue < RESCUE_SECONDS:
            return
        self._last_rescue = loop_time
        app = jobs.make_worker_app(self._resources.database.conninfo())
        async with app.open_async():
            rescued = await jobs.rescue_stalled(app)
        if rescued:
            log.info("stalled jobs taken up again", count=rescued)
        try:
            await to_thread(self._remove_deleted)
            await to_thread(remove_files, self._scope, self._resources.media, rest=RESCUE_SECONDS)
            self._tell("files", "")
        except StorageError as problem:
            self._tell("files", problem.message)

    async def queue_analyses(self) -> None:
        """Have new candidates analysed, and all after a change of model; fetch CLIP's weights once."""
        loop_time = asyncio.get_running_loop().time()
        if self._last_look is None:  # a start has more urgent work
            self._last_look = loop_time
        if loop_time - self._last_look < ANALYSE_SECONDS:
            return
        self._last_look = loop_time
        settings = self._resources.settings

        def queue() -> object:
            able = analyses.abilities(settings)
            with self._scope() as session:
                found = (able, analyses.newest(session), loop_time // LOOK_ANYWAY_SECONDS)
                if found != self._looked_at:
                    analyses.queue_missing(session, able)
                if embeddings.may_fetch(settings) and self._looked_at is None:
                    jobs.defer(session, "library:fetch_clip", once="fetch clip")
                return found

        self._looked_at = await to_thread(queue)

    def _remove_deleted(self) -> None:
        with self._scope() as session:
            remove_deleted(session, self._resources.settings.library.restore_days)
