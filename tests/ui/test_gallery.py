"""The gallery: three ways to see a run's pictures, and what its keys change."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.screens.gallery import GalleryScreen
from persona_tui.services.generation import gates
from persona_tui.services.generation.runs import RunView
from persona_tui.services.generation.traces import Trace, traces
from persona_tui.services.voting import contest
from persona_tui.widgets.choice import ChoiceDialog
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.picture import PicturePane
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.thumbnails import Thumbnails, Tile
from tests.support.world import Planned
from tests.ui.quiet_core import QuietCore, app_over, asked
from tests.ui.studio import ENDPOINT, PROMPT, Studio, start_run, until
from tests.ui.support import said, screen_text, settle

SMALL, LARGE = (80, 24), (200, 50)


@pytest.fixture
def app(quiet_core: QuietCore) -> PersonaApp:
    return app_over(quiet_core)


def grown(db: Database, studio: Studio, plan: Planned, **fields: Any) -> RunView:
    """Pictures 1 to 4, then 5 and 6 made of number 1."""
    with db.session_scope() as session:
        run = start_run(session, plan, **fields)
        studio.make(session, run.id)
        gates.approve(session, run.steps[0].id, 1, actor="operator")
        studio.make(session, run.id)
        return run


async def opened(pilot: Pilot[Any]) -> GalleryScreen:
    await settle(pilot)
    await pilot.press("f6")
    await settle(pilot)
    assert isinstance(pilot.app.screen, GalleryScreen)
    return pilot.app.screen


def tiles_shown(screen: GalleryScreen) -> list[Tile]:
    shown = [tile for tile in screen.query(Tile) if tile.display and not tile.is_empty]
    return [tile for tile in shown if tile.loaded]


def test_a_pictures_trace_counts_the_votes_that_count_and_says_where_it_comes_from(
    db: Database, studio: Studio, plan: Planned
) -> None:
    run = grown(db, studio, plan)
    with db.session_scope() as session:
        found = contest.contest_of_step(session, run.steps[0].id)
        first, second, *_ = contest.standings(session, found).members
        sitting = uuid.uuid4()
        for _ in range(3):
            contest.cast(session, found, (first.id, second.id), first.id, sitting=sitting)
        contest.undo(session, found, sitting=sitting)
        gates.reject(session, 1)
    with db.session_scope() as session:
        known = traces(session, run.id)
    assert [known[number].votes for number in (1, 2, 3)] == [2, 2, 0]
    assert known[1] == Trace(1, 2, ENDPOINT, "0.8.0", 4.25, 1)
    assert known[5].rejected_with == 1 and known[4].rejected_with is None


@pytest.mark.long(but=["size0-4"])
@pytest.mark.parametrize(("size", "first_page"), [(SMALL, 4), (LARGE, 6)])
async def test_the_grid_shows_as_many_pictures_as_fit_and_pages_through_the_rest(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned, size: tuple[int, int], first_page: int
) -> None:
    grown(db, studio, plan)
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: len(tiles_shown(screen)) == first_page)
        seen = screen_text(pilot)
        assert "6 pictures, this is 1 of 6" in seen
        assert "✅ went on" in seen and "no votes" in seen
        await pilot.press("end")
        await until(pilot, lambda: "this is 6 of 6" in screen_text(pilot))
        assert "from picture 1" in screen_text(pilot)
        await until(pilot, lambda: len(tiles_shown(screen)) == 6 % first_page or first_page)


async def test_enter_shows_one_picture_alone_with_its_origin_and_escape_leads_back(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    grown(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: len(tiles_shown(screen)) == 4)
        small = tiles_shown(screen)[0].size
        await pilot.press("right", "enter")
        await until(pilot, lambda: len(tiles_shown(screen)) == 1)
        large = tiles_shown(screen)[0].size
        assert large.area > 3 * small.area
        seen = screen_text(pilot)
        assert "this is 2 of 6" in seen and PROMPT in seen and "seed" in seen and "127.0.0.1:8188" in seen
        await pilot.press("right")
        await until(pilot, lambda: "this is 3 of 6" in screen_text(pilot))
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        assert "ComfyUI 0.8.0" in screen_text(pilot)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: not screen.query_one(Thumbnails).alone)
        assert app.screen is screen
        assert "this is 3 of 6" in screen_text(pilot)


async def test_the_tree_hangs_each_picture_below_the_one_it_grew_from(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    grown(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        await pilot.press("t")
        await settle(pilot)
        lines = [line.strip() for line in screen_text(pilot).splitlines() if "picture " in line][:6]
        assert [line.split("  ")[0] for line in lines[:3]] == ["├─▾ picture 1", "│", "│"]
        assert "├── picture 5" in lines[1] and "└── picture 6" in lines[2]
        assert lines[5].startswith("└── picture 4")
        await pilot.press("down", "down")
        await until(pilot, lambda: screen.query_one("#preview", PicturePane).loaded)
        await until(pilot, lambda: "this is 6 of 6" in screen_text(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: not screen.has_class("-tree"))
        assert screen.query_one(Thumbnails).cursor == 5


async def test_a_branch_is_rejected_and_taken_back(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    grown(db, studio, plan)
    active = "SELECT count(*) FROM image_candidates WHERE status = 'active'"
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        await pilot.press("x")
        await until(pilot, lambda: "rejected with 2 pictures that grew from it" in said(pilot))
        assert asked(db, active) == 3
        await until(pilot, lambda: "✗  rejected" in screen_text(pilot))
        await pilot.press("x")
        await until(pilot, lambda: "rejected already" in said(pilot))
        await pilot.press("end", "u")
        await until(pilot, lambda: "rejected together with picture 1" in said(pilot) + screen_text(pilot))
        assert asked(db, active) == 3
        for _ in range(2):
            await pilot.press("escape")
            await settle(pilot)
        await pilot.press("f6")
        await settle(pilot)
        await pilot.press("home", "u")
        await until(pilot, lambda: asked(db, active) == 6)


@pytest.mark.long
async def test_only_the_last_step_has_a_winner_and_another_one_is_asked_for(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    grown(db, studio, plan)
    won = "SELECT id FROM image_candidates WHERE winner"
    async with app.run_test(size=LARGE) as pilot:
        await opened(pilot)
        await pilot.press("w")
        await until(pilot, lambda: "Only a picture of the last step, refine, can win." in said(pilot))
        await pilot.press("end", "s")
        await until(pilot, lambda: "▲  would win" in screen_text(pilot))
        assert "▲  would go on" not in screen_text(pilot)
        await pilot.press("end", "w")
        await until(pilot, lambda: asked(db, won) == 6)
        await until(pilot, lambda: "⭐ winner" in screen_text(pilot))
        assert asked(db, "SELECT image_candidate_id FROM post_items") == 6
        await pilot.press("w")
        await until(pilot, lambda: "the winner already" in said(pilot))
        await pilot.press("left", "w")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: asked(db, won) == 5)


@pytest.mark.long
async def test_the_run_is_chosen_by_key_or_by_another_view(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        assert "No pictures yet." in screen_text(pilot) and "[F4]" in screen_text(pilot)
        first = grown(db, studio, plan, name="First")
        grown(db, studio, plan, name="Second", pipeline="two-step")
        await until(pilot, lambda: "Second" in screen_text(pilot))
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        assert "6 pictures" in screen_text(pilot)
        await pilot.press(*"first", "enter")
        await until(pilot, lambda: "First" in screen_text(pilot) and "Second" not in screen_text(pilot))
        await app.go_to("gallery", run_id=first.id, candidate_id=6)
        await until(pilot, lambda: "this is 6 of 6" in screen_text(pilot))


@pytest.mark.long
async def test_the_original_opens_outside_or_its_path_is_told(
    app: PersonaApp,
    db: Database,
    studio: Studio,
    plan: Planned,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grown(db, studio, plan)
    opened_files = tmp_path / "opened"
    viewer = tmp_path / "bin" / "xdg-open"
    viewer.parent.mkdir()
    viewer.write_text(f'#!/bin/sh\necho "$1" > {opened_files}\n')
    viewer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{viewer.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    async with app.run_test(size=LARGE) as pilot:
        await opened(pilot)
        await pilot.press("o")
        await until(pilot, lambda: "no desktop here" in said(pilot) + screen_text(pilot))
        if isinstance(app.screen, TextDialog):
            await pilot.press("escape")
        monkeypatch.setenv("DISPLAY", ":7")
        await pilot.press("o")
        await until(pilot, lambda: opened_files.exists() and opened_files.read_text().endswith("\n"))
        key = asked(db, "SELECT media_key FROM image_candidates WHERE id = 1")
        assert opened_files.read_text().strip().endswith(key)
