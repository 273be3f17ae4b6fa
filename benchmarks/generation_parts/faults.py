"""Pictures lost, doubled or stuck: kill -9 of the app at every boundary, and of the server at random (R22).

The app's boundaries (before and after each commit; before and after the bytes of each HTTP request, and after
its answer) are found by counting: a run of pictures is killed at the n-th for n = 1, 2, … until one passes
untouched, for each of 20 seeds that set pictures, depth and the run's own seed. After each kill a new process
brings the run to its end. Then each place must hold exactly one picture, and the server must not have made
one for nothing. The server is killed at random moments of a run; it may have to make a picture again.
"""

from __future__ import annotations

import os
import queue
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import text

from generation_parts.fault_child import KILLED, STUCK, MortalServer, Task, end, mortal_server, start
from generation_parts.studio import Studio, studio, timed_graph
from persona_tui.services.generation.pipelines import import_pipeline
from persona_tui.services.generation.runs import RunInput, create_run
from report import Figure

SEEDS, SERVER_KILLS = 20, 100
SHARES, MOST_WORLDS = 4, 16
"""Parts of a seed's boundaries that may be gone through at the same time; databases with servers at once."""
QUICK_BOUNDARIES, QUICK_SERVER_KILLS = 8, 4
PICTURE_SECONDS = 0.05
HITS_WANTED = 95.0

PLACES = """
SELECT s.state, array_agg(c.sha256) FILTER (WHERE c.id IS NOT NULL) AS pictures
FROM generation_slots s LEFT JOIN image_candidates c ON c.slot_id = s.id
WHERE s.run_id = :run GROUP BY s.id ORDER BY s.id
"""


@dataclass
class Tally:
    """What kills did."""

    tries: int = 0
    hits: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    for_nothing: int = 0
    boundaries: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, tallies: Sequence[Tally]) -> Tally:
        """All of them together."""
        whole = cls()
        for tally in tallies:
            for name, value in vars(tally).items():
                setattr(whole, name, getattr(whole, name) + value)
        return whole

    @property
    def hit_percent(self) -> float:
        """Kills that ended a process, of those that were tried."""
        return 100 * self.hits / self.tries if self.tries else 0.0


def figures(quick: bool) -> Iterator[Figure]:
    """Kill, count, and print what was hit; several worlds at once, as there are cores."""
    with tempfile.TemporaryDirectory(prefix="persona-bench-") as name, ExitStack() as stack:
        count = 1 if quick else max(1, min(MOST_WORLDS, os.cpu_count() or 1))
        worlds: queue.Queue[World] = queue.Queue()
        for number in range(count):
            worlds.put(stack.enter_context(world(Path(name) / str(number))))
        with ThreadPoolExecutor(count) as pool:
            yield from app_figures(kill_app(pool, worlds, quick))
            histogram(Path(name).glob("*/trace"))
            yield from server_figures(kill_server(pool, worlds, quick))


@dataclass(frozen=True)
class World:
    """A database, a store and a server of their own; `trace` gets the boundaries at which processes end."""

    made: Studio
    server: MortalServer
    trace: Path


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """A world in a folder of its own."""
    with studio() as made, mortal_server(folder / "server", PICTURE_SECONDS) as server:
        with made.database.session_scope() as session:
            step = {"name": "picture", "workflow": timed_graph("sandbox", PICTURE_SECONDS)}
            import_pipeline(session, {"name": "faults", "steps": [step]})
        yield World(made, server, folder / "trace")


@contextmanager
def borrowed(worlds: queue.Queue[World]) -> Iterator[World]:
    """A world that nobody else uses meanwhile."""
    one = worlds.get()
    try:
        yield one
    finally:
        worlds.put(one)


def app_figures(app: Tally) -> Iterator[Figure]:
    """The figures of the app's kills."""
    yield Figure("faults, boundaries found (least of all seeds)", min(app.boundaries), "", ">=", 30)
    yield Figure("faults, app kills tried", app.tries, "")
    yield Figure("faults, app kills that hit", app.hit_percent, "%", ">=", HITS_WANTED)
    yield Figure("faults, app kills: lost", app.lost, "", "==", 0)
    yield Figure("faults, app kills: doubled", app.doubled, "", "==", 0)
    yield Figure("faults, app kills: stuck", app.stuck, "", "==", 0)
    yield Figure("faults, app kills: made for nothing", app.for_nothing, "", "==", 0)


def server_figures(server: Tally) -> Iterator[Figure]:
    """The figures of the server's kills."""
    yield Figure("faults, server kills that hit a run", server.hits, "", ">=", SERVER_KILLS, full=True)
    yield Figure("faults, server kills: lost", server.lost, "", "==", 0)
    yield Figure("faults, server kills: doubled", server.doubled, "", "==", 0)
    yield Figure("faults, server kills: stuck", server.stuck, "", "==", 0)
    yield Figure("faults, server kills: pictures made again", server.for_nothing, "")


def kill_app(pool: Executor, worlds: queue.Queue[World], quick: bool) -> Tally:
    """Kill the app at each boundary in turn, seed by seed; quick: at some boundaries of one seed."""
    if quick:
        return _kill_at_some(worlds, 0)
    shares = [(seed, share) for seed in range(SEEDS) for share in range(SHARES)]
    found: dict[int, list[Tally]] = {}
    for (seed, _), tally in zip(
        shares, pool.map(lambda each: _kill_at_share(worlds, *each), shares), strict=True
    ):
        found.setdefault(seed, []).append(tally)
        if len(found[seed]) == SHARES:
            print(f"faults: seed {seed}: {Tally.of(found[seed])}", flush=True)
    whole = Tally.of([tally for tallies in found.values() for tally in tallies])
    return replace(whole, boundaries=[max(Tally.of(tallies).boundaries) for tallies in found.values()])


