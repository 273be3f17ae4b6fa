"""Contests on a real database: votes are facts, scores a projection, several voters lose nothing."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine, text
from sqlmodel import Session

from persona_tui.database.engine import Database
from persona_tui.errors import InvalidRequest, UnknownName
from persona_tui.services.voting import contest, ways
from persona_tui.services.voting.state import load
from persona_tui.services.voting.ways import Habit
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
        showing = contest.next_showing(session, run.contest_id, rng=rng)
        assert showing is not None
        best = max(showing.members, key=lambda member: member.candidate_id)
        shown = [member.id for member in showing.members]
        contest.cast(session, run.contest_id, shown, best.id, sitting=sitting)
    before = scores(session)
    assert before.index(max(before)) == 3
    session.execute(text("UPDATE image_candidates SET elo_score = 7"))
    session.execute(text("UPDATE contests SET posterior = NULL"))
    contest.rebuild(session, run.contest_id)
    assert scores(session) == before
    table = contest.standings(session, run.contest_id)
    assert table.members[0].candidate_id == run.candidates[3]
    assert table.votes == 12 and table.members[0].p_best > 0.6


@pytest.mark.parametrize("count", [2, 3])
def test_a_vote_and_the_next_choice_in_one_are_both_of_them(session: Session, run: Grown, count: int) -> None:
    a, b, c, _ = run.members
    contest.cast(session, run.contest_id, (c, a), a, sitting=uuid.uuid4())
    sitting, votes = uuid.uuid4(), "SELECT count(*) FROM votes"
    apart = session.begin_nested()
    contest.cast(session, run.contest_id, (a, b), b, sitting=sitting)
    wanted = contest.next_showing(
        session, run.contest_id, count, sitting=sitting, rng=np.random.default_rng(5)
    )
    wanted_scores = scores(session)
    apart.rollback()
    vote, following = contest.cast_and_choose(
        session, run.contest_id, (a, b), b, sitting=sitting, count=count, rng=np.random.default_rng(5)
    )
    assert following == wanted and following is not None and len(following.members) == count
    assert scores(session) == wanted_scores
    assert session.execute(text(votes)).scalar_one() == 2
    assert contest.undo(session, run.contest_id, sitting=sitting) == vote


def test_a_pair_of_equals_is_not_shown_again_at_once(session: Session) -> None:
    run = grow_run(session, make_plan(session), pictures=8)
    session.execute(text("UPDATE pipeline_run_steps SET top_k = 2"))
    showing, shown = contest.next_showing(session, run.contest_id), list[set[int]]()
    for _ in range(16):
        assert showing is not None
        ids = [m.id for m in sorted(showing.members, key=lambda member: member.elo_score)]
        assert set(ids) not in shown[-3:]
        shown.append(set(ids))
        _, showing = contest.cast_and_choose(
            session, run.contest_id, ids, ids[0], sitting=uuid.uuid4(), count=2
        )


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
    assert contest.next_showing(session, run.contest_id) is None
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
        contest.next_showing(session, 10_000)


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


def test_two_windows_never_believe_what_the_votes_do_not_say(db: Database) -> None:
    with db.session_scope() as session:
        run = grow_run(session, make_plan(session))
    other = create_engine("postgresql+psycopg://", creator=db.connect)
    sittings = {engine: uuid.uuid4() for engine in (db.engine, other)}
    rng, stored = np.random.default_rng(11), set()

    def act(session: Session, sitting: uuid.UUID, turn: int) -> None:
        pair = rng.choice(run.members, 2, replace=False).tolist()
        match turn % 12:
            case 5 | 8:
                contest.undo(session, run.contest_id, sitting=sitting)
            case 7:
                ratings = {candidate: int(rng.integers(900, 1100)) for candidate in run.candidates}
                contest.import_old_elo(session, run.contest_id, ratings)
            case _:
                contest.cast(session, run.contest_id, pair, pair[0], sitting=sitting)

    for turn in range(24):
        engine = (db.engine, other)[int(rng.integers(2))]
        with Session(engine) as session:
            act(session, sittings[engine], turn)
            session.rollback() if turn % 12 in (2, 9) else session.commit()
        for engine in sittings:
            with Session(engine) as session:
                seen, true = (load(session, run.contest_id, anew=anew) for anew in (False, True))
                assert seen.belief.covariance == pytest.approx(true.belief.covariance, abs=1e-3), turn
                assert seen.belief.mean == pytest.approx(true.belief.mean, abs=1e-3), turn
                assert (seen.votes, seen.shown) == (true.votes, true.shown)
                assert seen.belief.elo() == scores(session)
                kept = session.execute(text("SELECT posterior_vote_id FROM contests")).scalar_one()
                stored.add(kept == seen.last_vote_id)
    other.dispose()
    assert stored == {True, False}, "a posterior is stored now and then, and brought forward from there"


def test_a_grid_shows_every_picture_once_before_any_twice(session: Session) -> None:
    run = grow_run(session, make_plan(session), pictures=8)
    seen: list[int] = []
    for _ in range(2):
        showing = contest.next_showing(session, run.contest_id, 4)
        assert showing is not None and len(showing.members) == 4
        ids = [member.id for member in showing.members]
        seen += ids
        contest.cast(session, run.contest_id, ids, ids[0], sitting=uuid.uuid4())
    assert sorted(seen) == sorted(run.members)


def test_a_showing_keeps_the_asked_candidate_and_refuses_a_stranger(session: Session, run: Grown) -> None:
    for count in (2, 3):
        showing = contest.next_showing(session, run.contest_id, count, beside=run.candidates[2])
        assert showing is not None and len(showing.members) == count
        assert run.candidates[2] in [member.candidate_id for member in showing.members]
    with pytest.raises(InvalidRequest):
        contest.next_showing(session, run.contest_id, beside=10_000)
    with pytest.raises(InvalidRequest):
        contest.next_showing(session, run.contest_id, 5)


def test_members_tell_flag_interval_and_votes(session: Session, run: Grown) -> None:
    contest.flag_candidate(session, run.candidates[0], True)
    a, b, *_ = run.members
    contest.cast(session, run.contest_id, (a, b), a, sitting=uuid.uuid4())
    leader, *others = contest.standings(session, run.contest_id).members
    assert leader.id == a and leader.flagged and leader.votes == 1
    assert leader.interval[0] < leader.elo_score < leader.interval[1]
    assert [member.votes for member in others] == [0, 0, 1]
    contest.flag_candidate(session, run.candidates[0], False)
    assert not contest.standings(session, run.contest_id).members[0].flagged
    with pytest.raises(UnknownName):
        contest.flag_candidate(session, 10_000, True)


class AlwaysRepeats:
    """A generator whose `random` asks for a repeat; everything else is drawn as ever."""

    def __init__(self) -> None:
        self._drawn = np.random.default_rng(1)

    def random(self) -> float:
        return 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._drawn, name)


def test_a_hidden_repeat_shows_an_earlier_pair_once_and_measures_consistency(
    session: Session, run: Grown
) -> None:
    sitting, rng = uuid.uuid4(), AlwaysRepeats()
    a, b, c, d = run.members
    assert not contest.next_showing(session, run.contest_id, sitting=sitting, rng=rng).repeat
    for pair in ((a, b), (c, d), (a, c), (b, d), (a, d)):
        contest.cast(session, run.contest_id, pair, pair[0], sitting=sitting, response_ms=1000)
    again = contest.next_showing(session, run.contest_id, sitting=sitting, rng=rng)
    assert again is not None and again.repeat and {m.id for m in again.members} == {a, b}
    other = contest.next_showing(session, run.contest_id, sitting=uuid.uuid4(), rng=rng)
    assert other is not None and not other.repeat
    assert contest.progress(session, run.contest_id, sitting).consistency is None
    contest.cast(session, run.contest_id, (b, a), b, sitting=sitting, response_ms=2000, repeat=True)
    told = contest.progress(session, run.contest_id, sitting)
    assert told.repeats == 1 and told.consistency == 0
    assert told.votes == 6 and told.median_ms == 1000 and told.per_minute == pytest.approx(6 / 7 * 60)
    once = contest.next_showing(session, run.contest_id, sitting=sitting, rng=rng)
    assert once is not None and not (once.repeat and {m.id for m in once.members} == {a, b})


def test_progress_says_sure_and_what_is_to_come(session: Session, run: Grown) -> None:
    sitting = uuid.uuid4()
    begun = contest.progress(session, run.contest_id, sitting)
    assert begun.votes == 0 and begun.votes_to_go is None and not begun.sure and begun.faster is None
    best, *others = run.members
    for turn in range(30):
        pair = (best, others[turn % 3])
        contest.cast(session, run.contest_id, pair, best, sitting=sitting, response_ms=800)
        if turn == 0:
            early = contest.progress(session, run.contest_id, sitting)
            assert early.votes_to_go and early.minutes_to_go == pytest.approx(early.votes_to_go * 0.8 / 60)
    done = contest.progress(session, run.contest_id, sitting)
    assert done.sure and done.p_best > 0.9 and done.votes_to_go == 0 and done.minutes_to_go == 0


def test_the_faster_way_is_said_from_the_voters_own_seconds(session: Session, run: Grown) -> None:
    sitting = uuid.uuid4()
    for grid_ms, faster in ((1500, "grid"), (60_00, "duel")):
        for _ in range(9):
            contest.cast(session, run.contest_id, run.members[:2], None, sitting=sitting, response_ms=1000)
        for _ in range(40):
            contest.cast(session, run.contest_id, run.members, None, sitting=sitting, response_ms=grid_ms)
        assert contest.progress(session, run.contest_id, sitting).faster == faster


def test_the_faster_way_follows_consistency_too() -> None:
    quick = (1000,) * ways.ENOUGH_VOTES
    careful = tuple(2 * ms for ms in quick)
    assert ways.faster(Habit(quick), Habit(careful[:-1])) is None
    assert ways.faster(Habit(quick), Habit(careful)) == "grid"
    assert ways.faster(Habit(quick, 20, 17), Habit(careful, 20, 7)) == "duel", "a hasty grid tells less"
    assert ways.faster(Habit(quick, 20, 11), Habit(careful, 20, 12)) == "grid"
    assert Habit.of([(900, None), (None, True), (800, False)]) == Habit((900, 800), 2, 1)
    assert [ways.reliability(way, Habit()) for way in ways.SHOWN] == [1, 1]


def test_a_contest_without_active_pictures_says_nothing(session: Session, run: Grown) -> None:
    session.execute(text("UPDATE image_candidates SET status = 'rejected'"))
    assert contest.next_showing(session, run.contest_id, 4) is None
    told = contest.progress(session, run.contest_id, uuid.uuid4())
    assert told.p_best == 0 and not told.sure
    assert contest.standings(session, run.contest_id).members == ()


def test_old_ratings_are_priors_and_stay_after_votes_are_taken_back(session: Session, run: Grown) -> None:
    sitting = uuid.uuid4()
    ratings = dict(zip(run.candidates, (900, 1000, 1100, 1200), strict=True))
    contest.import_old_elo(session, run.contest_id, ratings)
    before = scores(session)
    assert before == sorted(before) and before[0] < 1000 < before[3]
    contest.cast(session, run.contest_id, run.members[:2], run.members[0], sitting=sitting)
    assert scores(session) != before
    contest.undo(session, run.contest_id, sitting=sitting)
    assert scores(session) == before
    with pytest.raises(InvalidRequest):
        contest.import_old_elo(session, run.contest_id, {10_000: 1})
