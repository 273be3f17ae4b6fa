"""Background jobs: procrastinate tasks that are deferred inside the domain's own transaction (R6).

Two Apps, since the async one can't defer from a sync connection while it is open: `make_worker_app` runs
tasks, `defer` writes a job by its task's name through the session's own connection.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import psycopg
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, UniqueViolation
from procrastinate.jobs import Status
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import NotAllowedNow, UnknownName
from persona_tui.text import clean

if TYPE_CHECKING:
    from persona_tui.services.media import MediaStore
    from persona_tui.services.writers import Writer
    from persona_tui.settings import Settings

TASK_MODULES = (
    "persona_tui.services.library.tasks",
    "persona_tui.services.planning.tasks",
    "persona_tui.services.voting.tasks",
)
"""Modules whose `make_blueprint` gives a room's tasks; named by path, since jobs lie below all rooms."""

STALLED_AFTER = 60
"""Seconds without a worker's heartbeat after which its jobs are taken up again."""
CONNECTION_SECONDS = 5.0
"""How long a worker's statement waits for a connection."""

_by_name = App(connector=SyncPsycopgConnector())

SessionScope = Callable[[], AbstractContextManager[Session]]


class Pool(Protocol):
    """The child process for CPU-heavy work."""

    async def run(self, work: Callable[..., Any], /, *arguments: Any) -> Any: ...


@dataclass(frozen=True)
class JobTools:
    """What a task may use; it reaches a task as `context.additional_context["tools"]`.

    Attributes:
        pool: the child process for short work.
        models: the one that holds a model for pictures, so that short work never waits behind it.
        seers: language models that are shown pictures, in the order in which they are asked.
        writers: language models that write, in the order in which they are asked.
        owner: opens a connection of the role that owns the tables, outside of any transaction.
    """

    scope: SessionScope
    media: MediaStore
    pool: Pool
    settings: Settings
    models: Pool
    seers: Sequence[Writer] = ()
    writers: Sequence[Writer] = ()
    owner: Callable[[], psycopg.Connection[Any]] | None = None


@dataclass(frozen=True)
class JobView:
    """A job as it is shown."""

    id: int
    task: str
    status: Literal["todo", "doing", "succeeded", "failed", "cancelled", "aborted"]
    attempts: int
    arguments: Mapping[str, Any]
    scheduled_at: datetime | None
    changed_at: datetime | None


def defer(
    session: Session,
    task: str,
    *,
    once: str | None = None,
    alone: str | None = None,
    wait: int = 0,
    **arguments: Any,
) -> int | None:
    """Write a job that exists if and only if the session's transaction commits.

    Args:
        task: the task's full name, `room:name`.
        once: a waiting job with the same word makes this one unneeded.
        alone: jobs with the same word run one after another.
        wait: seconds until it may begin.

    Returns:
        The job's id; None when `once` says that one waits already.
    """
    # Without a statement before it, the savepoint below would be a transaction that commits at once.
    session.execute(text("SELECT 1"))
    connection = cast(Any, session.connection().connection.driver_connection)
    later: Any = {"schedule_in": {"seconds": wait}} if wait else {}
    deferrer = _by_name.configure_task(task, connection=connection, queueing_lock=once, lock=alone, **later)
    try:
        # A duplicate would abort the whole transaction without this savepoint of the driver's own.
        with connection.transaction():
            return deferrer.defer(**arguments)
    except AlreadyEnqueued:
        return None


def make_worker_app(conninfo: str) -> App:
    """The App that runs tasks, with every room's tasks registered."""
    # The pool's own 30 s would be spent while the program ends, for each statement to a lost database.
    connector = PsycopgConnector(conninfo=conninfo, min_size=1, max_size=4, timeout=CONNECTION_SECONDS)
    app = App(connector=connector)
    for path in TASK_MODULES:
        module = importlib.import_module(path)
        app.add_tasks_from(module.make_blueprint(), namespace=module.NAMESPACE)
    return app


async def run_worker(app: App, tools: JobTools, *, name: str, concurrency: int = 2) -> None:
    """Work on jobs until cancelled; the app must be open."""
    await app.run_worker_async(
        name=name,
        concurrency=concurrency,
        install_signal_handlers=False,
        shutdown_graceful_timeout=5,
        additional_context={"tools": tools},
    )


async def rescue_stalled(app: App, seconds: float = STALLED_AFTER) -> int:
    """Take up again the jobs of workers that are gone; procrastinate does not do so by itself.

    Returns:
        How many jobs were taken up.
    """
    stalled = await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=seconds)
    count = 0
    for job in stalled:
        try:
            await app.job_manager.retry_job(job)
        except UniqueViolation:  # its like waits already, and may wait for the end of this one
            await app.job_manager.finish_job(job, Status.ABORTED, delete_job=False)
        count += 1
    return count


_LIST = """
SELECT j.id, j.task_name, j.status, j.attempts, j.args, j.scheduled_at,
       (SELECT max(e.at) FROM procrastinate_events e WHERE e.job_id = j.id)
FROM procrastinate_jobs j
WHERE CAST(:status AS text) IS NULL OR j.status::text = :status
ORDER BY j.id DESC LIMIT :limit
"""


def list_jobs(session: Session, *, status: str | None = None, limit: int = 100) -> tuple[JobView, ...]:
    """Jobs, the newest first."""
    rows = session.execute(text(_LIST), {"status": status, "limit": limit})
    return tuple(JobView(row[0], row[1], row[2], row[3], _cleaned(row[4]), row[5], row[6]) for row in rows)


def retry_job(session: Session, job_id: int) -> None:
    """Queue a failed job again.

    Raises:
        UnknownName: no such job.
        NotAllowedNow: it has not failed.
    """
    status = _status(session, job_id)
    if status != "failed":
        raise NotAllowedNow(f"Job {job_id} is {status}.", hint="Only a job that failed is run again.")
    session.execute(
        text("SELECT procrastinate_retry_job_v2(:job, persona_now(), NULL, NULL, NULL)"), {"job": job_id}
    )


def cancel_job(session: Session, job_id: int) -> None:
    """Cancel a job that waits.

    Raises:
        UnknownName: no such job.
        NotAllowedNow: it runs or has ended.
    """
    status = _status(session, job_id)
    if status != "todo":
        raise NotAllowedNow(f"Job {job_id} is {status}.", hint="Only a job that waits can be cancelled.")
    session.execute(text("SELECT procrastinate_cancel_job_v1(:job, false, false)"), {"job": job_id})


def _status(session: Session, job_id: int) -> str:
    status = session.execute(
        text("SELECT status::text FROM procrastinate_jobs WHERE id = :job"), {"job": job_id}
    ).scalar_one_or_none()
    if status is None:
        raise UnknownName(f"There is no job {job_id}.", hint="`persona-tui jobs list` shows them.")
    return str(status)


def _cleaned(arguments: Any) -> Mapping[str, Any]:
    return cast(dict[str, Any], json.loads(clean(json.dumps(arguments))))
