"""The generation engine: keeps every endpoint's queue filled, follows it, and survives a kill at any instant.

A job goes queued → submitting → submitted → running → storing → done, or failed, or cancelled; one that the
server forgot is queued again. What is about to happen is committed before it happens, under an id that the
server is asked for after a restart, so that nothing is lost and nothing is kept twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from persona_tui.errors import PersonaError
from persona_tui.services.generation import spending
from persona_tui.services.generation.bench import Bench, Endpoint, EngineOptions
from persona_tui.services.generation.capabilities import Yard
from persona_tui.services.generation.clerk import Clerk, SessionScope
from persona_tui.services.generation.endpoint import EndpointWorker
from persona_tui.services.generation.health import EndpointStatus, EngineStatus, Fleet, JobStatus
from persona_tui.services.generation.jobs import RetryPolicy
from persona_tui.services.generation.spending import DailyLimit
from persona_tui.services.media import MediaStore

COUNT_AGAIN = 1.0
"""Seconds, while the database is away."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Engine:
    """All endpoints' work in one asyncio loop; transactions run in one thread, pictures in others."""

    def __init__(
        self,
        scope: SessionScope,
        media: MediaStore,
        endpoints: Sequence[Endpoint],
        depth: int = 2,
        *,
        timeout: float = 30.0,
        options: EngineOptions | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        """Args:
        scope: opens a session that commits at its end.
        media: where pictures are kept.
        depth: jobs that each endpoint's queue is to hold at least.
        timeout: of one HTTP call of the clients, in seconds.
        options: all that can be set; depth and timeout are then taken from it.
        clock: UTC, for `{{timestamp}}` and what the screen shows; deadlines use the database's clock.
        """
        options = options or EngineOptions(depth=depth, timeout=timeout)
        fleet, yard = Fleet(endpoint.url for endpoint in endpoints), Yard()
        for endpoint in endpoints:
            yard.add(endpoint.url, endpoint.client)
        self._clerk = Clerk(scope)
        self._daily = options.daily
        self._fleet = fleet
        self._workers = tuple(
            EndpointWorker(
                Bench(endpoint, self._clerk, media, options, clock, yard=yard, healthy=fleet.healthy), fleet
            )
            for endpoint in endpoints
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; troubles become sentences in `status()`, never errors.

        What has been fetched by then is still stored; what the servers hold is found by the next engine.
        """
        try:
            await self._count_today(stop)
            await asyncio.gather(*(worker.run(stop) for worker in self._workers))
        finally:
            self._clerk.close()

    async def _count_today(self, stop: asyncio.Event) -> None:
        """Begin with what was spent today; the limits may be newer than the day's row."""
        while self._daily.exists and not stop.is_set():
            try:
                await self._clerk.run(lambda session: spending.adopt_today(session, self._daily))
                return
            except PersonaError as problem:
                self._fleet.notices = (problem.message,)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), COUNT_AGAIN)

    def wake(self) -> None:
        """Look for work now: a run was created, approved, resumed or cancelled."""
        for worker in self._workers:
            worker.wake()

    def status(self) -> EngineStatus:
        """What goes on, from memory: for screens, at any time."""
        return EngineStatus(
            tuple(worker.status() for worker in self._workers),
            tuple(job for worker in self._workers for job in worker.job_status()),
            (*self._fleet.notices, *(told for worker in self._workers if (told := worker.stumble))),
        )

    def preview(self, job_id: int) -> bytes | None:
        """The newest preview that a server sent of a running job: JPEG or PNG."""
        previews = (worker.preview(job_id) for worker in self._workers)
        return next((preview for preview in previews if preview is not None), None)


__all__ = [
    "DailyLimit",
    "Endpoint",
    "EndpointStatus",
    "Engine",
    "EngineOptions",
    "EngineStatus",
    "JobStatus",
    "RetryPolicy",
]
