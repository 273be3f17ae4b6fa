"""Work on several accounts at once, that may outlast the round it was begun in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeVar

import structlog

log = structlog.get_logger("persona_tui.publishing")

R = TypeVar("R")


class Crew(Generic[R]):
    """At most `size` pieces of work at a time, at most one per key; results wait to be collected."""

    def __init__(self, size: int) -> None:
        self._room = asyncio.Semaphore(size)
        self._tasks: dict[int, asyncio.Task[R]] = {}

    def busy(self, key: int) -> bool:
        """Whether work under this key is waiting, under way or not collected."""
        return key in self._tasks

    def begin(self, key: int, work: Callable[[], Coroutine[Any, Any, R]]) -> None:
        """Begin, as soon as there is room."""

        async def in_turn() -> R:
            async with self._room:
                return await work()

        self._tasks[key] = asyncio.create_task(in_turn(), name=f"publishing account {key}")

    async def collect(self, patience: float) -> tuple[R, ...]:
        """Wait so many seconds at most; the results of all work that has ended. What failed is logged."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=patience)
        ended = {key: task for key, task in self._tasks.items() if task.done()}
        results = []
        for key, task in ended.items():
            del self._tasks[key]
            if task.cancelled():
                continue
            problem = task.exception()
            if problem is None:
                results.append(task.result())
            else:
                log.error("publishing failed", account=key, exc_info=problem)
        return tuple(results)

    async def aclose(self, patience: float) -> None:
        """Let running work end, then cancel what is left: every step of it can be taken up again."""
        await self.collect(patience)
        left = list(self._tasks.values())
        self._tasks.clear()
        for task in left:
            task.cancel()
        for task in left:
            with suppress(asyncio.CancelledError, Exception):
                await task


__all__ = ["Crew"]
