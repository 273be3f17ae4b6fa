"""What the vote view says of the votes: sure, faster, consistent; and two windows on one contest."""

from __future__ import annotations

import uuid
from pathlib import Path

from sqlalchemy import text

from persona_tui.database.engine import Database
from persona_tui.services.voting import contest
from tests.support.world import Planned
from tests.ui.quiet_core import QuietCore, app_over, asked, shows
from tests.ui.studio import Studio, opened_duel, opened_vote, run_with_pictures, until, vote
from tests.ui.support import screen_text

LARGE = (200, 50)


def members_of(db: Database, run_id: int) -> tuple[int, tuple[int, ...]]:
    """The contest of a run's first step, and its members."""
    with db.session_scope() as session:
        contest_id = next(c.contest_id for c in contest.open_contests(session) if c.run_id == run_id)
        found = contest.standings(session, contest_id).members
    return contest_id, tuple(sorted(member.id for member in found))


async def test_it_says_which_way_is_faster_and_how_consistent_the_voter_is(
    quiet_core: QuietCore, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan)
    contest_id, members = members_of(db, run.id)
    sitting = uuid.uuid4()
    with db.session_scope() as session:
        for turn in range(8):
            contest.cast(session, contest_id, members[:2], None, sitting=sitting, response_ms=4_000)
            contest.cast(session, contest_id, members, None, sitting=sitting, response_ms=3_000)
            if turn >= 6:
                contest.cast(session, contest_id, members[:2], None, sitting=sitting, repeat=True)
    async with app_over(quiet_core).run_test(size=LARGE) as pilot:
        await opened_duel(pilot)
        await shows(pilot, "You find the winner sooner with four at once")
        assert "four at once find it sooner for you" in screen_text(pilot)
        assert "100% of 2 hidden repeats judged alike" in screen_text(pilot)
        await pilot.press("g")
        await until(pilot, lambda: "sooner for you" not in screen_text(pilot))


async def test_sure_enough_is_also_said_when_hardly_a_better_one_is_left(
    quiet_core: QuietCore, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan, count=2)
    contest_id, (left, right) = members_of(db, run.id)
    with db.session_scope() as session:
        session.execute(text("UPDATE pipeline_run_steps SET top_k = 1"))
        for _ in range(60):  # two equals: none is the best for certain, and it does not matter
            contest.cast(session, contest_id, (left, right), None, sitting=uuid.uuid4())
        far = contest.progress(session, contest_id, uuid.uuid4())
        assert far.p_best < 0.9 and far.regret <= 0.1 and far.sure
    async with app_over(quiet_core).run_test(size=LARGE) as pilot:
        await opened_vote(pilot)
        await shows(pilot, ": hardly any is better")


async def test_two_windows_on_one_contest_lose_no_vote(
    quiet_core: QuietCore, db: Database, studio: Studio, plan: Planned, tmp_path: Path
) -> None:
    run_with_pictures(db, studio, plan)
    other = app_over(QuietCore(db, tmp_path))
    async with app_over(quiet_core).run_test(size=(80, 24)) as mine, other.run_test(size=(80, 24)) as theirs:
        here, there = await opened_duel(mine), await opened_duel(theirs)
        for _ in range(2):
            await vote(mine, here, "left")
            await vote(theirs, there, "right")
        assert here.scene.standings.votes == 3, "as of its own last key"
        assert there.scene.standings.votes == 4
        assert "4 votes" in screen_text(theirs)
        await mine.press("z")
        await until(mine, lambda: here.scene.standings.votes == 3)
        own = "SELECT count(DISTINCT session) FROM votes WHERE undoes_vote_id IS NULL"
        assert asked(db, own) == 2, "each window is a sitting of its own"
        undone = "SELECT v.session = u.session FROM votes u JOIN votes v ON v.id = u.undoes_vote_id"
        assert asked(db, undone) is True
