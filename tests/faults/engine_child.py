"""An engine in a process of its own, which can end itself at a boundary, and the truth to compare it with."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import text
from tests.support.sandbox import SandboxProcess

from persona_tui import boundaries
from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.database.engine import Database, open_database
from persona_tui.services.generation import gates
from persona_tui.services.generation.engine import Endpoint, Engine, EngineOptions, RetryPolicy
from persona_tui.services.media import MediaStore
from persona_tui.settings import Settings

FAST = EngineOptions(
    depth=2,
    timeout=0.3,
    poll=0.05,
    check=0.2,
    give_up=0.1,
    retry=RetryPolicy(delays=(0.05, 0.1, 0.2)),
    previews=False,
)
ONE_AT_A_TIME = replace(FAST, depth=1, ahead=0)
KILLED = -signal.SIGKILL
BUSY = "SELECT EXISTS (SELECT FROM pipeline_runs WHERE status IN ('pending', 'running'))"

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Kill:
    """Where a process ends itself by SIGKILL.

    Attributes:
        boundary: name, see `persona_tui.boundaries`.
        when: SQL that must give true, or None.
        stored: only once a picture lies in the store.
        nth: the how-many-th boundary that fits; with the name '*' any boundary fits.
    """

    boundary: str
    when: str | None = None
    stored: bool = False
    nth: int = 1


@dataclass
class World:
    """A database, a server and a store of pictures of a test's own.

    Attributes:
        settings: the database's, with the store in a folder of its own.
        seen: pictures that the server had made before the test.
    """

    db: Database
    server: SandboxProcess
    settings: Settings
    seen: int

    def engine(self, options: EngineOptions = FAST, *more: SandboxProcess) -> Engine:
        """An engine in this process, over this server and more of them."""
        return make_engine(self.settings, self.db, _addresses(*more, self.server), options)

    async def run(self, *engines: Engine) -> None:
        """Run engines in this process until no run can progress."""
        await until_idle(self.db, *(engines or (self.engine(),)))

    def run_child(self, kill: Kill | None = None, options: EngineOptions = FAST) -> int:
        """Run an engine in a child process until no run can progress; returns its exit code."""
        return _in_child(_engine_main, self.settings, _addresses(self.server), kill, options)

    def choose_in_child(self, candidate_id: int, kill: Kill | None = None) -> int:
        """Choose a winner in a child process; returns its exit code."""
        return _in_child(_winner_main, self.settings, candidate_id, kill)

    def server_queue(self, server: SandboxProcess | None = None) -> list[Any]:
        """What runs and waits on the server, or on another one."""
        asked = server or self.server
        headers = {"Authorization": f"Bearer {asked.token}"}
        answer = httpx.get(f"{asked.comfyui}/queue", headers=headers, trust_env=False, verify=False).json()
        return [*answer["queue_running"], *answer["queue_pending"]]

    def saved(self) -> list[str]:
        """SHA-256 of each picture that the server has made in this test, in order."""
        return [entry["sha256"] for entry in ledger(self.server, "saved")][self.seen :]

    def kept(self, run_id: int, position: int = 1) -> list[str]:
        """SHA-256 of each picture that a run's step has; each place must have exactly one."""
        with self.db.session_scope() as session:
            rows = session.execute(text(_PLACES), {"run": run_id, "position": position}).all()
        assert [(row.state, len(row.pictures or ())) for row in rows] == [("filled", 1)] * len(rows)
        return [row.pictures[0] for row in rows]


_PLACES = """
SELECT s.state, array_agg(c.sha256 ORDER BY c.id) FILTER (WHERE c.id IS NOT NULL) AS pictures
FROM generation_slots s JOIN pipeline_run_steps st ON st.id = s.run_step_id
LEFT JOIN image_candidates c ON c.slot_id = s.id
WHERE s.run_id = :run AND st.position = :position GROUP BY s.id ORDER BY s.id
"""


def ledger(server: SandboxProcess, event: str) -> list[dict[str, Any]]:
    """What really happened at the server, from its own file: cheap enough to be asked again and again."""
    path = server.state / "comfyui" / "ledger.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    entries = (json.loads(line) for line in lines if line.endswith("\n"))
    return [entry for entry in entries if entry["event"] == event]


def _addresses(*servers: SandboxProcess) -> dict[str, str]:
    return {server.comfyui: server.token for server in servers}


def make_engine(
    settings: Settings,
    db: Database,
    addresses: dict[str, str],
    options: EngineOptions,
    *,
    timeout: float = 5.0,
) -> Engine:
    """An engine over some servers: URL → token. `timeout`: seconds of one call."""
    endpoints = [Endpoint(url, ComfyUIClient(url, key, timeout=timeout)) for url, key in addresses.items()]
    return Engine(db.session_scope, MediaStore(settings), endpoints, options=options)


def _in_child(main: Callable[..., None], *arguments: Any) -> int:
    child = _processes.Process(target=main, args=arguments)
    child.start()
    child.join(30)
    assert child.exitcode is not None, "the child did not end"
    return child.exitcode


def _engine_main(
    settings: Settings, addresses: dict[str, str], kill: Kill | None, options: EngineOptions
) -> None:
    database = open_database(settings)
    _watch(database, settings, kill)
    asyncio.run(until_idle(database, make_engine(settings, database, addresses, options)))
    database.dispose()


def _winner_main(settings: Settings, candidate_id: int, kill: Kill | None) -> None:
    database = open_database(settings)
    _watch(database, settings, kill)
    with database.session_scope() as session:
        gates.choose_winner(session, candidate_id, actor="operator")
    database.dispose()


async def until_idle(database: Database, *engines: Engine) -> None:
    """Run engines until no run can progress."""
    stop = asyncio.Event()
    running = [asyncio.create_task(engine.run(stop)) for engine in engines]
    while await asyncio.to_thread(is_busy, database):
        await asyncio.sleep(0.04)
    stop.set()
    await asyncio.gather(*running)


def is_busy(database: Database) -> bool:
    """Whether a run can progress."""
    return _is_true(database, BUSY)


def _watch(database: Database, settings: Settings, kill: Kill | None) -> None:
    if kill is None:
        return
    left = kill.nth
    lock = threading.Lock()

    def observe(boundary: str) -> None:
        nonlocal left
        if kill.boundary not in ("*", boundary) or not _fits(database, settings, kill):
            return
        with lock:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    boundaries.observe(observe)


def _fits(database: Database, settings: Settings, kill: Kill) -> bool:
    if kill.stored and not any(path.is_file() for path in originals(settings).rglob("*")):
        return False
    return kill.when is None or _is_true(database, kill.when)


def _is_true(database: Database, question: str) -> bool:
    with database.engine.connect() as connection:
        return bool(connection.execute(text(question)).scalar_one())


def originals(settings: Settings) -> Path:
    """Where the store keeps pictures."""
    assert settings.media.url is not None
    return Path(settings.media.url.removeprefix("file:"))
