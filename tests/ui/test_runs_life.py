"""From a gate to a run's end: approvals taken back, night mode, opened again, deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.services.generation import gates, night, runs
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.form import FormDialog
from tests.support.world import Planned
from tests.ui.quiet_core import QuietCore, app_over, asked, fill, form_opens
from tests.ui.studio import Studio, run_with_pictures, until
from tests.ui.support import said, screen_text
from tests.ui.test_runs import opened, status

SMALL = (80, 24)
APPROVED = "SELECT count(*) FROM pipeline_run_steps WHERE approved_at IS NOT NULL"


@pytest.fixture
def app(db: Database, tmp_path: Path) -> PersonaApp:
    return app_over(QuietCore(db, tmp_path))


@pytest.mark.long
async def test_an_approval_is_taken_back(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan)
    with db.session_scope() as session:
        gates.approve(session, run.steps[0].id, 2, actor="operator")
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "0/4" in screen_text(pilot))
        await pilot.press("u")
        await until(pilot, lambda: "base waits for your approval again" in said(pilot))
        await until(pilot, lambda: "your turn" in screen_text(pilot) and "4/4" in screen_text(pilot))
    assert asked(db, APPROVED) == 0
    assert asked(db, "SELECT count(*) FROM generation_slots WHERE state = 'open'") == 0


@pytest.mark.long
async def test_what_the_night_approved_is_marked_and_taken_back_after_asking(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan)
    with db.session_scope() as session:
        step = run.steps[0]
        best = [member.candidate_id for member in gates.gate_preview(session, step.id, 1).members]
        gates.approve_these(session, step.id, best, actor=night.ACTOR, reason="It was sure.")
        studio.make(session, run.id)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "by night mode" in screen_text(pilot))
        await pilot.press("u")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "What grew from it is rejected" in screen_text(pilot)
        await pilot.press("y")
        await until(pilot, lambda: "2 rejected" in said(pilot))
    assert asked(db, APPROVED) == 0
    assert asked(db, "SELECT count(*) FROM image_candidates WHERE status = 'rejected'") == 2


async def test_night_mode_is_set_with_a_time_and_a_bad_one_is_told_at_the_field(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        await pilot.press("m")
        await form_opens(pilot)
        await pilot.press("right", "right")
        await fill(pilot, night_at="25:99")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "is no time" in screen_text(pilot))
        await fill(pilot, night_at="2030-01-02T23:30+00:00")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "Night mode is on." in said(pilot))
        assert asked(db, "SELECT night FROM pipeline_runs") == "at"
        assert asked(db, "SELECT night_at FROM pipeline_runs") == datetime(2030, 1, 2, 23, 30, tzinfo=UTC)
        await until(pilot, lambda: "night mode from 02 Jan 23:30 UTC" in screen_text(pilot))
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await pilot.press("left", "left", "ctrl+s")
        await until(pilot, lambda: asked(db, "SELECT night FROM pipeline_runs") == "off")


@pytest.mark.long
async def test_a_time_typed_into_the_night_s_form_chooses_the_policy_that_takes_it(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        await pilot.press("m")
        await form_opens(pilot)
        await pilot.press("down", *"23:30")
        await until(pilot, lambda: "at: passes gates from a time on" in screen_text(pilot))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "Night mode is on." in said(pilot))
        assert asked(db, "SELECT night FROM pipeline_runs") == "at"
        assert asked(db, "SELECT to_char(night_at, 'MI') FROM pipeline_runs") == "30"


@pytest.mark.long
async def test_a_run_that_has_ended_is_opened_again(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan)
    with db.session_scope() as session:
        runs.cancel_run(session, run.id)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "cancelled" in screen_text(pilot))
        await pilot.press("o")
        await until(pilot, lambda: "is open again" in said(pilot) and status(db) == "waiting")


async def test_a_run_is_deleted_with_its_files_after_telling_what_goes_with_it(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan, 2)
    key = asked(db, "SELECT media_key FROM image_candidates LIMIT 1")
    path = studio.media.path(key)
    assert path is not None and path.exists()
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        await pilot.press("d")
        assert not isinstance(app.screen, ConfirmDialog), "only what has ended is deleted"
        with db.session_scope() as session:
            runs.cancel_run(session, run.id)
        await until(pilot, lambda: "cancelled" in screen_text(pilot))
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "2 pictures and their files go with it." in screen_text(pilot)
        await pilot.press("enter")  # the safe answer is marked
        await until(pilot, lambda: not isinstance(app.screen, ConfirmDialog))
        assert asked(db, "SELECT count(*) FROM pipeline_runs") == 1
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: "is deleted with 2 pictures" in said(pilot))
    assert asked(db, "SELECT count(*) FROM pipeline_runs") == 0
    assert not path.exists()
