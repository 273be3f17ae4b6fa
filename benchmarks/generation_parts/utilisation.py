"""`utilisation`: how much of the time servers work, by their own books, while the engine feeds them.

Busy is the time from each prompt's start to its end, as the server's history dates them, over the time from
the first start to the last end. So the server's own moments between two prompts count as idle, too.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from generation_parts.predecessor import Predecessor
from generation_parts.studio import Graph, Server, Studio, run_until, sandboxes, servers, studio, timed_graph
from report import Figure

ONE, ONE_PICTURES, ONE_QUICK = 0.1, 300, 80
FOUR, FOUR_PICTURES, FOUR_QUICK = 0.25, 320, 96
PAUSE_SECONDS = 1.0
PREDECESSOR_SECONDS, PREDECESSOR_QUICK = 30.0, 12.0
LEAST = {1: 0.98, 4: 0.97}


@dataclass(frozen=True)
class Work:
    """What a server's history tells of a stretch of work; times in seconds.

    Attributes:
        starved: without a prompt that runs or waits.
        longest_gap: between an end and the next start.
    """

    prompts: int
    wall: float
    busy: float
    starved: float
    longest_gap: float

    @property
    def share(self) -> float:
        """Busy over wall."""
        return self.busy / self.wall


def figures(quick: bool, server: str) -> Iterator[Figure]:
    """One endpoint undisturbed and disturbed, the predecessor on it, and four endpoints likewise."""
    pictures = ONE_QUICK if quick else ONE_PICTURES
    with servers(server, ONE) as one:
        graph = timed_graph(server, ONE)
        yield from _measure("100ms", (one,), graph, pictures, disturbed=False)
        ours = yield from _measure("100ms_disturbed", (one,), graph, pictures, disturbed=True)
        yield from _predecessor(one, graph, PREDECESSOR_QUICK if quick else PREDECESSOR_SECONDS, ours)
    if server != "sandbox":
        return  # four real servers do not fit a machine without a card
    pictures = FOUR_QUICK if quick else FOUR_PICTURES
    with sandboxes(4, FOUR) as four:
        graph = timed_graph(server, FOUR)
        yield from _measure("4x250ms", four, graph, pictures, disturbed=False)
        yield from _measure("4x250ms_disturbed", four, graph, pictures, disturbed=True)


def _measure(
    name: str, places: Sequence[Server], graph: Graph, pictures: int, *, disturbed: bool
) -> Iterator[Figure]:
    """The least share among the servers; returns pictures per hour of all."""
    began = time.time()
    with studio() as here:
        here.order(graph, pictures)
        if disturbed:
            with _voter(here):
                asyncio.run(_disturbed(here, places, pictures))
        else:
            asyncio.run(run_until(here, here.engine(places), pictures))
    done = [worked(server, began) for server in places]
    for one in done:
        print(
            f"  {name}: {one.prompts} prompts in {one.wall:.1f} s, busy {one.share:.2%},"
            f" without a prompt {one.starved / one.wall:.2%}, longest gap {one.longest_gap * 1000:.0f} ms",
            flush=True,
        )
    least = min(one.share for one in done)
    yield Figure(f"utilisation_{name}", least, "of wall", ">=", LEAST[len(places)])
    return pictures * 3600 / max(one.wall for one in done)


def _predecessor(server: Server, graph: Graph, seconds: float, ours: float) -> Iterator[Figure]:
    began = time.time()
    per_hour = asyncio.run(Predecessor(server, graph).run(seconds))
    share = worked(server, began).busy / seconds
    print(f"  predecessor: busy {share:.2%}, {per_hour:.0f} pictures an hour; ours {ours:.0f}", flush=True)
    yield Figure("predecessor_utilisation", share, "of wall")
    yield Figure("pictures_per_hour", ours, "1/h", baseline=round(per_hour))
    yield Figure("pictures_per_hour_ratio", ours / per_hour, "×", ">=", 1.0)


async def _disturbed(place: Studio, places: Sequence[Server], pictures: int) -> None:
    """Run while the database stands still for a second, once a third of the pictures is there."""
    running = asyncio.create_task(run_until(place, place.engine(places), pictures))
    while not running.done():
        done, _ = await asyncio.to_thread(place.done)
        if done >= pictures // 3:
            await asyncio.to_thread(_pause, place)
            break
        await asyncio.sleep(0.25)
    await running


def _pause(place: Studio) -> None:
    """Stop every process of the database for a second."""
    assert place.database.server is not None and place.database.server.pid is not None
    postmaster = psutil.Process(place.database.server.pid)
    processes = [*postmaster.children(recursive=True), postmaster]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    time.sleep(PAUSE_SECONDS)
    for process in processes:
        process.send_signal(signal.SIGCONT)


@contextmanager
def _voter(place: Studio) -> Iterator[None]:
    script = Path(__file__).with_name("voter.py")
    child = subprocess.Popen(
        [sys.executable, str(script), str(place.settings.data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield
    finally:
        votes, _ = child.communicate("end\n")
    if int(votes or 0) == 0:
        raise SystemExit("Nobody voted meanwhile.")
    print(f"  {int(votes)} votes were cast meanwhile", flush=True)


def worked(server: Server, since: float) -> Work:
    """What a server did since a moment (seconds of the epoch), by its history."""
    headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}
    answer = httpx.get(f"{server.url}/history", headers=headers, trust_env=False, timeout=60)
    answer.raise_for_status()
    spans = sorted(span for span in map(_span, answer.json().values()) if span[0] >= since)
    gaps = [(before[1], after) for before, after in itertools.pairwise(spans)]
    return Work(
        prompts=len(spans),
        wall=spans[-1][1] - spans[0][0],
        busy=sum(end - start for start, end, _ in spans),
        starved=sum(max(0.0, min(arrived, start) - ended) for ended, (start, _, arrived) in gaps),
        longest_gap=max(start - ended for ended, (start, _, _) in gaps),
    )


def _span(entry: Mapping[str, Any]) -> tuple[float, float, float]:
    """Start, end and arrival of a prompt, in seconds of the epoch."""
    times = {name: data["timestamp"] / 1000 for name, data in entry["status"]["messages"]}
    start = times["execution_start"]
    end = max(times.values())
    return start, end, entry["prompt"][3].get("create_time", start * 1000) / 1000
