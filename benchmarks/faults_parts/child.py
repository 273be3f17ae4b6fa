"""Processes that publish and are killed on the way: `python -m benchmarks.faults_parts.child`.

Reads orders, one JSON object a line, and forks a child for each (R22): the parent holds no connection, no
loop and no thread, so a fork costs no imports. With `--once` it carries one order out itself. An order:

- `world`: facts, `seconds`: virtual time that it may take,
- `n`: the boundary at which it ends itself by SIGKILL; 0: none,
- `boundary` and `when`: SIGKILL at the first boundary of that name at which that SQL gives true.

Answers, one JSON object a line: the signal that ended the child (0: none), its exit code and the boundaries.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import tempfile
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

import psycopg
from benchmarks.faults_parts.clock import VirtualClock
from benchmarks.faults_parts.play import IN_A_CROWD, Player
from tests.support.publishing import world_of

from persona_tui import boundaries
from persona_tui.clients.http import HttpService
from persona_tui.database.engine import open_database
from persona_tui.logs import configure_logging
from persona_tui.settings import Settings


def main() -> None:
    """Carry out orders until the end of stdin."""
    HttpService("Nobody", "http://127.0.0.1:9", timeout=1.0)  # reads the certificates once for all children
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        with tempfile.NamedTemporaryFile() as reached:
            child = os.fork()
            if child == 0:
                publish(order, Path(reached.name))
            _, status = os.waitpid(child, 0)
            answer = {
                "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
                "exit": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
                **told(Path(reached.name)),
            }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def told(reached: Path) -> dict[str, Any]:
    """What a child wrote: the boundaries that it reached and, where it ended well, its memory's peak."""
    lines = reached.read_text().split()
    memory = [int(line.partition(":")[2]) for line in lines if line.startswith("memory:")]
    return {
        "boundaries": [line for line in lines if not line.startswith("memory:")],
        "memory_mb": memory[0] // 1024 if memory else 0,
    }


class _Killer:
    """Notes each boundary, and ends the process at the one that was ordered."""

    def __init__(self, order: dict[str, Any], eye: psycopg.Connection[Any], log: TextIO) -> None:
        self._order = order
        self._eye = eye
        self._log = log
        self._count = 0
        self._lock = threading.Lock()

    def __call__(self, boundary: str) -> None:
        with self._lock:
            self._log.write(boundary + "\n")
            self._count += 1
            if self._count == self._order.get("n") or self._is_there(boundary):
                os.kill(os.getpid(), signal.SIGKILL)

    def _is_there(self, boundary: str) -> bool:
        if boundary != self._order.get("boundary"):
            return False
        row = self._eye.execute(self._order["when"]).fetchone()
        return row is not None and bool(row[0])


def publish(order: dict[str, Any], reached: Path) -> None:
    """Play until nothing moves; never returns."""
    code = 1
    try:
        facts = order["world"]
        configure_logging(Path(facts["folder"]) / "child.log")  # stdout carries the answers
        settings = Settings(
            data_dir=Path(facts["data_dir"]),
            database_schema=facts["database_schema"],
            environment="sandbox",
        )
        database = open_database(settings, start=False)
        clock = VirtualClock(facts, database.conninfo("owner"))
        world = world_of(database, facts).with_gap(order.get("gap", 0))
        if order.get("crowd"):
            player = Player(world, clock, publish=IN_A_CROWD, real_time=True)
            code = 0 if asyncio.run(player.in_a_crowd(order["seconds"])) else 1
            return
        player = Player(world, clock)
        limit = timedelta(seconds=order["seconds"])
        with database.connect(autocommit=True) as eye, reached.open("a", buffering=1) as log:
            boundaries.observe(_Killer(order, eye, log))
            asyncio.run(player.until_still(limit))
            log.write(f"memory:{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\n")
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--once"]:
        publish(json.loads(sys.argv[2]), Path(sys.argv[3]))
    main()
