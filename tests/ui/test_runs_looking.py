"""Looking at runs: filters, everybody's runs, what failed, the servers, the picture being drawn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.runtime import CoreStatus
from persona_tui.screens.runs_errors import TroubleDialog
from persona_tui.screens.runs_picture import RunPicture
from persona_tui.screens.runs_servers import ServersDialog
from persona_tui.services.generation import jobs
from persona_tui.services.generation.health import EndpointStatus, EngineStatus, JobStatus
from tests.support.world import Planned, make_plan
from tests.ui.quiet_core import QuietCore, app_over, asked
from tests.ui.studio import ENDPOINT, Studio, begin_job, painted, run_with_pictures, until
from tests.ui.support import said, screen_text
from tests.ui.test_runs import first_open_place, opened

SMALL, LARGE = (80, 24), (200, 50)
WORDS = (
    "Node 1 (CheckpointLoaderSimple): input ckpt_name is 'flux.safetensors', which the server does not have"
)


class DrawingCore(QuietCore):
    """A core whose engine draws what a test says.

    Attributes:
        jobs: what is on the server.
        previews: job's id → what is drawn of it so far.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        super().__init__(database, folder)
        self.jobs: tuple[JobStatus, ...] = ()
        self.previews: dict[int, bytes] = {}

    @property
    def engine(self) -> Any:
        return SimpleNamespace(status=self._drawn, preview=self.previews.get, wake=lambda: None)

    def _drawn(self) -> EngineStatus:
        server = EndpointStatus(ENDPOINT, True, 2, "", "0.8.0", 18 << 30, 24 << 30, 2)
        return EngineStatus((server,), self.jobs)

    def status(self) -> CoreStatus:
        found = super().status()
        return type(found)(**{**vars(found), "engine": self._drawn()})


@pytest.fixture
def quiet_core(db: Database, tmp_path: Path) -> DrawingCore:
    return DrawingCore(db, tmp_path)


@pytest.fixture
def app(quiet_core: DrawingCore) -> PersonaApp:
    return app_over(quiet_core)


def fail_once(db: Database, run_id: int, words: str = WORDS, *, permanent: bool = True) -> None:
    """A job of the run fails."""
    with db.session_scope() as session:
        job = begin_job(session, first_open_place(db, SimpleNamespace(id=run_id)))  # type: ignore[arg-type]
        jobs.fail(session, job, words, jobs.RetryPolicy(), permanent=permanent)


@pytest.mark.long
async def test_the_filter_cuts_the_list_down_and_counts_what_each_one_holds(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan, name="Waiting")
    broken = run_with_pictures(db, studio, plan, 1, name="Broken")
    fail_once(db, broken.id)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: "all 2" in screen_text(pilot))
        assert "your turn 1" in screen_text(pilot) and "failed 1" in screen_text(pilot)
        await pilot.press("f", "f")
        await until(pilot, lambda: [run.name for run in screen.query_one("#runs").items] == ["Waiting"])  # type: ignore[attr-defined]
        await pilot.press("f")
        await until(pilot, lambda: [run.name for run in screen.query_one("#runs").items] == ["Broken"])  # type: ignore[attr-defined]
        await pilot.press("f")
        await until(pilot, lambda: "No run is like that" in screen_text(pilot))
        await app.go_to("runs", run_id=broken.id)
        await until(pilot, lambda: len(screen.query_one("#runs").items) == 2)  # type: ignore[attr-defined]


@pytest.mark.long
async def test_everybodys_runs_are_one_key_away(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    with db.session_scope() as session:
        other = make_plan(session, name="Zoe")
    run_with_pictures(db, studio, plan, 0, name="Mine")
    run_with_pictures(db, studio, other, 0, name="Hers")
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "all 1" in screen_text(pilot))
        await pilot.press("A")
        await until(pilot, lambda: "all 2" in screen_text(pilot) and "Zoe" in screen_text(pilot))


@pytest.mark.long(but=["size0"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_what_failed_is_told_with_what_to_do_and_tried_again_from_there(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned, size: tuple[int, int]
) -> None:
    run = run_with_pictures(db, studio, plan, 1)
    fail_once(db, run.id)
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "1 given up" in screen_text(pilot))
        await pilot.press("e")
        await until(
            pilot, lambda: isinstance(app.screen, TroubleDialog) and "✗ given up" in screen_text(pilot)
        )
        seen = " ".join(screen_text(pilot).replace("┃", " ").split())
        assert "which the server does not have" in seen
        assert "→ Put it on the server, or name another one in the pipeline" in seen
        assert f"job {asked(db, 'SELECT max(id) FROM comfyui_jobs')} of run {run.id}" in seen
        await pilot.press("r")
        await until(pilot, lambda: "is tried again" in said(pilot))
    assert asked(db, "SELECT status FROM pipeline_runs") == "running"
    assert asked(db, "SELECT count(*) FROM generation_slots WHERE state = 'failed'") == 0


@pytest.mark.long
async def test_the_failures_of_all_runs_are_listed_from_any_run(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    broken = run_with_pictures(db, studio, plan, 1, name="Broken")
    fail_once(db, broken.id, "CUDA out of memory", permanent=False)
    run_with_pictures(db, studio, plan, name="Fine")
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        await pilot.press("e")
        await until(pilot, lambda: "Nothing failed." in screen_text(pilot))
        await pilot.press("a")
        await until(pilot, lambda: "1 base, Broken" in screen_text(pilot))
        assert "▶ tried again" in screen_text(pilot) or "◌ waits again" in screen_text(pilot)
        await until(pilot, lambda: "memory was full" in screen_text(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, TroubleDialog))


async def test_the_picture_being_drawn_stands_beside_the_run_and_the_servers_are_one_key_away(
    app: PersonaApp, quiet_core: DrawingCore, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan, 2)
    now = datetime.now(UTC)
    quiet_core.jobs = (
        JobStatus(901, run.id, 1, 0.4, now - timedelta(seconds=7), ENDPOINT, 0),
        JobStatus(902, run.id, 1, 0.0, None, ENDPOINT, 1),
    )
    quiet_core.previews[901] = painted(1)
    async with app.run_test(size=LARGE) as pilot:
        screen = await opened(pilot)
        live = screen.query_one("#live", RunPicture)
        await until(pilot, lambda: live.pane.loaded and screen.query_one("#best", RunPicture).pane.loaded)
        seen = screen_text(pilot)
        assert "▶ step 1, 40%" in seen
        assert "step 1  is next  on 127.0.0.1:8188" in seen
        assert "VRAM ━━━━──────────── 6.0 of 24 GB" in seen
        assert "queue 2, all ours, kept 2 deep" in seen
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ServersDialog))
        assert "1 of 1 server healthy, 2 jobs on them" in screen_text(pilot)
        quiet_core.jobs = ()
        await until(pilot, lambda: "no jobs on them" in screen_text(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: not screen.has_class("-drawing"))


@pytest.mark.long
async def test_at_80_columns_the_picture_being_drawn_takes_the_best_ones_place(
    app: PersonaApp, quiet_core: DrawingCore, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan, 2)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        live, best = screen.query_one("#live", RunPicture), screen.query_one("#best", RunPicture)
        await until(pilot, lambda: best.pane.loaded)
        assert not live.display
        quiet_core.jobs = (JobStatus(901, run.id, 1, 0.4, datetime.now(UTC), ENDPOINT, 0),)
        quiet_core.previews[901] = painted(1)
        await until(pilot, lambda: live.display and live.pane.loaded)
        assert not best.display
