"""Pictures lost, doubled or stuck: kill -9 of the app at every boundary, and of the server at random (R22).

The app's boundaries (before and after each commit; before and after the bytes of each HTTP request, and after
its answer) are found by counting: a run of pictures is killed at the n-th for n = 1, 2, … until one passes
untouched, for each of 20 seeds that set pictures, depth and the run's own seed. After each kill a new process
brings the run to its end. Then each place must hold exactly one picture, and the server must not have made
one for nothing. The server is killed at random moments of a run; it may have to make a picture again.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import text

from generation_parts.fault_child import KILLED, STUCK, MortalServer, Task, end, mortal_server, start
from generation_parts.studio import Studio, studio, timed_graph
from persona_tui.services.generation.pipelines import import_pipeline
from persona_tui.services.generation.runs import RunInput, create_run
from report import Figure

SEEDS, SERVER_KILLS = 20, 100
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

    @property
    def hit_percent(self) -> float:
        """Kills that ended a process, of those that were tried."""
        return 100 * self.hits / self.tries if self.tries else 0.0


def figures(quick: bool) -> Iterator[Figure]:
    """Kill, count, and print what was hit."""
    with tempfile.TemporaryDirectory(prefix="persona-bench-") as name, studio() as made:
        folder = Path(name)
        with mortal_server(folder / "server", PICTURE_SECONDS) as server:
            with made.database.session_scope() as session:
                step = {"name": "picture", "workflow": timed_graph("sandbox", PICTURE_SECONDS)}
                import_pipeline(session, {"name": "faults", "steps": [step]})
            trace = folder / "trace"
            app = kill_app(made, server, trace, quick)
            yield from app_figures(app)
            histogram(trace)
            yield from server_figures(kill_server(made, server, trace, quick))


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


def kill_app(made: Studio, server: MortalServer, trace: Path, quick: bool) -> Tally:
    """Kill the app at each boundary in turn, seed by seed; quick: at some boundaries of one seed."""
    tally, number = Tally(), 0
    for seed in range(1 if quick else SEEDS):
        rng = random.Random(f"faults {seed}")
        pictures, depth = rng.randint(1, 3), rng.randint(1, 3)
        base = Task(made.settings, server.url, server.token, depth, trace)
        if quick:
            found = _count_boundaries(made, base, pictures, seed)
            points = sorted(rng.sample(range(1, found + 1), QUICK_BOUNDARIES))
            tally.boundaries.append(found)
        else:
            points = list(range(1, 10_000))
        for point in points:
            number += 1
            killed = _one_kill(made, server, base, pictures, seed, point, number, tally)
            if not killed and not quick:
                tally.boundaries.append(point - 1)
                break
        print(f"faults: seed {seed}: {pictures} pictures, depth {depth}: {tally}", flush=True)
    return tally


def _one_kill(
    made: Studio,
    server: MortalServer,
    base: Task,
    pictures: int,
    seed: int,
    point: int,
    number: int,
    tally: Tally,
) -> bool:
    """One run that is killed at a boundary and brought to its end; whether the kill came to pass."""
    run_id, before = order(made, pictures, seed), len(server.saved())
    code = end(start(replace(base, kill_at=point), number), base.patience)
    if code == 0:
        judge(made, server, run_id, before, tally)
        return False
    tally.tries += 1
    tally.hits += code == KILLED
    if end(start(base, number), base.patience) == STUCK:
        tally.stuck += 1
    judge(made, server, run_id, before, tally)
    return True


def _count_boundaries(made: Studio, base: Task, pictures: int, seed: int) -> int:
    """How many boundaries a run crosses."""
    file = base.trace.with_name("count")
    order(made, pictures, seed)
    end(start(replace(base, count=file), 1), base.patience)
    return int(file.read_text())


def kill_server(made: Studio, server: MortalServer, trace: Path, quick: bool) -> Tally:
    """Kill the server at random moments of runs."""
    tally, rng = Tally(), random.Random("faults of the server")
    wanted = QUICK_SERVER_KILLS if quick else SERVER_KILLS
    number = 0
    while tally.hits < wanted and tally.tries < 2 * wanted:
        number += 1
        run_id, before = order(made, 4, number), len(server.saved())
        task = Task(made.settings, server.url, server.token, rng.randint(1, 3), trace)
        child = start(task, number)
        while not is_under_way(made, run_id):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.6))
        tally.tries += 1
        was_busy = is_under_way(made, run_id)
        tally.hits += server.kill_and_restart() and was_busy
        if end(child, task.patience) == STUCK:
            tally.stuck += 1
        judge(made, server, run_id, before, tally)
    print(f"faults: server: {tally}", flush=True)
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


def judge(made: Studio, server: MortalServer, run_id: int, before: int, tally: Tally) -> None:
    """Hold what the database has against what the server made."""
    with made.database.session_scope() as session:
        places = session.execute(text(PLACES), {"run": run_id}).all()
    pictures = [place.pictures or [] for place in places]
    kept = {picture for held in pictures for picture in held}
    tally.lost += sum(not held for held in pictures)
    tally.doubled += sum(len(held) > 1 for held in pictures)
    tally.for_nothing += len(set(server.saved()[before:]) - kept)


def histogram(trace: Path) -> None:
    """Print at which kinds of boundaries processes ended."""
    names = Counter(trace.read_text().split()) if trace.exists() else Counter()
    for name, count in names.most_common():
        print(f"faults: {name:20} {count:5} {'█' * max(1, 40 * count // max(names.values()))}", flush=True)
