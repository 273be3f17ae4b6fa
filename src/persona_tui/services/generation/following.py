"""Following a server's events by websocket: progress and previews for the screen, and what has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from persona_tui.clients.comfyui import (
    ComfyEvent,
    Executed,
    Executing,
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    HistoryEntry,
    Idle,
    OutputFile,
    Preview,
    Progress,
)
from persona_tui.errors import ClientError
from persona_tui.services.generation.bench import Bench
from persona_tui.services.generation.health import JobStatus
from persona_tui.services.generation.jobs import LiveJob

log = structlog.get_logger("persona_tui.generation")

FIRST_DELAY, LONGEST_DELAY = 0.1, 15.0
ENDED = (ExecutionSuccess, ExecutionError, ExecutionInterrupted, Idle)


@dataclass
class Shown:
    """A job on the server as the screen shows it.

    Attributes:
        running_since, ended_at: on the loop's clock.
        outputs: what its nodes were told to have given.
        whole: every event since it began was heard, so nothing is missing in `outputs`.
        succeeded: its success was told.
    """

    job: LiveJob
    progress: float = 0.0
    started: datetime | None = None
    running_since: float | None = None
    ended_at: float | None = None
    preview: bytes | None = None
    outputs: dict[str, tuple[OutputFile, ...]] = field(default_factory=dict)
    whole: bool = False
    succeeded: bool = False

    @property
    def seconds(self) -> float | None:
        """From its beginning to its end by our clock; None where either was not heard."""
        if self.running_since is None or self.ended_at is None:
            return None
        return self.ended_at - self.running_since

    @property
    def entry(self) -> HistoryEntry | None:
        """What its history will say, where the events told all of it: a good end, and pictures."""
        if self.whole and self.succeeded and any(self.outputs.values()):
            return HistoryEntry(str(self.job.prompt_id), "success", self.outputs)
        return None


class Follower:
    """One endpoint's event stream. What it misses while it is cut off, the next survey finds.

    Attributes:
        connected: the stream is up.
        shown: prompt id → the job that runs or waits there.
    """

    def __init__(self, bench: Bench, on_change: Callable[[], None], on_return: Callable[[], None]) -> None:
        """Args:
        on_change: called when a job began or ended.
        on_return: called when the stream is up (again): events were missed, the server may have restarted.
        """
        self._bench = bench
        self._on_change = on_change
        self._on_return = on_return
        self.connected = False
        self.shown: dict[str, Shown] = {}
        self._started: list[LiveJob] = []
        self._ended: list[Shown] = []
        self._pending: tuple[str, ...] = ()

    async def run(self) -> None:
        """Follow, reconnect with a growing pause, until cancelled."""
        delay = FIRST_DELAY
        while True:
            try:
                async for event in self._bench.client.events(self._bench.client_id):
                    if not self.connected:
                        self.connected, delay = True, FIRST_DELAY
                        self._on_return()
                    self._note(event)
            except ClientError as problem:
                log.debug("no events", endpoint=self._bench.url, problem=problem.message)
            except Exception:
                log.exception("events can't be followed", endpoint=self._bench.url)
            if self.connected:
                self.connected = False
                self._miss()
                self._on_change()
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY)

    def track(self, job: LiveJob) -> None:
        """Show a job that is on the server; the timeout of one that ran before our start goes on."""
        shown = self.shown.setdefault(str(job.prompt_id), Shown(job))
        if job.state == "running" and job.running_for is not None and shown.running_since is None:
            shown.running_since = asyncio.get_running_loop().time() - job.running_for
            shown.started = self._bench.clock() - timedelta(seconds=job.running_for)

    def forget(self, prompt_id: str) -> None:
        """Show it no longer."""
        self.shown.pop(prompt_id, None)

    def mark_running(self, prompt_id: str) -> None:
        """Note that a job began; its progress starts, and so does its timeout."""
        shown = self.shown.get(prompt_id)
        if shown is not None and shown.running_since is None:
            shown.started = self._bench.clock()
            shown.running_since = asyncio.get_running_loop().time()
            self._started.append(shown.job)

    def note_pending(self, prompt_ids: tuple[str, ...]) -> None:
        """Note what waits at the server, ours and others', the next one first."""
        self._pending = prompt_ids

    def take_started(self) -> list[LiveJob]:
        """Jobs that began since the last call."""
        started, self._started = self._started, []
        return started

    def take_ended(self) -> list[LiveJob]:
        """Tracked jobs whose end was told since the last call."""
        ended, self._ended = self._ended, []
        return [shown.job for shown in ended if str(shown.job.prompt_id) in self.shown]

    def job_status(self) -> tuple[JobStatus, ...]:
        """All tracked jobs."""
        return tuple(
            JobStatus(
                shown.job.id,
                shown.job.run_id,
                shown.job.position,
                shown.progress,
                shown.started,
                self._bench.url,
                position,
            )
            for shown, position in zip(self.shown.values(), self._positions(), strict=True)
        )

    def _positions(self) -> Iterator[int]:
        """Of each tracked job in the server's queue; between two looks at it ours are counted from memory."""
        ours = 0
        for prompt_id, shown in self.shown.items():
            if shown.running_since is not None:
                yield 0
                continue
            known = prompt_id in self._pending
            before = self._pending[: self._pending.index(prompt_id)] if known else self._pending
            others = sum(1 for other in before if other not in self.shown)
            yield 1 + ours + others
            ours += 1

    def _note(self, event: ComfyEvent) -> None:
        shown = self._shown_of(event)
        if shown is None:
            return
        if isinstance(event, ENDED):
            self._end(event, shown)
            return
        if isinstance(event, ExecutionStart | Executing | Progress):
            self.mark_running(str(shown.job.prompt_id))
        if isinstance(event, ExecutionStart):
            shown.whole, shown.outputs = True, {}
            self._on_change()
        elif isinstance(event, Executed):
            shown.outputs[event.node] = event.output
        elif isinstance(event, Progress):
            shown.progress = min(max(event.value / event.max, 0.0), 1.0) if event.max > 0 else 0.0
        elif isinstance(event, Preview):
            shown.preview = event.picture

    def _end(self, event: ComfyEvent, shown: Shown) -> None:
        """Note an end; two events tell of each."""
        shown.succeeded = shown.succeeded or isinstance(event, ExecutionSuccess)
        if shown.ended_at is None:
            shown.ended_at = asyncio.get_running_loop().time()
            self._ended.append(shown)
            self._on_change()

    def _miss(self) -> None:
        """Events are missed from now on: what jobs that run now give is for the history to say."""
        for shown in self.shown.values():
            shown.whole = False

    def _shown_of(self, event: ComfyEvent) -> Shown | None:
        """The job that an event is about; older servers' previews name none and are about what runs."""
        if event.prompt_id is not None or not isinstance(event, Preview):
            return self.shown.get(event.prompt_id or "")
        return next((one for one in self.shown.values() if one.running_since is not None), None)
