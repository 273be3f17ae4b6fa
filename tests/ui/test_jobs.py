"""Background work by key: retry, cancel, and who works on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from textual.pilot import Pilot

from persona_tui.database.engine import Database, leader_lock_key
from persona_tui.runtime import CoreStatus
from persona_tui.screens.jobs import JobsScreen
from persona_tui.screens.jobs_reading import Work, worker_lines
from persona_tui.services import jobs
from persona_tui.services.generation.health import EndpointStatus, EngineStatus
from persona_tui.services.leadership import Beat, Leadership
from persona_tui.widgets.confirm import ConfirmDialog
from tests.ui.quiet_core import QuietCore, app_over, asked, until
from tests.ui.support import said, screen_text, settle

TASK = "library:analyse_persona"


@pytest.fixture
def work(db: Database) -> list[int]:
    """Jobs that failed, run, wait and are done, by their ids in this order."""
    with db.session_scope() as session:
        made = [jobs.defer(session, TASK, persona_id=number) for number in range(1, 5)]
        for job, status in zip(made, ("failed", "doing", "todo", "succeeded"), strict=True):
            session.execute(
                text(f"UPDATE procrastinate_jobs SET status = '{status}' WHERE id = :id"), {"id": job}
            )
    return [job for job in made if job is not None]


@pytest.fixture
def leading(db: Database) -> Iterator[Leadership]:
    """A scheduler that leads this database: this very process."""
    leadership = Leadership(db.conninfo(), leader_lock_key(db.schema), "scheduler")
    assert leadership.beat()
    yield leadership
    leadership.resign()


@asynccontextmanager
async def opened(db: Database, folder: Path, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Pilot[None]]:
    app = app_over(QuietCore(db, folder))
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("f11")
        await settle(pilot)
        yield pilot


def status_of(db: Database, job: int) -> str:
    return str(asked(db, "SELECT status::text FROM procrastinate_jobs WHERE id = :id", id=job))


async def test_jobs_show_their_state_and_the_failed_one_is_marked_and_retried(
    db: Database, work: list[int], tmp_path: Path
) -> None:
    failed, running, waiting, done = work
    async with opened(db, tmp_path) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, JobsScreen)
        shown = screen_text(pilot)
        for words in ("❌ failed", "🚀 runs", "🕒 waits", "✅ done", "1 running, 1 waiting, 1 failed"):
            assert words in shown
        assert TASK in shown and f"persona_id {done}" in shown and f"persona_id {running}" in shown
        assert screen.job_list.current_key == failed
        await pilot.press("tab", "enter")
        await settle(pilot)
        assert f"Job {failed}" in screen_text(pilot) and "Attempts: 0" in screen_text(pilot)
        await pilot.press("escape", "r")
        await until(pilot, lambda: said(pilot) == f"Job {failed} is queued again.")
        assert status_of(db, failed) == "todo"
        assert status_of(db, waiting) == "todo"


async def test_a_job_that_waits_is_cancelled_after_a_yes(
    db: Database, work: list[int], tmp_path: Path
) -> None:
    failed, _, waiting, _ = work
    async with opened(db, tmp_path) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, JobsScreen)
        await pilot.press("x")
        await settle(pilot)
        assert said(pilot) == "Only a job that waits can be cancelled; this one: ❌ failed."
        assert status_of(db, failed) == "failed"
        screen.job_list.go_to(waiting)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("n")
        await settle(pilot)
        assert status_of(db, waiting) == "todo"
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: status_of(db, waiting) == "cancelled")
        await until(pilot, lambda: "🚫 cancelled" in screen_text(pilot))


async def test_who_works_is_listed_and_nothing_to_do_is_no_emptiness(
    db: Database, leading: Leadership, tmp_path: Path
) -> None:
    async with opened(db, tmp_path) as pilot:
        shown = screen_text(pilot)
        assert f"● leads      scheduler {leading.process.pid}, this one  on {leading.process.host}" in shown
        assert "nothing waits 🎉" in shown and "no background work" in shown
        await pilot.press("r")
        await settle(pilot)
        assert said(pilot) == "There is no job here to do that with."


def test_trouble_comes_first_then_processes_then_servers() -> None:
    beats = (
        Beat("a", "scheduler", "studio", 1, "0.1.0", True, 2.0),
        Beat("b", "app", "laptop", 2, "0.1.0", False, 14.0),
    )
    engine = EngineStatus(
        (
            EndpointStatus("http://one:8188", True, 3, "ComfyUI 0.8.0"),
            EndpointStatus("http://two:8188", False, 0, "It does not answer."),
        ),
        (),
    )
    status = CoreStatus("b", False, 0, None, engine, ("The tick failed.",))
    lines = [line.plain for line in worker_lines(Work((), beats), status)]
    assert lines == [
        "⚠  The tick failed.",
        "● leads      scheduler 1  on studio, version 0.1.0, heard 2 s ago",
        "✖ silent     app 2, this one  on laptop, version 0.1.0, heard 14 s ago",
        "● works      ComfyUI http://one:8188  3 prompts in its queue  ComfyUI 0.8.0",
        "✖ away       ComfyUI http://two:8188  It does not answer.",
    ]
