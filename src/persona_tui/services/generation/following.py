"""Following a server's events by websocket: progress and previews for the screen, and what has ended."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from persona_tui.clients.comfyui import ComfyEvent
from persona_tui.errors import ClientError
from persona_tui.services.generation.bench import Bench
from persona_tui.services.generation.health import JobStatus
from persona_tui.services.generation.jobs import LiveJob

log = structlog.get_logger("persona_tui.generation")

FIRST_DELAY, LONGEST_DELAY = 0.1, 15.0
ENDED = frozenset({"execution_success", "execution_error", "execution_interrupted"})


@dataclass
class Shown:
    """A job on the server as the screen shows it; `running_since` on the loop's clock."""

    job: LiveJob
    progress: float = 0.0
    started: datetime | None = None
    running_since: float | None = None
    preview: bytes | None = None


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
        self._ended: deque[str] = deque(maxlen=256)

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
                self._on_change()
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY)

    def track(self, job: LiveJob) -> None:
        """Show a job that is on the server."""
        self.shown.setdefault(str(job.prompt_id), Shown(job))

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

    def take_started(self) -> list[LiveJob]:
        """Jobs that began since the last call."""
        started, self._started = self._started, []
        return started

    def take_ended(self) -> list[LiveJob]:
        """Tracked jobs whose end was told, each once."""
        ours = [prompt_id for prompt_id in self._ended if prompt_id in self.shown]
        for prompt_id in ours:
            self._ended.remove(prompt_id)
        return [self.shown[prompt_id].job for prompt_id in ours]

    def job_status(self) -> tuple[JobStatus, ...]:
        """All tracked jobs."""
        return tuple(
            JobStatus(shown.job.id, shown.job.run_id, shown.job.position, shown.progress, shown.started)
            for shown in self.shown.values()
        )

    def _note(self, event: ComfyEvent) -> None:
        prompt_id = event.prompt_id
        if prompt_id is None:
            return
        if event.type in ENDED:
            self._ended.append(prompt_id)
            self._on_change()
            return
        shown = self.shown.get(prompt_id)
        if shown is None:
            return
        if event.type in ("execution_start", "executing", "progress"):
            self.mark_running(prompt_id)
        if event.type == "execution_start":
            self._on_change()
        if event.type == "progress":
            shown.progress = _share(event.data.get("value"), event.data.get("max"))
        if event.preview is not None:
            shown.preview = event.preview


def _share(value: object, most: object) -> float:
    if isinstance(value, int | float) and isinstance(most, int | float) and most > 0:
        return min(max(value / most, 0.0), 1.0)
    return 0.0
