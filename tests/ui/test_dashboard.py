"""The Dashboard: the day on one page, and what its keys do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import Session
from textual.content import Content

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.errors import StorageError
from persona_tui.screens.dashboard_lines import date_span, gap_words, generation_lines, process_lines
from persona_tui.services.generation.health import EndpointStatus, EngineStatus, JobStatus
from persona_tui.services.generation.pipelines import ensure_examples
from persona_tui.services.generation.runs import RunView, create_run
from persona_tui.services.leadership import Beat, this_process
from persona_tui.services.library.clusters import create_cluster
from persona_tui.services.planning.overview import DashboardView, dashboard
from persona_tui.services.planning.pillars import create_pillar
from persona_tui.settings import Settings
from persona_tui.widgets.form import FormDialog
from tests.support.world import Planned, grow_run, insert, make_account, make_persona, make_plan, make_post
from tests.ui.quiet_core import QuietCore, app_over, asked, says, shows, until
from tests.ui.support import TinyCore, screen_text, settle

SMALL, LARGE = (80, 24), (130, 45)


@pytest.fixture
def core(db: Database, tmp_path: Path) -> QuietCore:
    return QuietCore(db, tmp_path)


@pytest.fixture
def app(core: QuietCore) -> PersonaApp:
    return app_over(core)


@pytest.fixture
def plan(db: Database) -> Planned:
    """A persona with one pillar that lacks pictures, and an account."""
    with db.session_scope() as session:
        made = make_plan(session)
        make_account(session, made.persona_id)
    return made


def now_of(session: Session) -> datetime:
    return session.execute(text("SELECT persona_now()")).scalar_one()


def schedule(session: Session, plan: Planned, candidate: int, after: timedelta, caption: str) -> None:
    account = asked_in(session, "SELECT id FROM instagram_accounts")
    post = make_post(session, plan, candidate, account, caption=caption)
    session.execute(
        text("UPDATE scheduling_posts SET state = 'scheduled', scheduled_at = :at WHERE id = :id"),
        {"at": now_of(session) + after, "id": post},
    )


def start_run(session: Session, plan: Planned) -> RunView:
    ensure_examples(session)
    values = {"persona_id": plan.persona_id, "pipeline": "two-step", "prompt": "a bowl", "name": "Bowl"}
    return create_run(session, values)


def asked_in(session: Session, query: str) -> int:
    return int(session.execute(text(query)).scalar_one())


async def test_a_fresh_installation_begins_with_a_persona(app: PersonaApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        shown = screen_text(pilot)
        assert "Everything begins with a persona" in shown
        assert "[1] Create your first persona" in shown
        await pilot.press("1")
        await settle(pilot)
        assert app.current_mode == "personas"
        assert isinstance(app.screen, FormDialog)
        assert "New persona" in screen_text(pilot)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_the_day_is_on_one_page(
    app: PersonaApp, db: Database, plan: Planned, size: tuple[int, int]
) -> None:
    with db.session_scope() as session:
        run = grow_run(session, plan, 4)
        schedule(session, plan, run.candidates[0], timedelta(days=-2, hours=-1), "Rain on the tram window")
        schedule(session, plan, run.candidates[1], timedelta(days=1, hours=1), "First frost on the shed")
        create_cluster(session, plan.persona_id, {"name": "Loose"})
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        shown = screen_text(pilot)
        for words in (
            "SCHEDULED POSTS",
            "1 overdue post",
            "(2d overdue) Rain on the tram window",
            "1 upcoming post",
            "(in 1d) First frost on the shed",
            "CONTENT PILLARS & CLUSTERS",
            "Studio (40 % weight, priority 3)",
            "NEXT ACTIONS",
            "🔴 [1] Vote on 4 pictures of “run",
            "🟡 [2] Fill the gap in Studio: 5 pictures missing",
        ):
            assert words in shown, words
        await pilot.press("pagedown", "pagedown", "pagedown")
        shown = screen_text(pilot)
        for words in ("└─ ○ empty Wheel (no pictures, 0 unposted)", "1 cluster without a pillar"):
            assert size is SMALL or words in shown, words
        assert "GENERATING NOW" in shown
        assert "PROCESSES" in shown
        assert "NEXT ACTIONS" in shown


@pytest.mark.long
async def test_a_small_screen_scrolls_over_the_next_actions(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    with db.session_scope() as session:
        for number in range(6):
            create_pillar(session, plan.persona_id, {"name": f"Theme {number}", "weight": 5})
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        assert "SCHEDULED POSTS" in screen_text(pilot)
        assert "Theme 5" not in screen_text(pilot)
        await pilot.press("pagedown")
        assert "SCHEDULED POSTS" not in screen_text(pilot)
        assert "[1] Fill the gap" in screen_text(pilot)
        for _ in range(20):
            await pilot.press("down")
        assert "Theme 5" in screen_text(pilot)
        await pilot.press("pageup", "pageup", "pageup", "up")
        assert "SCHEDULED POSTS" in screen_text(pilot)


async def test_the_first_action_asks_for_ideas_where_the_gap_is(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press("1")
        await says(pilot, "templates")
        assert app.current_mode == "ideas"
    assert asked(db, "SELECT count(*) FROM content_suggestions WHERE pillar_id = :id", id=plan.pillar_id) == 3


@pytest.mark.long
async def test_the_keys_do_the_second_and_third_action(app: PersonaApp, db: Database, plan: Planned) -> None:
    with db.session_scope() as session:
        insert(
            session,
            "content_suggestions",
            persona_id=plan.persona_id,
            pillar_id=plan.pillar_id,
            title="Glaze",
            prompt="p",
        )
        run = grow_run(session, plan, 2)
        make_post(session, plan, run.candidates[0], asked_in(session, "SELECT id FROM instagram_accounts"))
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        assert "🔵 [3] Decide on the idea: “Glaze”" in screen_text(pilot)
        await pilot.press("3")
        await settle(pilot)
        assert app.current_mode == "ideas"
        await pilot.press("escape")
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        assert app.current_mode == "posts"


async def test_only_what_can_be_done_has_a_key(app: PersonaApp, db: Database) -> None:
    with db.session_scope() as session:
        made = make_plan(session, weight=0)
        make_account(session, made.persona_id)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        shown = screen_text(pilot)
        assert "🎉 All caught up! Nothing is due." in shown
        assert "[1]" not in shown
        await pilot.press("1", "2", "3")
        await settle(pilot)
        assert app.current_mode == "dashboard"


async def test_rebound_keys_are_the_ones_shown(db: Database, tmp_path: Path, plan: Planned) -> None:
    app = app_over(QuietCore(db, tmp_path, keys={"dashboard.first": "b"}))
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        assert "🔴 [b] Fill the gap" in screen_text(pilot)
        await pilot.press("b")
        await until(pilot, lambda: app.current_mode == "ideas")


async def test_what_another_process_commits_appears_by_itself(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    async with app.run_test(size=LARGE) as pilot:
        await settle(pilot)
        assert "Harbour" not in screen_text(pilot)
        with db.session_scope() as session:
            create_pillar(session, plan.persona_id, {"name": "Harbour", "weight": 10})
        await until(pilot, lambda: "Harbour (10 % weight" in screen_text(pilot))


@pytest.mark.long
async def test_another_persona_has_another_day(app: PersonaApp, db: Database, plan: Planned) -> None:
    with db.session_scope() as session:
        make_persona(session, "Zoe")
    async with app.run_test(size=LARGE) as pilot:
        await settle(pilot)
        shown = screen_text(pilot)
        assert "PERSONAS" in shown
        assert "▸ Mira  nothing waits" in shown
        await pilot.press("P", "z", "o", "e", "enter")
        await shows(pilot, "No content pillars yet")
        assert "▸ Zoe" in screen_text(pilot)
        assert "[1] Give Zoe a first content pillar" in screen_text(pilot)


async def test_the_skeleton_is_there_while_the_core_starts(
    db: Database, core: QuietCore, plan: Planned
) -> None:
    may_start = threading.Event()

    def slow(_say: Callable[[str], None]) -> QuietCore:
        assert may_start.wait(30)
        return core

    app = PersonaApp(core.settings, core_factory=slow)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        for words in ("SCHEDULED POSTS", "NEXT ACTIONS", "◌ …", "starting…"):
            assert words in screen_text(pilot)
        may_start.set()
        await shows(pilot, "[1] Fill the gap")
        assert "◌ …" not in screen_text(pilot)


async def test_a_core_that_cant_start_leaves_only_the_reason(tmp_path: Path) -> None:
    core = TinyCore()
    core.error = StorageError("The disk is full.")
    app = PersonaApp(Settings(data_dir=tmp_path), core_factory=lambda _say: core)  # type: ignore[arg-type,return-value]
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        assert "The disk is full." in screen_text(pilot)
        assert "SCHEDULED POSTS" not in screen_text(pilot)


async def test_a_standby_says_who_generates(app: PersonaApp, core: QuietCore, db: Database) -> None:
    core.leads = False
    with db.session_scope() as session:
        plan = make_plan(session)
        start_run(session, plan)
    async with app.run_test(size=LARGE) as pilot:
        await settle(pilot)
        shown = screen_text(pilot)
        assert "(the leading process makes them)" in shown
        assert "▶ Bowl  step 1 of 2" in shown
        assert "0 of 4 pictures" in shown


# The lines alone


def plain(lines: object) -> list[str]:
    return [line.plain for line in lines if isinstance(line, Content)]  # type: ignore[attr-defined]


def view_of(db: Database, persona_id: int) -> DashboardView:
    with db.session_scope() as session:
        return dashboard(session, persona_id, now_of(session))


def test_a_run_shows_the_share_of_what_is_on_the_servers(db: Database, plan: Planned) -> None:
    with db.session_scope() as session:
        run = start_run(session, plan)
    engine = EngineStatus(
        (EndpointStatus("http://me:secret@gpu:8188/?key=k", False, 0, "It does not answer."),),
        (
            JobStatus(1, run.id, 1, 0.5, None),
            JobStatus(2, run.id, 1, 0.5, None),
            JobStatus(3, 999, 1, 0.9, None),
        ),
    )
    lines = plain(generation_lines(view_of(db, plan.persona_id), engine))
    assert lines[0].startswith("▶ Bowl  step 1 of 2, ")
    assert lines[1] == "  ━━━━────────────  0 of 4 pictures, 2 jobs on the servers"
    assert lines[2] == "✖ gpu:8188  It does not answer."


def test_a_complete_step_says_that_it_waits(db: Database, plan: Planned) -> None:
    with db.session_scope() as session:
        grow_run(session, plan, 3)
    lines = plain(generation_lines(view_of(db, plan.persona_id), None))
    assert lines[1] == "  3 pictures wait for you, no votes so far"


def test_nothing_in_generation_is_said(db: Database, plan: Planned) -> None:
    assert plain(generation_lines(view_of(db, plan.persona_id), None)) == ["Nothing is being generated."]


def test_processes_are_told_by_their_part() -> None:
    me = this_process()
    beat = Beat(me.id, "app", "here", 7, "1", True, 0.5)
    others = (
        replace(beat, process_id="b", kind="scheduler", leader=False),
        replace(beat, process_id="c", kind="worker"),
    )
    assert plain(process_lines((beat, *others), me.id)) == [
        "● leads  app  this one, here, pid 7",
        "○ stands by  scheduler  here, pid 7",
        "○ works  worker  here, pid 7",
    ]
    assert plain(process_lines((), me.id)) == ["No process has reported within the last minute."]


def test_gaps_and_dates_are_words() -> None:
    day = datetime(2026, 11, 20, tzinfo=UTC).date()
    assert [gap_words(gap) for gap in (3, 0, -4)] == ["3 missing", "covered", "covered, 4 spare"]
    spans = ((None, None), (day, None), (None, day), (day, day))
    assert [date_span(*span) for span in spans] == ["always", "from 20 Nov", "to 20 Nov", "20 Nov to 20 Nov"]
