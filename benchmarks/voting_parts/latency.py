"""How long one vote takes on a real PostgreSQL, beside a transaction that asks SELECT 1.

One vote is what a key press causes in the program: the posterior's update, vote and scores committed, and the
next choice, as the screen asks for them, in one session. 100 pictures; duels and grids, for the best and for
the best five, through a contest of so many votes.
"""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable, Iterator

import numpy as np
from sqlalchemy import text
from sqlmodel import Session

from generation_parts.studio import studio
from persona_tui.database.engine import Database
from persona_tui.services.voting import contest
from report import Figure

MEMBERS = 100
MEDIAN_MS, P95_MS = 10.0, 25.0
WARM_UP = 10
WAYS = {"duel": (2, 1), "grid": (4, 1), "duel, top 5": (2, 5), "grid, top 5": (4, 5)}
GROWN = (
    "INSERT INTO pipelines (name) VALUES (:name)",
    "INSERT INTO pipeline_versions (pipeline_id, number) SELECT max(id), 1 FROM pipelines",
    "INSERT INTO pipeline_steps (pipeline_version_id, position, name)"
    " SELECT max(id), 1, 'base' FROM pipeline_versions",
    "INSERT INTO pipeline_runs (pipeline_version_id, name, prompt, seed, status)"
    " SELECT max(id), :name, 'a bowl', 1, 'running' FROM pipeline_versions",
    "INSERT INTO pipeline_run_steps"
    " (run_id, pipeline_version_id, pipeline_step_id, position, children_per_parent, top_k)"
    " SELECT r.id, r.pipeline_version_id, s.id, 1, 50, :k FROM pipeline_runs r"
    " JOIN pipeline_steps s ON s.pipeline_version_id = r.pipeline_version_id ORDER BY r.id DESC LIMIT 1",
    "INSERT INTO generation_slots (run_id, run_step_id, slot_no, state)"
    " SELECT st.run_id, st.id, n, 'filled' FROM generate_series(1, :members) n,"
    " (SELECT * FROM pipeline_run_steps ORDER BY id DESC LIMIT 1) st",
    "INSERT INTO comfyui_jobs (prompt_id, run_id, run_step_id, slot_id, endpoint, state, seed)"
    " SELECT gen_random_uuid(), s.run_id, s.run_step_id, s.id, 'http://127.0.0.1:1', 'done', s.id"
    " FROM generation_slots s WHERE s.run_step_id = (SELECT max(id) FROM pipeline_run_steps)",
    "INSERT INTO image_candidates"
    " (run_id, run_step_id, slot_id, job_id, media_key, sha256, width, height, seed)"
    " SELECT j.run_id, j.run_step_id, j.slot_id, j.id, 'k', repeat('0', 64), 64, 80, j.seed"
    " FROM comfyui_jobs j WHERE j.run_step_id = (SELECT max(id) FROM pipeline_run_steps)",
    "INSERT INTO contests (kind, run_step_id) SELECT 'run_step', max(id) FROM pipeline_run_steps",
    "INSERT INTO contest_members (contest_id, image_candidate_id) SELECT c.id, i.id FROM contests c"
    " JOIN image_candidates i ON i.run_step_id = c.run_step_id"
    " WHERE c.id = (SELECT max(id) FROM contests) ORDER BY i.id",
)


def figures(quick: bool) -> Iterator[Figure]:
    """Median and p95 for each way of voting."""
    votes = 60 if quick else 250
    with studio() as made:
        nothing = timed(made.database, votes, lambda session: session.execute(text("SELECT 1")))
        for name, (count, k) in WAYS.items():
            with made.database.session_scope() as session:
                contest_id = grow(session, name, k)
            spent = timed(made.database, votes, Voter(contest_id, count))
            for words, of, target in (("median", statistics.median, MEDIAN_MS), ("p95", p95, P95_MS)):
                yield Figure(f"vote_ms_{words}, {name}", of(spent), "ms", "<=", target, of(nothing))


def grow(session: Session, name: str, k: int) -> int:
    """A run's step with its pictures; the id of their contest."""
    values = {"name": name, "members": MEMBERS, "k": k}
    for statement in GROWN:
        used = {key: value for key, value in values.items() if f":{key}" in statement}
        session.execute(text(statement), used)
    return int(session.execute(text("SELECT max(id) FROM contests")).scalar_one())


class Voter:
    """Answers what is shown by qualities of its own and asks for the next, in one session."""

    def __init__(self, contest_id: int, count: int) -> None:
        self.contest_id, self.count = contest_id, count
        self.rng, self.sitting = np.random.default_rng(contest_id), uuid.uuid4()
        self.truth = self.rng.normal(0, 2, MEMBERS)
        self.showing: contest.Showing | None = None

    def __call__(self, session: Session) -> None:
        """One key press."""
        if self.showing is None:
            self.showing = contest.next_showing(
                session, self.contest_id, self.count, sitting=self.sitting, rng=self.rng
            )
            return
        ids = [member.id for member in self.showing.members]
        seen = np.array([self.truth[one % MEMBERS] for one in ids]) + self.rng.gumbel(size=len(ids))
        _, self.showing = contest.cast_and_choose(
            session,
            self.contest_id,
            ids,
            ids[int(seen.argmax())],
            sitting=self.sitting,
            count=self.count,
            response_ms=900,
            repeat=self.showing.repeat,
            rng=self.rng,
        )


def timed(database: Database, times: int, act: Callable[[Session], object]) -> list[float]:
    """Milliseconds of each transaction, commit included; some before that are not counted."""
    spent = []
    for _ in range(times + WARM_UP):
        began = time.perf_counter()
        with database.session_scope() as session:
            act(session)
        spent.append((time.perf_counter() - began) * 1000)
    return spent[WARM_UP:]


def p95(spent: list[float]) -> float:
    """What 95 of 100 stay below."""
    return statistics.quantiles(spent, n=20)[-1]
