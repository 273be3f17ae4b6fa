"""Contests on a real database: votes are facts, scores a projection, several voters lose nothing."""

from __future__ import annotations

import threading
import uuid

import numpy as np
import pytest
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.engine import Database
from persona_tui.errors import InvalidRequest, UnknownName
from persona_tui.services.voting import contest
from tests.support.world import Grown, grow_run, insert, make_candidate, make_plan


@pytest.fixture
def run(session: Session) -> Grown:
    return grow_run(session, make_plan(session))


def scores(session: Session) -> list[int]:
    return list(session.execute(text("SELECT elo_score FROM image_candidates ORDER BY id")).scalars())


def test_votes_move_scores_and_undo_gives_them_back(session: Session, run: Grown) -> None:
    sitting = uuid.uuid4()
    a, b, c, _ = run.members
    contest.cast(session, run.contest_id, (a, b), a, sitting=sitting, response_ms=900)
    after_one = scores(session)
    assert after_one[0] > 1000 > after_one[1] and after_one[2] == 1000
    contest.cast(session, run.contest_id, (c, a), c, sitting=sitting)
    assert contest.undo(session, run.contest_id, sitting=sitting) is not None
    assert scores(session) == after_one
    assert contest.undo(session, run.contest_id, sitting=sitting) is not None
    assert scores(session) == [1000] * 4
    assert contest.undo(session, run.contest_id, sitting=sitting) is None
    assert session.execute(text("SELECT count(*) FROM votes")).scalar_one() == 4


def test_undo_takes_back_only_the_own_sitting(session: Session, run: Grown) -> None:
    mine, other = uuid.uuid4(), uuid.uuid4()
    a, b, *_ = run.members
    first = contest.cast(session, run.contest_id, (a, b), a, sitting=mine)
    contest.cast(session, run.contest_id, (a, b), b, sitting=other)
    assert contest.undo(session, run.contest_id, sitting=mine) == first


def test_scores_are_rebuilt_from_votes_alone(session: Session, run: Grown) -> None:
    sitting, rng = uuid.uuid4(), np.random.default_rng(3)
    for _ in range(12):
        duel = contest.next_duel(session, run.contest_id, rng)
        assert duel is not None
        best = max(duel.left, duel.right, key=lambda member: member.candidate_id)
        contest.cast(session, run.contest_id, (duel.left.id, duel.right.id), best.id, sitting=sitting)
    before = scores(session)
    assert before.index(max(before)) == 3
    session.execute(text("UPDATE image_candidates SET elo_score = 7"))
    session.execute(text("UPDATE contests SET posterior = NULL"))
    contest.rebuild(session, run.contest_id)
    assert scores(session) == before
    table = contest.standings(session, run.contest_id)
    assert table.members[0].candidate_id == run.candidates[3]
    assert table.votes == 12 and table.members[0].p_best > 0.6


def test_a_picture_that_comes_later_takes_part(session: Session, run: Grown) -> None:
    a, b, *_ = run.members
    contest.cast(session, run.contest_id, (a, b), a, sitting=uuid.uuid4())
    late = make_candidate(session, run.run_id, run.run_step_id, None, 99)
    member = insert(session, "contest_members", contest_id=run.contest_id, image_candidate_id=late)
    contest.cast(session, run.contest_id, (member, a), member, sitting=uuid.uuid4())
    table = contest.standings(session, run.contest_id)
    assert len(table.members) == 5 and table.members[0].id == member


def test_a_rejected_picture_is_not_shown(session: Session, run: Grown) -> None:
    session.execute(
        text("UPDATE image_candidates SET status = 'rejected' WHERE id <> :id"), {"id": run.candidates[0]}
    )
    assert contest.next_duel(session, run.contest_id) is None
    assert len(contest.standings(session, run.contest_id).members) == 1


@pytest.mark.parametrize("case", ["stranger", "twice", "not shown", "alone"])
def test_impossible_votes_are_refused(session: Session, run: Grown, case: str) -> None:
    a, b, *_ = run.members
    other = grow_run(session, None).members[0]
    shown, chosen = {
        "stranger": ((a, other), a),
        "twice": ((a, a), a),
        "not shown": ((a, b), run.members[2]),
        "alone": ((a,), a),
    }[case]
    with pytest.raises(InvalidRequest):
        contest.cast(session, run.contest_id, shown, chosen, sitting=uuid.uuid4())
    with pytest.raises(UnknownName):
        contest.next_duel(session, 10_000)


def test_two_voters_at_once_lose_nothing(db: Database) -> None:
    with db.session_scope() as session:
        run = grow_run(session, make_plan(session))

    def vote(best: int) -> None:
        sitting = uuid.uuid4()
        for _ in range(10):
            with db.session_scope() as session:
                pair = (run.members[best], run.members[3])
                contest.cast(session, run.contest_id, pair, pair[0], sitting=sitting)

    threads = [threading.Thread(target=vote, args=(best,)) for best in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with db.session_scope() as session:
        kept = scores(session)
        assert contest.standings(session, run.contest_id).votes == 20
        contest.rebuild(session, run.contest_id)
        assert scores(session) == kept
