"""Processes that publish and are killed on the way: `python -m benchmarks.faults_parts.child`.

Serves the orders of `tests.support.fork_server`, with `--once` one of them itself. Beside what is said there
an order holds `world` (facts), `seconds` (virtual time that it may take), `gap` (minutes between posts) and
`crowd` (real time beside other processes). The answer adds the memory's peak.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.faults_parts.clock import VirtualClock
from benchmarks.faults_parts.play import IN_A_CROWD, Player
from tests.support.fork_server import Killer, Order, database_of, serve
from tests.support.publishing import world_of

from persona_tui import boundaries
from persona_tui.clients.http import HttpService


def told(lines: list[str]) -> dict[str, Any]:
    """What a child wrote: the boundaries that it reached and, where it ended well, its memory's peak."""
    memory = [int(line.partition(":")[2]) for line in lines if line.startswith("memory:")]
    return {
        "boundaries": [line for line in lines if not line.startswith("memory:")],
        "memory_mb": memory[0] // 1024 if memory else 0,
    }


def publish(order: Order, reached: Path) -> None:
    """Play until nothing moves; never returns."""
    code = 1
    try:
        facts = order["world"]
        database = database_of(facts)
        clock = VirtualClock(facts, database.conninfo("owner"))
        world = world_of(database, facts).with_gap(order.get("gap", 0))
        if order.get("crowd"):
            player = Player(world, clock, publish=IN_A_CROWD, real_time=True)
            code = 0 if asyncio.run(player.in_a_crowd(order["seconds"])) else 1
            return
        player = Player(world, clock)
        limit = timedelta(seconds=order["seconds"])
        with database.connect(autocommit=True) as eye, reached.open("a", buffering=1) as log:
            boundaries.observe(Killer(order, eye, log))
            asyncio.run(player.until_still(limit))
            log.write(f"memory:{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\n")
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--once"]:
        publish(json.loads(sys.argv[2]), Path(sys.argv[3]))
    HttpService("Nobody", "http://127.0.0.1:9", timeout=1.0)  # reads the certificates once for all children
    serve(publish, told)
