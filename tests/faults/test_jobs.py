"""R6: a worker killed between a job's beginning and its commit; the job is done once more, and once."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from contextlib import aclosing

from sqlalchemy import text
from tests.support.database import throwaway_database
from tests.support.library import add_photo, photograph
from tests.support.world import make_persona

from persona_tui import boundaries
from persona_tui.database.engine import Database, open_database
from persona_tui.pool import WorkPool
from persona_tui.services import jobs
from persona_tui.services.library import analyses
from persona_tui.services.media import MediaStore
from persona_tui.settings import Settings

_processes = multiprocessing.get_context("forkserver")


async def work(database: Database, settings: Settings, *, rescue: bool) -> None:
    """Work until nothing waits."""
    pool, app = WorkPool(), jobs.make_worker_app(database.conninfo())
    async with aclosing(pool), app.open_async():
        if rescue:
            assert await jobs.rescue_stalled(app, seconds=0) == 1
        tools = jobs.JobTools(database.session_scope, MediaStore(settings), pool, settings, pool)
        await app.run_worker_async(
            wait=False, install_signal_handlers=False, additional_context={"tools": tools}
        )


def work_and_die(settings: Settings) -> None:
    """A worker that is killed when its task is about to commit."""
    database = open_database(settings)

    def die(boundary: str) -> None:
        if boundary == "commit:before":
            with database.connect(autocommit=True) as connection:
                busy = connection.execute("SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'")
                if busy.fetchone() == (1,):
                    os.kill(os.getpid(), signal.SIGKILL)

    boundaries.observe(die)
    asyncio.run(work(database, settings, rescue=False))


def test_r06_a_job_whose_worker_was_killed_is_done_once_more() -> None:
    with throwaway_database() as database:
        with database.session_scope() as session:
            persona_id = make_persona(session).id
            add_photo(session, MediaStore(database.settings), persona_id, photograph("coffee"))
            analyses.queue_kind(session, persona_id, "measures")
        child = _processes.Process(target=work_and_die, args=(database.settings,))
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL
        assert measured(database) == 0
        asyncio.run(work(database, database.settings, rescue=True))
        assert measured(database) == 1
        with database.session_scope() as session:
            statuses = session.execute(text("SELECT status::text FROM procrastinate_jobs")).scalars().all()
        assert list(statuses) == ["succeeded"]


def measured(database: Database) -> int:
    """Rows that the task writes."""
    with database.session_scope() as session:
        return int(session.execute(text("SELECT count(*) FROM picture_analyses")).scalar_one())