def _kill_at_share(worlds: queue.Queue[World], seed: int, share: int) -> Tally:
    """Kill at each n-th boundary of a seed's run, until one passes untouched."""
    tally = Tally()
    with borrowed(worlds) as here:
        pictures, base = _plan(here, seed)
        for point in range(1 + share, 10_000, SHARES):
            if not _one_kill(here, base, pictures, seed, point, tally):
                tally.boundaries.append(point - 1)
                return tally
    return tally


def _kill_at_some(worlds: queue.Queue[World], seed: int) -> Tally:
    tally = Tally()
    with borrowed(worlds) as here:
        pictures, base = _plan(here, seed)
        found = _count_boundaries(here, base, pictures, seed)
        tally.boundaries.append(found)
        for point in sorted(random.Random(seed).sample(range(1, found + 1), QUICK_BOUNDARIES)):
            _one_kill(here, base, pictures, seed, point, tally)
    return tally


def _plan(here: World, seed: int) -> tuple[int, Task]:
    rng = random.Random(f"faults {seed}")
    pictures, depth = rng.randint(1, 3), rng.randint(1, 3)
    return pictures, Task(here.made.settings, here.server.url, here.server.token, depth, here.trace)


def _one_kill(here: World, base: Task, pictures: int, seed: int, point: int, tally: Tally) -> bool:
    """One run that is killed at a boundary and brought to its end; whether the kill came to pass."""
    run_id, before = order(here.made, pictures, seed), len(here.server.saved())
    code = end(start(replace(base, kill_at=point), point), base.patience)
    if code == 0:
        judge(here, run_id, before, tally)
        return False
    tally.tries += 1
    tally.hits += code == KILLED
    if end(start(base, point), base.patience) == STUCK:
        tally.stuck += 1
    judge(here, run_id, before, tally)
    return True


def _count_boundaries(here: World, base: Task, pictures: int, seed: int) -> int:
    """How many boundaries a run crosses."""
    file = base.trace.with_name("count")
    order(here.made, pictures, seed)
    end(start(replace(base, count=file), 1), base.patience)
    return int(file.read_text())


def kill_server(pool: Executor, worlds: queue.Queue[World], quick: bool) -> Tally:
    """Kill the server at random moments of runs."""
    wanted = QUICK_SERVER_KILLS if quick else SERVER_KILLS
    tallies = pool.map(lambda number: _kill_server_until_hit(worlds, number), range(wanted))
    tally = Tally.of(list(tallies))
    print(f"faults: server: {tally}", flush=True)
    return tally


def _kill_server_until_hit(worlds: queue.Queue[World], number: int) -> Tally:
    """Kill the server in runs until it is hit while it is busy with one, three times at most."""
    tally, rng = Tally(), random.Random(f"faults of the server {number}")
    with borrowed(worlds) as here:
        while not tally.hits and tally.tries < 3:
            run_id, before = order(here.made, 4, number), len(here.server.saved())
            task = Task(here.made.settings, here.server.url, here.server.token, rng.randint(1, 3), here.trace)
            child = start(task, number)
            while not is_under_way(here.made, run_id):
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.6))
            tally.tries += 1
            was_busy = is_under_way(here.made, run_id)
            tally.hits += here.server.kill_and_restart() and was_busy
            if end(child, task.patience) == STUCK:
                tally.stuck += 1
            judge(here, run_id, before, tally)
    return tally


def order(made: Studio, pictures: int, seed: int) -> int:
    """A run of so many pictures."""
    with made.database.session_scope() as session:
        asked = {
            "pipeline": "faults",
            "prompt": "a celadon vase",
            "seed": seed * 10_000 + time.monotonic_ns() % 10_000,
            "steps": {1: {"children_per_parent": pictures}},
        }
        return create_run(session, RunInput.model_validate(asked)).id


def is_under_way(made: Studio, run_id: int) -> bool:
    """Whether a job of the run is on the server."""
    with made.database.session_scope() as session:
        found = session.execute(
            text(
                "SELECT EXISTS (SELECT FROM comfyui_jobs WHERE run_id = :run"
                " AND state IN ('submitting', 'submitted', 'running', 'storing'))"
            ),
            {"run": run_id},
        )
        return bool(found.scalar_one())


def judge(here: World, run_id: int, before: int, tally: Tally) -> None:
    """Hold what the database has against what the server made."""
    with here.made.database.session_scope() as session:
        places = session.execute(text(PLACES), {"run": run_id}).all()
    pictures = [place.pictures or [] for place in places]
    kept = {picture for held in pictures for picture in held}
    tally.lost += sum(not held for held in pictures)
    tally.doubled += sum(len(held) > 1 for held in pictures)
    tally.for_nothing += len(set(here.server.saved()[before:]) - kept)


def histogram(traces: Iterable[Path]) -> None:
    """Print at which kinds of boundaries processes ended."""
    names = Counter(name for trace in traces for name in trace.read_text().split())
    for name, count in names.most_common():
        print(f"faults: {name:20} {count:5} {'█' * max(1, 40 * count // max(names.values()))}", flush=True)
