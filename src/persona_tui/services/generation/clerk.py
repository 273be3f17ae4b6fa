"""The engine's own thread for its short transactions; acts that wait together may share one commit.

A commit waits for the disk, which is most of what a small act takes. While one is under way the next acts
gather, so the slower the disk, the more of them share a commit, and the engine keeps its pace. Acts that may
linger wait a moment for others even where the disk is fast; acts of one kind are then one act on many things.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias, TypeVar

from sqlmodel import Session

R = TypeVar("R")
T = TypeVar("T")

SessionScope: TypeAlias = Callable[[], AbstractContextManager[Session]]
Rank: TypeAlias = tuple[int, int]

MOST_SHARED = 32


@dataclass(frozen=True)
class _Errand:
    """An act that somebody waits for.

    Attributes:
        act: takes a session and the things of all errands that share this act; returns a value for each.
        rank: None: it wants a transaction of its own.
        due: on the monotonic clock; until then it may wait for company.
    """

    act: Callable[[Session, Sequence[Any]], Sequence[Any]]
    thing: Any
    rank: Rank | None
    due: float
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
        result: R = await self._wait_for(lambda session, _: (act(session),), None, rank, 0.0)
        return result

    async def together(
        self, act: Callable[[Session, Sequence[T]], Sequence[R]], thing: T, *, rank: Rank, linger: float = 0.0
    ) -> R:
        """Run an act on a thing, together with all things that wait for the same act.

        Args:
            act: returns a value for each thing, in their order; it must be fit to run again, as in `run`.
            rank: as in `run`.
            linger: seconds that it may wait for others.

        Raises:
            What the act or its commit raises for this thing alone.
        """
        result: R = await self._wait_for(act, thing, rank, linger)
        return result

    async def _wait_for(
        self,
        act: Callable[[Session, Sequence[Any]], Sequence[Any]],
        thing: Any,
        rank: Rank | None,
        linger: float,
    ) -> Any:
        loop = asyncio.get_running_loop()
        errand = _Errand(act, thing, rank, time.monotonic() + linger, loop, loop.create_future())
        with self._arrived:
            self._waiting.append(errand)
            self._begin()
            self._arrived.notify()
        return await errand.future

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
            while (pause := self._pause()) is None or pause > 0:
                if pause is None and self._closing:
                    self._thread = None
                    return []
                self._arrived.wait(pause)
            taken = [self._waiting.popleft()]
            while taken[0].rank is not None and self._waiting and len(taken) < MOST_SHARED:
                if self._waiting[0].rank is None:
                    break
                taken.append(self._waiting.popleft())
        return sorted(taken, key=lambda errand: errand.rank or (0, 0))

    def _pause(self) -> float | None:
        """Seconds until there is something to do; None when nothing waits."""
        if not self._waiting:
            return None
        if self._closing or len(self._waiting) >= MOST_SHARED:
            return 0.0
        return max(0.0, min(errand.due for errand in self._waiting) - time.monotonic())

    def _together(self, errands: Sequence[_Errand]) -> list[_Answer]:
        try:
            with self._scope() as session:
                return [answer for group in _by_act(errands) for answer in _answers(session, group)]
        except BaseException as problem:
            if len(errands) == 1:
                return [_Answer(errands[0], problem=problem)]
        return [answer for errand in errands for answer in self._together([errand])]


def _by_act(errands: Sequence[_Errand]) -> Iterator[list[_Errand]]:
    return (list(group) for _, group in groupby(errands, key=lambda errand: errand.act))


def _answers(session: Session, errands: Sequence[_Errand]) -> list[_Answer]:
    values = errands[0].act(session, [errand.thing for errand in errands])
    return [_Answer(errand, value) for errand, value in zip(errands, values, strict=True)]


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
