"""The engine in a process of its own that ends itself by SIGKILL, and a server that is killed from outside.

Children are forked from a server process that holds no engine, loop or thread, or are fresh interpreters.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from sqlalchemy import text

from persona_tui import boundaries
from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.database.engine import Database, open_database
from persona_tui.services.generation.engine import Endpoint, Engine, EngineOptions, RetryPolicy
from persona_tui.services.media import MediaStore
from persona_tui.settings import Settings

KILLED = -signal.SIGKILL
STUCK = 75
"""Exit code of a child whose runs did not come to rest in time."""
BUSY = "SELECT EXISTS (SELECT FROM pipeline_runs WHERE status IN ('pending', 'running'))"
FRESH_EVERY = 20

_forked = multiprocessing.get_context("forkserver")
_forked.set_forkserver_preload([__name__])
_fresh = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Task:
    """What a child does: run an engine until no run can progress.

    Attributes:
        kill_at: number of the boundary at which it ends itself; 0: none.
        trace: file that the boundary's name is appended to before the end.
        count: file that gets the number of boundaries crossed; None: nobody counts.
        patience: seconds after which it counts as stuck.
    """

    settings: Settings
    url: str
    token: str
    depth: int
    trace: Path
    kill_at: int = 0
    count: Path | None = None
    patience: float = 120.0


def start(task: Task, number: int) -> Any:
    """Begin a child; each twentieth is a fresh interpreter."""
    context = _fresh if number % FRESH_EVERY == 0 else _forked
    child = context.Process(target=_work, args=(task,))
    child.start()
    return child


def end(child: Any, patience: float) -> int:
    """Wait for a child; STUCK when it does not end by itself."""
    child.join(patience + 30)
    if child.exitcode is None:
        child.kill()
        child.join()
        return STUCK
    return int(child.exitcode)


def _work(task: Task) -> None:
    # That the server is away is what is wanted here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    database = open_database(task.settings)
    crossed = itertools.count(1)
    if task.kill_at:
        _die_at(task.kill_at, task.trace)
    elif task.count is not None:
        boundaries.observe(lambda _boundary: next(crossed) and None)
    rested = asyncio.run(_until_idle(task, database))
    boundaries.observe(None)
    if task.count is not None:
        task.count.write_text(str(next(crossed) - 1))
    database.dispose()
    if not rested:
        sys.exit(STUCK)


def _die_at(number: int, trace: Path) -> None:
    left, lock = number, threading.Lock()

    def observe(boundary: str) -> None:
        nonlocal left
        with lock:
            left -= 1
            if left == 0:
                with trace.open("a") as file:
                    file.write(f"{boundary}\n")
                os.kill(os.getpid(), signal.SIGKILL)

    boundaries.observe(observe)


async def _until_idle(task: Task, database: Database) -> bool:
    """Run an engine until no run can progress; whether that came in time."""
    options = EngineOptions(
        depth=task.depth,
        timeout=0.5,
        poll=0.05,
        check=0.2,
        give_up=60.0,
        retry=RetryPolicy(delays=(0.05, 0.1, 0.2), failures=50),
        previews=False,
    )
    endpoint = Endpoint(task.url, ComfyUIClient(task.url, task.token, timeout=5.0))
    engine = Engine(database.session_scope, MediaStore(task.settings), [endpoint], options=options)
    stop = asyncio.Event()
    running = asyncio.create_task(engine.run(stop))
    rested = True
    try:
        async with asyncio.timeout(task.patience):
            while await asyncio.to_thread(_is_busy, database):
                await asyncio.sleep(0.03)
    except TimeoutError:
        rested = False
    stop.set()
    await running
    return rested


def _is_busy(database: Database) -> bool:
    with database.engine.connect() as connection:
        return bool(connection.execute(text(BUSY)).scalar_one())


class MortalServer:
    """A sandbox that can be killed and comes back with its state, address and token."""

    def __init__(self, state: Path, seconds: float) -> None:
        """Args:
        seconds: that a picture takes.
        """
        self.state = state
        self.url, self.token = "", "bench"
        self._seconds = seconds
        self._start()

    def _start(self) -> None:
        arguments = ["--state", str(self.state), "--latency", str(self._seconds), "--image-size", "64x64"]
        if self.url:
            arguments += ["--comfyui-port", str(urlsplit(self.url).port)]
        self._child = subprocess.Popen(
            [sys.executable, "-m", "persona_tui.sandbox", *arguments, "--watch-parent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "SANDBOX_TOKEN": self.token},
        )
        assert self._child.stdout is not None
        self.url = json.loads(self._child.stdout.readline())["comfyui"]

    def kill_and_restart(self) -> bool:
        """End it by SIGKILL and bring it back; whether the kill was what ended it."""
        self._child.kill()
        code = self._child.wait()
        self._child.communicate()
        self._start()
        return code == KILLED

    def stop(self) -> None:
        """End it for good."""
        self._child.terminate()
        self._child.communicate()

    def saved(self) -> list[str]:
        """SHA-256 of each picture that it ever wrote, from its own ledger."""
        path = self.state / "comfyui" / "ledger.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        entries = [json.loads(line) for line in lines if line.endswith("\n")]
        return [entry["sha256"] for entry in entries if entry["event"] == "saved"]


@contextmanager
def mortal_server(state: Path, seconds: float) -> Iterator[MortalServer]:
    """A server in a folder of its own."""
    state.mkdir(parents=True)
    made = MortalServer(state, seconds)
    try:
        yield made
    finally:
        made.stop()
