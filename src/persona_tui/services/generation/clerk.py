"""The engine's own thread for its short transactions; acts that wait together may share one commit.

A commit waits for the disk, which is most of what a small act takes. While one is under way the next acts
gather, so the slower the disk, the more of them share a commit, and the engine keeps its pace.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from sqlmodel import Session

R = TypeVar("R")

SessionScope: TypeAlias = Callable[[], AbstractContextManager[Session]]
Rank: TypeAlias = tuple[int, int]

MOST_SHARED = 32


@dataclass(frozen=True)
class _Errand:
    """An act that somebody waits for; `rank` None: it wants a transaction of its own."""

    act: Callable[[Session], Any]
    rank: Rank | None
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


@dataclass(frozen=True)
class _Answer:
    """What became of an errand."""

    errand: _Errand
    value: Any = None
    problem: BaseException | None = None


class Clerk:
    """Runs acts one after the other, in the order in which they came, in a thread of its own."""

    def __init__(self, scope: SessionScope) -> None:
        """Args:
        scope: opens a session that commits at its end.
        """
        self._scope = scope
        self._waiting: deque[_Errand] = deque()
        self._arrived = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False

    async def run(self, act: Callable[[Session], R], *, rank: Rank | None = None) -> R:
        """Run an act in a transaction.

        Args:
            rank: the act may share its transaction with others that have a rank, the lowest first. It must be
                fit to run again, since a transaction that fails for one is tried again for each alone, and it
                must take its locks in the order of ranks: first those of runs, by id.

        Raises:
            What the act or its commit raises.
        """
        loop = asyncio.get_running_loop()
        errand = _Errand(act, rank, loop, loop.create_future())
        with self._arrived:
            self._waiting.append(errand)
            self._begin()
            self._arrived.notify()
        result: R = await errand.future
        return result

    def close(self) -> None:
        """Let the thread end when all that waits is done."""
        with self._arrived:
            self._closing = True
            self._arrived.notify()

    def _begin(self) -> None:
        self._closing = False
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="generation clerk", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while errands := self._next():
            _tell(self._together(errands))

    def _next(self) -> list[_Errand]:
        """The next errands that share a transaction; none when the thread is to end."""
        with self._arrived:
            while not self._waiting:
                if self._closing:
                    self._thread = None
                    return []
                self._arrived.wait()
            taken = [self._waiting.popleft()]
            while taken[0].rank is not None and self._waiting and len(taken) < MOST_SHARED:
                if self._waiting[0].rank is None:
                    break
                taken.append(self._waiting.popleft())
        return sorted(taken, key=lambda errand: errand.rank or (0, 0))

    def _together(self, errands: Sequence[_Errand]) -> list[_Answer]:
        try:
            with self._scope() as session:
                return [_Answer(errand, errand.act(session)) for errand in errands]
        except BaseException as problem:
            if len(errands) == 1:
                return [_Answer(errands[0], problem=problem)]
        return [answer for errand in errands for answer in self._together([errand])]


def _tell(answers: Sequence[_Answer]) -> None:
    for loop in {answer.errand.loop for answer in answers}:
        with suppress(RuntimeError):  # a loop that was closed meanwhile waits for nothing
            loop.call_soon_threadsafe(_settle, [one for one in answers if one.errand.loop is loop])


def _settle(answers: Sequence[_Answer]) -> None:
    for answer in answers:
        future = answer.errand.future
        if future.done():
            continue
        if answer.problem is None:
            future.set_result(answer.value)
        else:
            future.set_exception(answer.problem)
