"""Keeping one server's queue filled, beside everything else that goes on at it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlmodel import Session

from persona_tui.services import lease
from persona_tui.services.generation import boots, jobs, selection
from persona_tui.services.generation.bench import Bench
from persona_tui.services.generation.boots import Taken
from persona_tui.services.generation.depth import Depth
from persona_tui.services.generation.following import Follower
from persona_tui.services.generation.health import Fleet
from persona_tui.services.generation.jobs import Advance, LiveJob
from persona_tui.services.generation.submission import (
    Ready,
    Work,
    forget_prompt,
    load_works,
    make_ready,
    send_job,
    take_back,
)

FIRST, AT_ONCE = 2, 16
"""Jobs that are claimed by one commit and readied by one: few while the server waits for the first, and never
so many that a crash leaves a long row of them for the next survey."""


class Feeder:
    """Claims, readies and sends jobs in a task of its own, so that what ends meanwhile does not wait.

    Attributes:
        sent: prompt ids that this process sent, whose events are ours to hear.
        sending: ids of jobs that are on their way to the server.
    """

    def __init__(
        self,
        bench: Bench,
        fleet: Fleet,
        follower: Follower,
        depth: Depth,
        *,
        in_hand: Callable[[], int],
        on_change: Callable[[], None],
    ) -> None:
        """Args:
        in_hand: jobs on the server that have not ended there.
        on_change: called when a filling has ended.
        """
        self._bench = bench
        self._fleet = fleet
        self._follower = follower
        self._depth = depth
        self._in_hand = in_hand
        self._on_change = on_change
        self.sent: set[str] = set()
        self.sending: set[int] = set()
        self._to_send: list[int] = []
        self._steps: list[Advance] = []
        self._taken: list[Taken] = []
        self._filling: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._dry = False
        self._at_once = FIRST
        self._stopping = False

    def note(self, job: LiveJob, target: str) -> None:
        """Note what a job has come to; it is written down with one of the next transactions."""
        self._steps.append(Advance(job, target))

    def unnote(self, job: LiveJob) -> None:
        """What was noted of a job is no longer worth writing down: it is done."""
        self._steps = [step for step in self._steps if step.job.id != job.id]

    def look_again(self) -> None:
        """There may be work where there was none."""
        self._dry = False

    def begin(self, *, room: bool = True) -> None:
        """Begin to fill the queue when it runs low, and to write down what was noted.

        Args:
            room: there is room for more pictures in our store.

        Raises:
            What the last filling raised.
        """
        done, self._filling = _ended(self._filling)
        if done is not None:
            done.result()
        low = self._to_send or (self._in_hand() <= self._depth.low and not self._dry)
        if self._filling is None and room and low:
            self._filling = asyncio.create_task(self._fill(), name=f"filling {self._bench.url}")
        done, self._writing = _ended(self._writing)
        if done is not None:
            done.result()
        if self._writing is None and (self._steps or self._taken):
            self._writing = asyncio.create_task(self._write_soon(), name=f"notes of {self._bench.url}")

    async def settle(self, seconds: float) -> None:
        """Send what is on its way and no more; the rest is free for the next engine."""
        self._stopping = True
        running = [task for task in (self._filling, self._writing) if task is not None]
        if running:
            _, late = await asyncio.wait(running, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _write_soon(self) -> None:
        """Write notes down; of short jobs not before many have gathered, some of which are done by then."""
        await asyncio.sleep(2 * self._depth.linger)
        await self.write_notes()

    async def write_notes(self) -> None:
        """Write down now what jobs have come to."""
        if not (self._steps or self._taken):
            return
        await self._bench.share((1, 0), _write_down, self._bench.url, *self._take_notes())

    def _take_notes(self) -> tuple[list[Taken], list[Advance]]:
        taken, self._taken = self._taken, []
        steps, self._steps = self._steps, []
        return taken, steps

    async def _fill(self) -> None:
        try:
            while not self._stopping and (self._to_send or self._in_hand() < self._depth.target):
                if not await self._fill_some():
                    break
        finally:
            self.sending = set()
            self._on_change()

    async def _fill_some(self) -> bool:
        """Claim and send some jobs, few at first, since the server waits; whether there may be more."""
        in_hand = self._in_hand()
        wanted = min(max(0, self._depth.target - in_hand), self._at_once)
        works = await self._bench.transact(self._take_up, *self._take_notes(), in_hand + wanted)
        self._to_send = [work.job.id for work in works]
        self.sending = set(self._to_send)
        self._dry = len(works) < wanted
        self._at_once = FIRST if self._dry else min(2 * self._at_once, AT_ONCE)
        if works and self._stopping:
            await self._bench.transact(_let_go, works)
        elif works:
            await self._send(await make_ready(self._bench, works))
        self._to_send = []
        return not self._dry

    def _take_up(
        self, session: Session, taken: Sequence[Taken], steps: Sequence[Advance], depth: int
    ) -> tuple[Work, ...]:
        """In one transaction: write the notes down, claim what there is room for, read what it takes."""
        mine = tuple(self._to_send)
        _write_down(session, self._bench.url, taken, steps)
        if lease.kept_out(session, self._bench.url) is not None:
            return ()
        claimed = selection.claim(
            session,
            self._bench.url,
            depth,
            healthy=(self._bench.url, *self._fleet.healthy()),
            mine=mine,
            lease=self._bench.options.timeout,
            barred=self._bench.yard.barred_at(self._bench.url),
            daily=self._bench.options.daily,
        )
        return load_works(session, (*mine, *claimed))

    async def _send(self, ready: Sequence[Ready]) -> None:
        """Send what was committed to be sent; after an error or the end the rest is taken back."""
        unsent = deque(ready)
        try:
            while unsent and not self._stopping:
                taken = await self._send_one(unsent.popleft())
                if taken is not None and taken.restarted:
                    # The counter began anew: what follows is to be higher than this, no longer than before.
                    unsent = deque(replace(one, highest_number=taken.number) for one in unsent)
        finally:
            if unsent:
                await self._bench.transact(take_back, tuple(unsent))

    async def _send_one(self, ready: Ready) -> Taken | None:
        prompt_id = str(ready.job.prompt_id)
        # Tracked before it goes: its first events may be here before the answer is.
        self._follower.track(ready.job)
        self.sent.add(prompt_id)
        taken = None
        try:
            taken = await send_job(self._bench, ready)
        finally:
            if taken is None:
                self._follower.forget(prompt_id)
                self.sent.discard(prompt_id)
        if taken is None:
            return None
        if taken.restarted:
            # After the notes of the boot before, whose numbers are higher.
            await self._bench.transact(_write_down, self._bench.url, *self._take_notes())
            await self._bench.transact(boots.note_taken, self._bench.url, taken)
            self._bench.doubts.set()
        elif prompt_id in self._follower.shown:
            self._taken.append(taken)
        if prompt_id not in self._follower.shown:  # cancelled while it went
            await forget_prompt(self._bench, prompt_id)
        return taken


def _write_down(session: Session, url: str, taken: Sequence[Taken], steps: Sequence[Advance]) -> None:
    """What jobs have come to; the taken ones first, since further steps may be theirs."""
    if taken:
        boots.note_all_taken(session, url, taken)
    if steps:
        jobs.advance(session, steps)


def _let_go(session: Session, works: Sequence[Work]) -> None:
    """Give up claims on jobs that were not readied."""
    for work in works:
        jobs.requeue(session, work.job)


def _ended(
    task: asyncio.Task[None] | None,
) -> tuple[asyncio.Task[None] | None, asyncio.Task[None] | None]:
    """A task as (ended, still running)."""
    return (task, None) if task is not None and task.done() else (None, task)
