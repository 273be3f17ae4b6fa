"""`throughput_ratio`: the whole engine against the bare loop, by turns, on one server."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

from generation_parts.bare import BareLoop
from generation_parts.studio import (
    Graph,
    Server,
    Studio,
    run_until,
    servers,
    studio,
    timed_graph,
    trivial_graph,
)
from report import Figure

PICTURES, QUICK_PICTURES = 300, 100
TURNS, QUICK_TURNS = 3, 1
WARM_UP = 10
SECONDS = 0.05
SLOW_COMMIT = 0.003
LEAST_BARE_RATE = 80.0
CPU_MS = 10.0


@dataclass(frozen=True)
class Speed:
    """What one turn of the engine or the bare loop gave; `cpu`: milliseconds of all threads a picture."""

    rate: float
    cpu: float


def figures(quick: bool, server: str) -> Iterator[Figure]:
    """All lines: trivial graphs, the same with slow commits, and jobs of 50 ms."""
    pictures, turns = (QUICK_PICTURES, QUICK_TURNS) if quick else (PICTURES, TURNS)
    with servers(server, SECONDS) as one:
        trivial, timed = trivial_graph(), timed_graph(server, SECONDS)
        yield from _line("trivial", one, trivial, pictures, turns, 0.5)
        yield from _line("trivial_slow_commits", one, trivial, pictures, turns, 0.5, SLOW_COMMIT)
        yield from _line("50ms", one, timed, pictures, turns, 0.95)
        yield from _line("50ms_slow_commits", one, timed, pictures, turns, 0.95, SLOW_COMMIT)


def _line(
    name: str, server: Server, graph: Graph, pictures: int, turns: int, target: float, commit: float = 0.0
) -> Iterator[Figure]:
    asyncio.run(BareLoop(server, graph, WARM_UP).run())
    bare: list[Speed] = []
    ours: list[Speed] = []
    for _ in range(turns):
        bare.append(_measure_bare(server, graph, pictures))
        with studio() as place, place.slow_commits(commit) if commit else nullcontext():
            ours.append(_measure(place, server, graph, pictures))
    floor, rate = (statistics.median(speed.rate for speed in speeds) for speeds in (bare, ours))
    bare_cpu, cpu = (statistics.median(speed.cpu for speed in speeds) for speeds in (bare, ours))
    print(f"  {name}: bare {floor:.1f}/s, engine {rate:.1f}/s, {cpu:.2f} ms of CPU a picture", flush=True)
    yield Figure(f"throughput_ratio_{name}", rate / floor, "×", ">=", target, round(floor, 2))
    yield Figure(f"engine_cpu_{name}", cpu, "ms", "<=", CPU_MS, round(bare_cpu, 2))
    if name == "trivial":
        yield Figure("bare_rate_trivial", floor, "1/s", ">=", LEAST_BARE_RATE)


def _measure_bare(server: Server, graph: Graph, pictures: int) -> Speed:
    spent = time.process_time()
    rate = asyncio.run(BareLoop(server, graph, pictures).run())
    return Speed(rate, (time.process_time() - spent) * 1000 / pictures)


def _measure(place: Studio, server: Server, graph: Graph, pictures: int) -> Speed:
    """Pictures per second from the engine's start to the last one kept; warmed up like the bare loop."""
    place.order(graph, WARM_UP)
    asyncio.run(run_until(place, place.engine([server]), WARM_UP))
    place.order(graph, pictures)
    spent = time.process_time()
    seconds = asyncio.run(run_until(place, place.engine([server]), WARM_UP + pictures))
    return Speed(pictures / seconds, (time.process_time() - spent) * 1000 / pictures)
