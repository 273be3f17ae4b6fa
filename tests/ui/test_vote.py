"""The vote view: what is shown, which keys count, and what they leave in the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from textual.pilot import Pilot

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.screens.vote import VoteScreen
from persona_tui.screens.vote_stage import VoteStage
from persona_tui.services.generation import gates, jobs
from persona_tui.services.generation.rejection import reject
from persona_tui.services.generation.runs import RunView, pause_run, resume_run, run_detail
from persona_tui.services.media import MediaStore
from persona_tui.services.voting import contest
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.picture import PicturePane
from tests.support.world import Planned, make_plan
from tests.ui.quiet_core import QuietCore, app_over, asked
from tests.ui.studio import PROMPT, Studio, begin_job, start_run, until
from tests.ui.support import said, screen_text, settle

SMALL, LARGE = (80, 24), (200, 50)


@pytest.fixture
def core(db: Database, tmp_path: Path) -> QuietCore:
    return QuietCore(db, tmp_path)


@pytest.fixture
def studio(core: QuietCore) -> Studio:
    return Studio(MediaStore(core.settings))


@pytest.fixture
def plan(db: Database) -> Planned:
    with db.session_scope() as session:
        return make_plan(session)


@pytest.fixture
def app(core: QuietCore) -> PersonaApp:
    return app_over(core)


def with_pictures(
    db: Database, studio: Studio, plan: Planned, count: int | None = None, **fields: Any
) -> RunView:
    with db.session_scope() as session:
        run = start_run(session, plan, **fields)
        studio.make(session, run.id, count)
        return run_detail(session, run.id)


async def opened(pilot: Pilot[Any]) -> VoteScreen:
    await settle(pilot)
    await pilot.press("f5")
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, VoteScreen)
    await until(pilot, lambda: screen.scene is not None)
    return screen


async def opened_duel(pilot: Pilot[Any]) -> VoteScreen:
    screen = await opened(pilot)
    await until(pilot, lambda: screen.ready)
    return screen


async def vote(pilot: Pilot[Any], screen: VoteScreen, key: str) -> None:
    await until(pilot, lambda: screen.ready)
    await pilot.press(key)
    await settle(pilot)


def count_votes(db: Database) -> int:
    return int(asked(db, "SELECT count(*) FROM votes"))


# What is shown


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_both_pictures_are_on_the_screen_side_by_side_without_ratings(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned, size: tuple[int, int]
) -> None:
    with_pictures(db, studio, plan)
    async with app.run_test(size=size) as pilot:
        screen = await opened_duel(pilot)
        left, right = [pane for pane in screen.query(PicturePane) if pane.display and pane.size.area][:2]
        assert left.loaded and right.loaded
        assert left.region.y == right.region.y and left.region.right <= right.region.x
        assert abs(left.size.width - right.size.width) <= 1
        seen = screen_text(pilot)
        assert "Bowl by the window" in seen
        assert "no votes" in seen
        assert "rating 1000" not in seen and "RATINGS" not in seen
        await pilot.press("r")
        await pilot.pause()
        assert "rating 1000" in screen_text(pilot)
        await pilot.press("i")
        await pilot.pause()
        seen = screen_text(pilot)
        assert PROMPT[:20] in seen and "seed" in seen


async def test_without_pictures_it_says_why_and_what_comes_next(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    with db.session_scope() as session:
        other = make_plan(session, "Zora")
    with_pictures(db, studio, other, name="Not Mira's")
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        seen = screen_text(pilot)
        assert "Nothing to vote on." in seen and "[F3] ideas" in seen
        assert "[←] left" not in seen
        run = with_pictures(db, studio, plan, 0)
        await until(pilot, lambda: "0 of 4 pictures" in screen_text(pilot))
        assert "Next: you choose between them" in screen_text(pilot)
        with db.session_scope() as session:
            pause_run(session, run.id)
        await until(pilot, lambda: "1 run failed or paused" in screen_text(pilot).replace("Run", "run"))
        await app.go_to("vote", run_id=run.id)
        await settle(pilot)
        assert "is paused" in screen_text(pilot)
        with db.session_scope() as session:
            resume_run(session, run.id)
            slot = asked(db, "SELECT min(id) FROM generation_slots WHERE state = 'open'")
            job = begin_job(session, slot)
            jobs.fail(session, job, "No such checkpoint.", jobs.RetryPolicy(), permanent=True)
        await until(pilot, lambda: "No such checkpoint." in screen_text(pilot))
        assert "[F4]" in screen_text(pilot)


async def test_the_duel_begins_with_the_second_picture_and_the_pair_stays_while_more_arrive(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run = with_pictures(db, studio, plan, 1)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        assert "Only one picture" in screen_text(pilot)
        assert "3 more are coming" in screen_text(pilot)
        with db.session_scope() as session:
            studio.make(session, run.id, 2)
        await until(pilot, lambda: screen.scene.kind == "duel" and screen.ready)
        shown = [member.id for member in screen.scene.shown]
        with db.session_scope() as session:
            studio.make(session, run.id)
        await until(pilot, lambda: len(screen.scene.standings.members) == 4)
        assert [member.id for member in screen.scene.shown] == shown
        with db.session_scope() as session:
            reject(session, screen.scene.shown[0].candidate_id)
        await until(pilot, lambda: shown[0] not in [member.id for member in screen.scene.shown])
        await until(pilot, lambda: screen.ready)


async def test_a_picture_whose_file_is_gone_is_not_judged(
    core: QuietCore, db: Database, studio: Studio, plan: Planned
) -> None:
    with_pictures(db, studio, plan, 2)
    for file in core.settings.media_dir.rglob("*.*"):
        file.unlink()
    async with app_over(core).run_test(size=SMALL) as pilot:
        await opened(pilot)
        assert "its file is gone" in screen_text(pilot)
        await pilot.press("left")
        await settle(pilot)
        assert count_votes(db) == 0
        assert "file is gone" in said(pilot)


# Voting


async def test_each_key_votes_for_the_picture_on_its_side_and_space_for_neither(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_duel(pilot)
        for number, (key, side) in enumerate((("left", 1), ("h", 1), ("right", 2), ("l", 2)), start=1):
            shown = screen.scene.shown
            await vote(pilot, screen, key)
            last = "SELECT {} FROM vote_items WHERE chosen ORDER BY vote_id DESC LIMIT 1"
            assert asked(db, last.format("side")) == side
            assert asked(db, last.format("contest_member_id")) == shown[side - 1].id
            assert f"{number} vote" in screen_text(pilot)
        await vote(pilot, screen, "space")
        assert count_votes(db) == 5
        assert asked(db, "SELECT count(*) FROM vote_items WHERE chosen") == 4
        assert asked(db, "SELECT min(response_ms) FROM votes") >= 120


async def test_no_key_counts_before_both_pictures_have_been_seen(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_duel(pilot)
        stage = screen.query_one(VoteStage)
        clock = [100.0]
        screen._clock = stage._clock = lambda: clock[0]
        stage.forget()
        screen.request_reload()
        await until(pilot, lambda: stage.drawn_at is not None)
        for seconds, presses, counted in ((0.0, ["left"], 0), (0.1, ["left"], 0), (0.1, ["left", "l"], 1)):
            clock[0] += seconds
            await pilot.press(*presses)
            await settle(pilot)
            assert count_votes(db) == counted
        clock[0] += 1
        stage.drawn_at = None
        await pilot.press("right")
        await settle(pilot)
        assert count_votes(db) == 1
        assert "Not counted" in said(pilot)


async def test_undo_takes_votes_back_one_by_one_and_shows_their_pairs_again(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_duel(pilot)
        pairs = []
        for key in ("left", "right"):
            pairs.append([member.id for member in screen.scene.shown])
            await vote(pilot, screen, key)
        for left in (1, 0):
            await pilot.press("z")
            await settle(pilot)
            assert [member.id for member in screen.scene.shown] == pairs[left]
            assert screen.scene.standings.votes == left
        await pilot.press("z")
        await settle(pilot)
        assert "no vote of this sitting" in said(pilot)
        assert asked(db, "SELECT count(*) FROM votes WHERE undoes_vote_id IS NOT NULL") == 2


async def test_the_next_contest_is_one_key_away_and_follows_one_that_ended_elsewhere(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    first = with_pictures(db, studio, plan, name="First", pipeline="one-step")
    with_pictures(db, studio, plan, 2, name="Second")

    def shows(name: str) -> bool:
        return screen.scene is not None and screen.scene.run is not None and screen.scene.run.name == name

    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_duel(pilot)
        assert shows("First")
        await pilot.press("n")
        await until(pilot, lambda: shows("Second"))
        await pilot.press("n")
        await until(pilot, lambda: shows("First"))
        with db.session_scope() as session:
            best = contest.standings(session, contest.contest_of_step(session, first.steps[0].id))
            gates.choose_winner(session, best.members[0].candidate_id, actor="operator")
        await until(pilot, lambda: shows("Second"))
        await pilot.press("n")
        assert "no other contest" in said(pilot)


# Accepting


async def test_enter_lets_the_best_go_on_waits_for_the_next_step_and_ends_with_a_draft(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run = with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_duel(pilot)
        chosen = screen.scene.shown[1].candidate_id
        await pilot.press("right", "enter")
        await settle(pilot)
        assert asked(db, "SELECT image_candidate_id FROM gate_members") == chosen
        assert "refine makes 2 pictures" in said(pilot)
        assert screen.scene.kind == "making" and "0 of 2 pictures" in screen_text(pilot)
        with db.session_scope() as session:
            studio.make(session, run.id)
        await until(pilot, lambda: screen.scene.kind == "duel" and screen.ready)
        await vote(pilot, screen, "right")
        winner = screen.scene.leader.candidate_id
        await pilot.press("enter")
        await settle(pilot)
        assert asked(db, "SELECT id FROM image_candidates WHERE winner") == winner
        assert asked(db, "SELECT status FROM pipeline_runs") == "completed"
        assert asked(db, "SELECT image_candidate_id FROM post_items") == winner
        assert app.current_mode == "posts"


async def test_without_votes_enter_asks_once_and_a_refusal_leaves_the_pair(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    with_pictures(db, studio, plan)
    async with app.run_test(size=LARGE) as pilot:
        screen = await opened_duel(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "not voted" in screen_text(pilot)
        await pilot.press("n")
        await settle(pilot)
        assert asked(db, "SELECT count(*) FROM gate_members") == 0
        await vote(pilot, screen, "left")
        with db.session_scope() as session:
            session.execute(text("UPDATE pipeline_runs SET status = 'failed', reason = 'x'"))
        await pilot.press("enter")
        await settle(pilot)
        assert "Resume the run first." in said(pilot)
        assert screen.ready


async def test_an_incomplete_step_goes_on_by_itself_if_it_may(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run = with_pictures(db, studio, plan, 2)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_duel(pilot)
        await vote(pilot, screen, "left")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await settle(pilot)
        assert "then it goes on" in screen_text(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert "waits for your word" in said(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await settle(pilot)
        assert asked(db, "SELECT count(*) FROM gate_members") == 0
        with db.session_scope() as session:
            studio.make(session, run.id)
        await until(pilot, lambda: screen.scene is not None and screen.scene.kind == "making")
        assert asked(db, "SELECT count(*) FROM gate_members") == 1


async def test_with_one_picture_enter_accepts_it(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    with_pictures(db, studio, plan, steps={1: {"children_per_parent": 1}})
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        assert screen.scene.kind == "single"
        await pilot.press("enter")
        await settle(pilot)
        assert asked(db, "SELECT count(*) FROM gate_members") == 1
