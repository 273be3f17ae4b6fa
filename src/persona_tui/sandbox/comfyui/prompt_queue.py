"""Prompts that wait, the one that runs, and those that are done; all in memory, as in the real server."""

from __future__ import annotations

import asyncio
import copy
import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LONGEST_HISTORY = 10_000


@dataclass(frozen=True, eq=False)
class QueueItem:
    """One accepted prompt; the lowest number runs first."""

    number: float
    prompt_id: str
    graph: dict[str, Any]
    extra_data: dict[str, Any]
    outputs: list[str]

    def __lt__(self, other: QueueItem) -> bool:
        return (self.number, self.prompt_id) < (other.number, other.prompt_id)

    def listed(self) -> list[Any]:
        """As /queue and /history show it."""
        return [self.number, self.prompt_id, self.graph, self.extra_data, self.outputs]


class PromptQueue:
    """The queue and the history.

    Attributes:
        changed: called after each change of the number of waiting and running prompts.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._pending: list[QueueItem] = []
        self._arrived = asyncio.Event()
        self.running: QueueItem | None = None
        self.history: dict[str, dict[str, Any]] = {}

    @property
    def remaining(self) -> int:
        """Prompts that run or wait."""
        return len(self._pending) + (self.running is not None)

    @property
    def pending(self) -> list[QueueItem]:
        """Those that wait, in the heap's order, which is not sorted."""
        return list(self._pending)

    def put(self, item: QueueItem) -> None:
        """Let a prompt wait."""
        heapq.heappush(self._pending, item)
        self._arrived.set()
        self._changed()

    async def take(self) -> QueueItem:
        """Wait for the next prompt and make it the running one."""
        while not self._pending:
            self._arrived.clear()
            await self._arrived.wait()
        self.running = heapq.heappop(self._pending)
        self._changed()
        return self.running

    def done(self, item: QueueItem, result: dict[str, Any]) -> None:
        """Move the running prompt to the history.

        Args:
            result: `outputs`, `meta` and `status` of the history entry.
        """
        self.running = None
        if len(self.history) > LONGEST_HISTORY:
            self.history.pop(next(iter(self.history)))
        self.history[item.prompt_id] = {"prompt": item.listed(), **copy.deepcopy(result)}
        self._changed()

    def clear(self) -> list[str]:
        """Forget all that wait; returns their ids."""
        gone = [item.prompt_id for item in self._pending]
        self._pending = []
        self._changed()
        return gone

    def delete(self, prompt_id: object) -> bool:
        """Forget one that waits; False where none goes by that id."""
        for place, item in enumerate(self._pending):
            if item.prompt_id == prompt_id:
                self._pending.pop(place)
                heapq.heapify(self._pending)
                self._changed()
                return True
        return False

    def page(self, limit: int | None, offset: int) -> dict[str, dict[str, Any]]:
        """History entries, oldest first; a negative offset with a limit means the last ones."""
        ids = list(self.history)
        start = max(0, len(ids) - limit) if offset < 0 and limit is not None else max(0, offset)
        stop = None if limit is None else start + limit
        return {prompt_id: self.history[prompt_id] for prompt_id in ids[start:stop]}
