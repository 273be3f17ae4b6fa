"""The vote view: what is shown, which keys count, and what they leave in the database."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.screens.vote_table import VoteTable
from persona_tui.services.generation import gates, jobs
from persona_tui.services.generation.engine import EndpointStatus, Engine, EngineStatus, JobStatus
from persona_tui.services.generation.rejection import reject
from persona_tui.services.generation.runs import pause_run, resume_run
from persona_tui.services.media import MediaStore
from persona_tui.services.voting import contest
from persona_tui.widgets.picture import PicturePane
from tests.support.world import Planned, make_plan
from tests.ui.quiet_core import QuietCore, app_over, asked
from tests.ui.studio import (
    ENDPOINT,
    PROMPT,
    Studio,
    begin_job,
    opened_duel,
    opened_vote,
    painted,
    run_with_pictures,
    until,
    vote,
)
from tests.ui.support import said, screen_text, settle

SMALL, LARGE = (80, 24), (200, 50)


class DrawingEngine(Engine):
    """Tells of one job of a run, and has its preview."""

    def __init__(self, core: QuietCore, run_id: int) -> None:
        super().__init__(core.database.session_scope, MediaStore(core.settings), [])
        self._job = JobStatus(1, run_id, 1, 0.62, datetime.now(UTC))

    def status(self) -> EngineStatus:
        return EngineStatus((EndpointStatus(ENDPOINT, True, 1, ""),), (self._job,))

    def preview(self, job_id: int) -> bytes | None:
        return painted(7) if job_id == self._job.job_id else None


class DrawingCore(QuietCore):
    """Has an engine that is drawing."""

    def __init__(self, database: Database, folder: Path, run_id: int) -> None:
        super().__init__(database, folder)
        self._run_id = run_id

    @property
    def engine(self) -> Engine:
        return DrawingEngine(self, self._run_id)


@pytest.fixture
def app(quiet_core: QuietCore) -> PersonaApp:
    return app_over(quiet_core)


def count_votes(db: Database) -> int:
    return int(asked(db, "SELECT count(*) FROM votes"))


# What is shown


@pytest.mark.long(but=["size0"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_both_pictures_are_on_the_screen_side_by_side_without_ratings(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned, size: tuple[int, int]
) -> None:
    run_with_pictures(db, studio, plan)
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


@pytest.mark.long
async def test_the_panel_beside_the_pictures_takes_no_room_from_them(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened_duel(pilot)
        assert "HOW SURE" not in screen_text(pilot) and "no votes" in screen_text(pilot)
        await pilot.resize_terminal(*LARGE)
        await until(pilot, lambda: "HOW SURE" in screen_text(pilot))
        await until(pilot, lambda: all(pane.loaded for pane in screen.query_one(VoteTable).panes))


@pytest.mark.long
async def test_a_picture_shows_while_it_is_being_made(
    db: Database, studio: Studio, plan: Planned, tmp_path: Path
) -> None:
    run = run_with_pictures(db, studio, plan, 0)
    core = DrawingCore(db, tmp_path, run.id)
    async with app_over(core).run_test(size=SMALL) as pilot:
        screen = await opened_vote(pilot)
        pane = screen.query_one("#preview", PicturePane)
        await until(pilot, lambda: pane.loaded and pane.display)
        seen = screen_text(pilot)
        assert "so far" in seen and "62%" in seen


@pytest.mark.long
async def test_without_pictures_it_says_why_and_what_comes_next(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    with db.session_scope() as session:
        other = make_plan(session, "Zora")
    run_with_pictures(db, studio, other, name="Not Mira's")
    async with app.run_test(size=SMALL) as pilot:
        await opened_vote(pilot)
        seen = screen_text(pilot)
        assert "Nothing to vote on." in seen and "[F3] ideas" in seen
        assert "[←] left" not in seen
        run = run_with_pictures(db, studio, plan, 0)
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
    run = run_with_pictures(db, studio, plan, 1)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_vote(pilot)
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


@pytest.mark.long
async def test_a_picture_whose_file_is_gone_is_not_judged(
    quiet_core: QuietCore, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan, 2)
    for file in quiet_core.settings.media_dir.rglob("*.*"):
        file.unlink()
    async with app_over(quiet_core).run_test(size=SMALL) as pilot:
        await opened_vote(pilot)
        assert "its file is gone" in screen_text(pilot)
        await pilot.press("left")
        await settle(pilot)
        assert count_votes(db) == 0
        assert "file is gone" in said(pilot)


# Voting


async def test_each_key_votes_for_the_picture_on_its_side_and_space_for_neither(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
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
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_duel(pilot)
        table = screen.query_one(VoteTable)
        clock = [100.0]
        screen._clock = table._clock = lambda: clock[0]
        table.forget()
        screen.request_reload()
        await until(pilot, lambda: table.drawn_at is not None)
        for seconds, presses, counted in ((0.0, ["left"], 0), (0.1, ["left"], 0), (0.1, ["left", "l"], 1)):
            clock[0] += seconds
            await pilot.press(*presses)
            await settle(pilot)
            assert count_votes(db) == counted
        clock[0] += 1
        table.drawn_at = None
        await pilot.press("right")
        await settle(pilot)
        assert count_votes(db) == 1
        assert "Not counted" in said(pilot)


async def test_undo_takes_votes_back_one_by_one_and_shows_their_pairs_again(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
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
        assert "nothing of this sitting" in said(pilot)
        assert asked(db, "SELECT count(*) FROM votes WHERE undoes_vote_id IS NOT NULL") == 2


@pytest.mark.long
async def test_the_next_contest_is_one_key_away_and_follows_one_that_ended_elsewhere(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    first = run_with_pictures(db, studio, plan, name="First", pipeline="one-step")
    run_with_pictures(db, studio, plan, 2, name="Second")

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
