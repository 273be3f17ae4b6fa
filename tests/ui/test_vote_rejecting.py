"""Rejecting on the vote view: what goes along, what is asked about the parent, and taking it back."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.screens.vote import VoteScreen
from persona_tui.services.generation import gates
from persona_tui.services.generation.rejection import reject
from persona_tui.services.generation.runs import run_detail
from tests.support.world import Planned
from tests.ui.quiet_core import QuietCore, app_over, asked
from tests.ui.studio import Studio, opened_duel, opened_vote, run_with_pictures, until, vote
from tests.ui.support import said, screen_text, settle

SMALL = (80, 24)
STATUS = "SELECT status FROM image_candidates WHERE id = :id"


@pytest.fixture
def app(quiet_core: QuietCore) -> PersonaApp:
    return app_over(quiet_core)


def second_step(db: Database, studio: Studio, plan: Planned) -> int:
    """A run at its second step, with two pictures of each of the two best.

    Returns:
        The run's id.
    """
    run = run_with_pictures(db, studio, plan, steps={1: {"top_k": 2}})
    with db.session_scope() as session:
        gates.approve(session, run.steps[0].id, 2, actor="operator")
        studio.make(session, run.id)
        assert run_detail(session, run.id).current.active == 4
    return run.id


async def opened_question(pilot: Pilot[None]) -> tuple[VoteScreen, int, int]:
    """The screen after a rejection, with the rejected picture and its parent."""
    screen = await opened_duel(pilot)
    picture = screen.scene.shown[0]
    await pilot.press("x", "left")
    await until(pilot, lambda: screen.scene.asks is not None and screen.ready)
    return screen, picture.candidate_id, picture.parent_id


async def test_x_and_a_side_rejects_the_branch_and_undo_takes_it_back(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_duel(pilot)
        shown = [member.id for member in screen.scene.shown]
        picture = screen.scene.shown[1].candidate_id
        await pilot.press("x")
        assert "Reject which picture?" in screen_text(pilot)
        await pilot.press("x")
        assert "Reject which picture?" not in screen_text(pilot)
        await pilot.press("x", "escape", "x", "right")
        await settle(pilot)
        assert asked(db, STATUS, id=picture) == "rejected"
        assert f"Picture {picture} is rejected. [z] takes it back." in said(pilot)
        assert asked(db, "SELECT count(*) FROM votes") == 0
        assert shown[1] not in [member.id for member in screen.scene.shown]
        await until(pilot, lambda: screen.ready)
        await pilot.press("u")
        await settle(pilot)
        assert asked(db, STATUS, id=picture) == "active"
        assert [member.id for member in screen.scene.shown] == shown
        assert f"Picture {picture} is back." in said(pilot)


async def test_after_a_rejection_the_parent_is_asked_about_and_the_answer_is_a_vote(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    second_step(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen, picture, parent = await opened_question(pilot)
        seen = screen_text(pilot)
        assert f"Picture {picture} is rejected." in seen and f"It grew from picture {parent}" in seen
        assert "Which of these" in seen and f"parent of picture {picture}" in seen
        assert parent in [member.candidate_id for member in screen.scene.shown]
        assert screen.scene.step.position == 1
        await pilot.press("enter")
        await settle(pilot)
        assert "Nothing is accepted here" in said(pilot)
        await vote(pilot, screen, "right")
        assert (
            asked(
                db,
                "SELECT s.position FROM votes v JOIN contests c ON c.id = v.contest_id"
                " JOIN pipeline_run_steps s ON s.id = c.run_step_id",
            )
            == 1
        )
        assert screen.scene.asks is None and screen.scene.step.position == 2
        for _ in range(2):
            await until(pilot, lambda: screen.ready)
            await pilot.press("backspace")
            await settle(pilot)
        assert asked(db, STATUS, id=picture) == "active" and screen.scene.asks is None
        assert asked(db, "SELECT count(*) FROM votes WHERE undoes_vote_id IS NOT NULL") == 1
        assert screen.scene.shown[0].candidate_id == picture


@pytest.mark.long
async def test_rejecting_the_parent_takes_all_along_and_says_so(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    second_step(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen, picture, parent = await opened_question(pilot)
        place = [member.candidate_id for member in screen.scene.shown].index(parent)
        await pilot.press("x", str(place + 1))
        await until(pilot, lambda: screen.scene.asks is None and screen.ready)
        assert asked(db, STATUS, id=parent) == "rejected"
        left = "SELECT count(*) FROM image_candidates WHERE parent_id = :id AND status = 'active'"
        assert asked(db, left, id=parent) == 0
        assert f"Picture {parent} is rejected, with 1 picture of refine that grew from it." in said(pilot)
        await pilot.press("z")
        await settle(pilot)
        assert asked(db, STATUS, id=parent) == "active" and asked(db, left, id=parent) == 1
        assert "is back, with 1 picture of refine" in said(pilot)
        assert screen.scene.asks is not None and screen.scene.asks.rejected == picture


@pytest.mark.long
async def test_a_question_may_stay_unanswered(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_id = second_step(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen, _, _ = await opened_question(pilot)
        await pilot.press("n")
        await until(pilot, lambda: screen.scene is not None and screen.ready)
        assert screen.scene.asks is None and screen.scene.run.id == run_id
        assert screen.scene.step.position == 2
        assert asked(db, "SELECT count(*) FROM votes") == 0


@pytest.mark.long
async def test_the_last_picture_can_be_rejected_and_comes_back(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan, 1)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_vote(pilot)
        picture = screen.scene.shown[0].candidate_id
        await pilot.press("x", "1")
        await until(pilot, lambda: screen.scene.kind == "making")
        assert asked(db, STATUS, id=picture) == "rejected"
        await pilot.press("z")
        await until(pilot, lambda: screen.scene.kind == "single")
        assert asked(db, STATUS, id=picture) == "active"


@pytest.mark.long
async def test_a_vote_on_a_picture_that_was_rejected_elsewhere_is_told_and_not_counted(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_duel(pilot)
        first = screen.scene.shown[0].candidate_id
        screen.TOPICS = frozenset()
        with db.session_scope() as session:
            reject(session, first)
        await pilot.press("left")
        await settle(pilot)
        assert asked(db, "SELECT count(*) FROM votes") == 0
        assert f"picture {first} was rejected elsewhere" in said(pilot)
        assert first not in [member.candidate_id for member in screen.scene.shown]
        await vote(pilot, screen, "left")
        with db.session_scope() as session:
            gates.approve(session, screen.scene.step.id, 1, actor="operator")
        await until(pilot, lambda: screen.ready)
        await pilot.press("left")
        await settle(pilot)
        assert asked(db, "SELECT count(*) FROM votes") == 1
        assert "accepted elsewhere" in said(pilot) and screen.scene.kind == "making"


@pytest.mark.long
async def test_a_picture_that_another_window_rejects_goes_with_a_word(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_duel(pilot)
        first = screen.scene.shown[0].candidate_id
        with db.session_scope() as session:
            reject(session, first)
        screen.request_reload()
        await until(pilot, lambda: f"Picture {first} was rejected elsewhere" in said(pilot))
        assert first not in [member.candidate_id for member in screen.scene.shown]
