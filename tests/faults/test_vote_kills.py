"""kill -9 in the middle of voting: what was said to be kept is there, and scores are those of the votes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from sqlalchemy import text
from tests.support.world import grow_run, make_plan

from persona_tui.database.engine import Database
from persona_tui.services.voting import contest
from persona_tui.services.voting.state import load

KILLS = (1, 2, 3, 4, 9, 15, 16, 17, 18)
"""Boundaries at which a child dies: before and after commits, also of the eighth vote, which stores more."""

HALVES = "SELECT count(*) FROM votes v WHERE (SELECT count(*) FROM vote_items i WHERE i.vote_id = v.id) <> 2"


def test_voting_4_kill_9_loses_no_vote_and_leaves_the_scores_true(db: Database, tmp_path: Path) -> None:
    with db.session_scope() as session:
        run = grow_run(session, make_plan(session))
    settings = db.settings
    facts = {
        "folder": str(tmp_path),
        "data_dir": str(settings.data_dir),
        "database_schema": settings.database_schema,
    }
    orders = [{"world": facts, "contest": run.contest_id, "seed": n, "n": n, "votes": 12} for n in KILLS]
    answered = subprocess.run(
        [sys.executable, "-m", "tests.support.voting_child"],
        input="".join(json.dumps(order) + "\n" for order in orders),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    answers = [json.loads(line) for line in answered.stdout.splitlines()]
    assert [answer["signal"] for answer in answers] == [signal.SIGKILL] * len(orders)
    told = {line for answer in answers for line in answer["boundaries"] if line.startswith("vote:")}
    with db.session_scope() as session:
        kept = {f"vote:{vote}" for vote in session.execute(text("SELECT id FROM votes")).scalars()}
        halves = session.execute(text(HALVES)).scalar_one()
        scores = "SELECT elo_score FROM image_candidates ORDER BY id"
        left = session.execute(text(scores)).scalars().all()
        from_cache = load(session, run.contest_id).belief.mean
        contest.rebuild(session, run.contest_id)
        anew = session.execute(text(scores)).scalars().all()
    assert told <= kept and len(kept) - len(told) <= len(orders)
    assert len(told) > 20 and not halves
    assert left == anew
    assert [round(1000 + 173.72 * mean) for mean in from_cache] == anew
