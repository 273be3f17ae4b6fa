"""How long it takes to decide what an endpoint works on next, beside a transaction that asks SELECT 1.

The runs have three steps, of which the first is approved with four pictures; the candidates are shared out
among them. In turn every run can progress, none can (all wait for votes: the usual case), or all that are
under way have nothing left to begin. Each decision is `selection.claim` for one place in a session of its
own. It is committed, as in the engine, since after a rollback the driver prepares its statements anew; the
commit, which waits for the disk, is not counted, and what was claimed is put back before the next decision.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from sqlmodel import Session

from generation_parts.studio import studio
from persona_tui.database.engine import Database
from persona_tui.services.generation import selection
from report import Figure

SERVER = "http://127.0.0.1:1"
ROWS = Path(__file__).with_suffix(".sql")
TARGET_MS = 5.0
WARM_UP = 20
PUT_BACK = (
    "UPDATE generation_slots s SET state = 'open' FROM comfyui_jobs j"
    " WHERE j.slot_id = s.id AND j.state = 'queued'",
    "DELETE FROM comfyui_jobs WHERE state = 'queued'",
)
GROWTH = 2.0
BUSY, WAITING, STARVED = "busy", "waiting", "starved"
STATES = {
    BUSY: "every run can progress",
    WAITING: "all runs wait for votes",
    STARVED: "runs are under way, nothing can begin",
}


@dataclass(frozen=True)
class World:
    """So many runs with so many candidates in all."""

    runs: int
    candidates: int


def figures(quick: bool) -> Iterator[Figure]:
    """Measure at the sizes of the claim, then how it grows with candidates and with runs."""
    decisions = 100 if quick else 400
    sizes = (World(50, 2_000), World(50, 20_000), World(500, 20_000))
    times: dict[tuple[World, str], list[float]] = {}
    with studio() as made:
        for world in sizes:
            load(made.database, world)
            baseline = p95(timed(made.database, ask_nothing, decisions))
            for state, words in STATES.items():
                set_state(made.database, state)
                spent = timed(made.database, decide(state != BUSY), decisions)
                times[world, state] = spent
                if world.candidates == 20_000:
                    name = f"select_ms_p95, {world.runs} runs, {words}"
                    yield Figure(name, p95(spent), "ms", "<=", TARGET_MS, baseline)
    small, middle, large = sizes
    for state, words in STATES.items():
        for name, below, above in (
            ("from 2,000 to 20,000 candidates", small, middle),
            ("from 50 to 500 runs", middle, large),
        ):
            growth = statistics.median(times[above, state]) / statistics.median(times[below, state])
            yield Figure(f"select growth {name}, {words}", growth, "×", "<", GROWTH)


def p95(spent: list[float]) -> float:
    """What 95 of 100 stay below."""
    return statistics.quantiles(spent, n=20)[-1]


def decide(nothing: bool) -> Callable[[Session], None]:
    """Claim one place; or, when nothing can run, look in vain."""

    def act(session: Session) -> None:
        taken = selection.claim(session, SERVER, 1, healthy=(SERVER,), mine=(), lease=30)
        if bool(taken) == nothing:
            raise SystemExit(f"{len(taken)} jobs were taken.")

    return act


def ask_nothing(session: Session) -> None:
    """The cheapest transaction there is."""
    session.execute(text("SELECT 1"))


def timed(database: Database, act: Callable[[Session], None], count: int) -> list[float]:
    """Milliseconds of each of so many calls in a transaction of its own, after some that don't count."""
    spent = []
    for number in range(WARM_UP + count):
        began = time.perf_counter()
        with Session(database.engine) as session:
            act(session)
            passed = (time.perf_counter() - began) * 1000
            session.commit()
            for statement in PUT_BACK:
                session.execute(text(statement))
            session.commit()
        if number >= WARM_UP:
            spent.append(passed)
    return spent


def load(database: Database, world: World) -> None:
    """Fill the database anew, and let the planner know what is there, as autovacuum would."""
    with database.connect("owner", autocommit=True) as connection:
        rows = ROWS.read_text().replace("{runs}", str(world.runs))
        connection.execute(rows.replace("{each}", str(world.candidates // world.runs)).encode())
        found = connection.execute("SELECT count(*) FROM image_candidates").fetchone()
        if found != (world.candidates,):
            raise SystemExit(f"There are {found} candidates, not {world.candidates}.")
        connection.execute("VACUUM ANALYZE")


def set_state(database: Database, state: str) -> None:
    """Let every run progress, none, or let those under way have only places with jobs."""
    with database.connect("owner", autocommit=True) as connection:
        status = "waiting" if state == WAITING else "running"
        places = "open" if state == BUSY else "busy"
        connection.execute("UPDATE pipeline_runs SET status = %s", (status,))
        connection.execute(
            "UPDATE generation_slots s SET state = %s FROM pipeline_run_steps st"
            " WHERE st.id = s.run_step_id AND st.position = 2 AND s.slot_no > 1000",
            (places,),
        )
        connection.execute("VACUUM ANALYZE pipeline_runs, generation_slots")
