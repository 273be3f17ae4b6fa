"""The runs view: what it tells of each run, and its acts in the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from textual.pilot import Pilot

from persona_tui.app import PersonaApp
from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.database.engine import Database
from persona_tui.screens import runs_servers
from persona_tui.screens.runs import RunsScreen
from persona_tui.screens.runs_forms import ApproveDialog
from persona_tui.screens.runs_picture import RunPicture
from persona_tui.services.generation import jobs
from persona_tui.services.generation.barring import stop_runs
from persona_tui.services.generation.engine import Endpoint, Engine
from persona_tui.services.generation.health import EndpointStatus, EngineStatus, JobStatus
from persona_tui.services.generation.runs import RunView
from persona_tui.services.media import MediaStore
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.reader import TextDialog
from tests.support.world import Planned
from tests.ui.quiet_core import QuietCore, app_over, asked
from tests.ui.studio import ENDPOINT, PROMPT, Studio, begin_job, run_with_pictures, until
from tests.ui.support import said, screen_text, settle

SMALL, LARGE = (80, 24), (200, 50)


class IdleEngineCore(QuietCore):
    """Has a real engine that has not begun to work."""

    def __init__(self, database: Database, folder: Path) -> None:
        super().__init__(database, folder)
        endpoint = Endpoint(ENDPOINT, ComfyUIClient(ENDPOINT))
        self._idle = Engine(database.session_scope, MediaStore(self.settings), [endpoint])

    @property
    def engine(self) -> Engine:
        return self._idle


@pytest.fixture
def quiet_core(db: Database, tmp_path: Path) -> QuietCore:
    return IdleEngineCore(db, tmp_path)


@pytest.fixture
def app(quiet_core: QuietCore) -> PersonaApp:
    return app_over(quiet_core)


def first_open_place(db: Database, run: RunView) -> int:
    query = "SELECT min(id) FROM generation_slots WHERE run_id = :run AND state = 'open'"
    return int(asked(db, query, run=run.id))


async def opened(pilot: Pilot[Any]) -> RunsScreen:
    await settle(pilot)
    await pilot.press("f4")
    await settle(pilot)
    assert isinstance(pilot.app.screen, RunsScreen)
    return pilot.app.screen


def status(db: Database) -> str:
    return str(asked(db, "SELECT status FROM pipeline_runs"))


@pytest.mark.long
async def test_each_run_tells_its_status_its_pictures_and_why_it_failed(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan, name="Ready")
    broken = run_with_pictures(db, studio, plan, 1, name="Broken")
    with db.session_scope() as session:
        job = begin_job(session, first_open_place(db, broken))
        jobs.fail(session, job, "No such checkpoint.", jobs.RetryPolicy(), permanent=True)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        seen = screen_text(pilot)
        assert "◆  your turn" in seen and "4/4" in seen
        assert "❌ failed" in seen and "1/4 ✗1" in seen
        await until(pilot, lambda: "Step 1: No such checkpoint." in screen_text(pilot))
        assert f"✖ {ENDPOINT.removeprefix('http://')} in trouble: Not asked yet." in screen_text(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        assert PROMPT in screen_text(pilot)
        await pilot.press("pagedown", "pagedown")
        await pilot.pause()
        assert "TROUBLE" in screen_text(pilot)


@pytest.mark.long
async def test_what_waits_in_a_run_that_no_server_can_do_is_not_in_flight(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan, 1)
    with db.session_scope() as session:
        jobs.add_job(session, first_open_place(db, run), ENDPOINT, wait=0)
    async with app.run_test(size=LARGE) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "▶ 1 base" in screen_text(pilot) and "◌ 1 queued" in screen_text(pilot))
        with db.session_scope() as session:
            stop_runs(session, {run.current.id: "No server has the model."})
        await until(pilot, lambda: "❌ failed" in screen_text(pilot) and "◐ 1 base" in screen_text(pilot))
        assert "◌ 1 queued" in screen_text(pilot)
        assert "in flight" not in screen_text(pilot)


async def test_the_panel_follows_the_cursor_and_shows_the_best_picture(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan, name="Older", prompt="A teapot in the rain")
    run_with_pictures(db, studio, plan, 0, name="Newer")
    async with app.run_test(size=LARGE) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: "run 2, two-step v1" in screen_text(pilot))
        pane = screen.query_one("#best", RunPicture).pane
        assert not pane.loaded
        await pilot.press("down")
        await until(pilot, lambda: "A teapot in the rain" in screen_text(pilot) and pane.loaded)
        seen = screen_text(pilot)
        assert "├─ ◆ 1 base" in seen and "└─ ◌ 2 refine  2 pictures planned, once step 1 is approved" in seen
        assert "no votes, open" in seen
        await app.go_to("runs", run_id=2)
        await until(pilot, lambda: "run 2, two-step v1" in screen_text(pilot))


def test_a_job_and_its_server_are_told_in_words() -> None:
    now = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
    running = JobStatus(2, 1, 1, 0.5, now - timedelta(seconds=70))
    lines = [line.plain for line in runs_servers.job_lines([JobStatus(1, 1, 2, 0.0, None), running], now)]
    assert lines == ["▶ step 1  ━━━━━─────  50%  1 min 10 s", "◌ step 2  waits in a queue"]
    url = "http://me:secret@gpu.lan:8188"
    waiting = [JobStatus(number, 1, 1, 0.0, None, url, place) for number, place in ((3, 4), (4, 1))]
    assert [line.plain for line in runs_servers.job_lines(waiting, now)] == [
        "◌ step 1  is next  on gpu.lan:8188",
        "◌ step 1  3 before it in the queue  on gpu.lan:8188",
    ]
    endpoint = EndpointStatus(url, True, 3, "ComfyUI 0.8.0", "0.8.0", 6 << 30, 24 << 30, 2)
    engine = EngineStatus((endpoint,), tuple(waiting))
    assert [line.plain for line in runs_servers.endpoint_lines(engine)] == [
        "└─ ● gpu.lan:8188 healthy, 3 queued  VRAM ━━━─ 18/24 GB"
    ]
    assert [line.plain for line in runs_servers.panel_lines(engine)] == [
        "● gpu.lan:8188 healthy  ComfyUI 0.8.0",
        "  queue 3, 2 ours, kept 2 deep",
        "  VRAM ━━━━━━━━━━━━──── 18.0 of 24 GB",
    ]
    spent = EngineStatus((endpoint,), (), ("The day's budget is spent.",))
    assert next(line.plain for line in runs_servers.panel_lines(spent)) == "⚠  The day's budget is spent."
    assert "comfyui.urls" in next(iter(runs_servers.endpoint_lines(EngineStatus((), ())))).plain


async def test_the_first_run_is_made_by_a_form_that_keeps_what_the_guard_refuses(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        assert "No runs yet." in screen_text(pilot)
        assert "Press [n] new run" in screen_text(pilot)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, FormDialog) and app.screen.focused is not None)
        await pilot.press(*"nude child", "ctrl+s")
        await settle(pilot)
        assert isinstance(app.screen, FormDialog)
        assert asked(db, "SELECT count(*) FROM pipeline_runs") == 0
        await pilot.press("ctrl+u", *"a bowl", "tab", "tab", "right", "tab", "tab", *"Bowl", "ctrl+s")
        await until(pilot, lambda: not isinstance(app.screen, FormDialog))
        await settle(pilot)
        assert "“Bowl” is started as run 1: base makes 4 pictures." in said(pilot)
        assert asked(db, "SELECT prompt FROM pipeline_runs") == "a bowl"
        assert asked(db, "SELECT cluster_id FROM pipeline_runs") == plan.cluster_id
        assert asked(db, "SELECT pillar_id FROM pipeline_runs") == plan.pillar_id


async def test_pause_resume_and_cancel(app: PersonaApp, db: Database, studio: Studio, plan: Planned) -> None:
    run_with_pictures(db, studio, plan, 1)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        await pilot.press("p")
        await until(pilot, lambda: status(db) == "paused" and "◐  paused" in screen_text(pilot))
        assert "[r] goes on" in said(pilot)
        await pilot.press("r")
        await until(pilot, lambda: status(db) == "running" and "▶  running" in screen_text(pilot))
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("enter")  # the safe answer is marked
        await settle(pilot)
        assert status(db) == "running"
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: status(db) == "cancelled" and "○  cancelled" in screen_text(pilot))
        await until(pilot, lambda: "[p] pause" not in screen_text(pilot))


async def test_an_approval_shows_who_goes_on_and_what_it_costs_before_it_is_given(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ApproveDialog))
        await until(pilot, lambda: "2 pictures will be made in refine." in screen_text(pilot))
        assert "4 of 4 pictures have fewer than 5 votes." in screen_text(pilot)
        await pilot.press("backspace", "9")
        await until(pilot, lambda: "Must be at most 4." in screen_text(pilot))
        await pilot.press("backspace", "3")
        await until(pilot, lambda: "6 pictures will be made in refine." in screen_text(pilot))
        assert "3. picture" in screen_text(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, ApproveDialog))
        await settle(pilot)
        assert "refine makes 6 pictures" in said(pilot)
        assert asked(db, "SELECT count(*) FROM gate_members") == 3
        await until(pilot, lambda: "0/6" in screen_text(pilot))


@pytest.mark.long
async def test_the_last_steps_approval_chooses_the_winner_and_vote_and_gallery_are_one_key_away(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan, pipeline="one-step")
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        for key, mode in (("v", "vote"), ("t", "gallery")):
            await pilot.press(key)
            await settle(pilot)
            assert app.current_mode == mode
            await pilot.press("escape")
            await settle(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "leads with a rating of 1000" in screen_text(pilot)
        await pilot.press("y")
        await until(pilot, lambda: app.current_mode == "posts")
        await settle(pilot)
        assert status(db) == "completed"
        assert asked(db, "SELECT count(*) FROM scheduling_posts") == 1


async def test_without_a_persona_there_is_no_run_to_make(app: PersonaApp, db: Database) -> None:
    with db.session_scope() as session:
        assert session.execute(text("SELECT count(*) FROM personas")).scalar_one() == 0
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        await pilot.press("n")
        await settle(pilot)
        assert "[F2]" in said(pilot)


@pytest.mark.long
async def test_a_run_is_cloned_with_another_prompt(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan, steps={1: {"children_per_parent": 3}})
    async with app.run_test(size=LARGE) as pilot:
        await settle(pilot)
        await pilot.press("f4")
        await settle(pilot)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await until(pilot, lambda: app.screen.focused is not None)
        assert f"Clone run {run.id}" in screen_text(pilot) and PROMPT[:20] in screen_text(pilot)
        await pilot.press("H", "i", "space", "ctrl+s")
        await until(pilot, lambda: asked(db, "SELECT count(*) FROM pipeline_runs") == 2)
        await settle(pilot)
        assert "makes 3 pictures." in said(pilot)
    assert asked(db, "SELECT prompt FROM pipeline_runs ORDER BY id DESC LIMIT 1") == f"Hi {PROMPT}"
    assert asked(db, "SELECT cluster_id FROM pipeline_runs ORDER BY id DESC LIMIT 1") == plan.cluster_id
    assert asked(db, "SELECT pillar_id FROM pipeline_runs ORDER BY id DESC LIMIT 1") == plan.pillar_id


@pytest.mark.long
async def test_one_job_of_a_run_is_chosen_and_cancelled_and_the_others_go_on(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan, 1)
    with db.session_scope() as session:
        kept = begin_job(session, first_open_place(db, run))
    with db.session_scope() as session:
        stopped = begin_job(session, first_open_place(db, run))
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        await pilot.press("X")
        await until(pilot, lambda: f"job {stopped.id}" in screen_text(pilot))
        assert f"job {kept.id}" in screen_text(pilot)
        await pilot.press(*f"job {stopped.id}", "enter")
        await until(pilot, lambda: f"Job {stopped.id} is cancelled" in said(pilot))
        assert "[r] tries it again" in said(pilot)
    with db.session_scope() as session:
        states = {row.id: row.state for row in session.execute(text("SELECT id, state FROM comfyui_jobs"))}
    assert (states[kept.id], states[stopped.id]) == ("submitted", "cancelled")
    assert asked(db, "SELECT count(*) FROM generation_slots WHERE state = 'failed'") == 1


@pytest.mark.long
async def test_a_run_without_jobs_offers_none_to_cancel(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        assert screen.check_action("cancel_job", ()) is False
        assert screen.check_action("cancel", ()) is True
