"""Enter on the vote view: what goes on, what wins, and what is asked before."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.widgets.confirm import ConfirmDialog
from tests.support.world import Planned
from tests.ui.quiet_core import QuietCore, app_over, asked
from tests.ui.studio import (
    Studio,
    opened_duel,
    opened_vote,
    run_with_pictures,
    until,
    vote,
)
from tests.ui.support import said, screen_text, settle

SMALL, LARGE = (80, 24), (200, 50)


@pytest.fixture
def app(quiet_core: QuietCore) -> PersonaApp:
    return app_over(quiet_core)


async def test_enter_lets_the_best_go_on_waits_for_the_next_step_and_ends_with_a_draft(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan)
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


@pytest.mark.long
async def test_without_votes_enter_asks_once_and_a_refusal_leaves_the_pair(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
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


@pytest.mark.long
async def test_an_incomplete_step_goes_on_by_itself_if_it_may(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan, 2)
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


@pytest.mark.long
async def test_with_one_picture_enter_accepts_it(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan, steps={1: {"children_per_parent": 1}})
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_vote(pilot)
        assert screen.scene.kind == "single"
        await pilot.press("enter")
        await settle(pilot)
        assert asked(db, "SELECT count(*) FROM gate_members") == 1
