"""Pictures compared side by side, and the winners of all runs: messages and what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import text
from textual.pilot import Pilot

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.screens.compare import ComparedPicture, CompareScreen, best_shape
from persona_tui.screens.gallery import GalleryScreen
from persona_tui.screens.winners import WinnersScreen
from persona_tui.services.generation import gates
from persona_tui.services.generation.podium import podiums
from persona_tui.widgets.picture import PicturePane
from persona_tui.widgets.viewer import ViewerDialog
from tests.support.world import Planned
from tests.ui.quiet_core import QuietCore, app_over, asked
from tests.ui.studio import Studio, painted, run_with_pictures, until
from tests.ui.support import said, screen_text
from tests.ui.test_gallery import grown, opened
from tests.ui.test_gallery_choosing import FLAGGED, REJECTED, prefer

SMALL, LARGE = (80, 24), (200, 50)
WON = "SELECT id FROM image_candidates WHERE winner"


@pytest.fixture
def app(quiet_core: QuietCore) -> PersonaApp:
    return app_over(quiet_core)


async def compared(pilot: Pilot[Any], *keys: str) -> CompareScreen:
    """The comparison of the pictures that these keys mark in the gallery."""
    await opened(pilot)
    await pilot.press(*keys, "c")
    await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen))
    screen = pilot.app.screen
    assert isinstance(screen, CompareScreen)
    await until(pilot, lambda: all(pane.loaded for pane in screen.query(PicturePane)))
    return screen


def chosen(screen: CompareScreen) -> int:
    """Place of the picture on which keys act."""
    return next(one.place for one in screen.query(ComparedPicture) if one.has_class("-chosen"))


@pytest.mark.parametrize(
    ("count", "room", "largest", "shape"),
    [
        (2, (198, 40), (1024, 1024), (2, 1)),
        (2, (60, 60), (1024, 512), (1, 2)),
        (3, (198, 40), (1024, 1024), (3, 1)),
        (4, (78, 40), (1024, 1024), (2, 2)),
        (4, (198, 30), (512, 1024), (4, 1)),
    ],
)
def test_rows_and_columns_are_those_in_which_pictures_are_largest(
    count: int, room: tuple[int, int], largest: tuple[int, int], shape: tuple[int, int]
) -> None:
    assert best_shape(count, room, largest) == shape


async def test_marked_pictures_are_compared_flagged_rejected_and_taken_back_in_the_gallery(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await compared(pilot, "space", "right", "space", "right", "space")
        assert len(screen.query(ComparedPicture)) == 3
        assert "▸ 1 picture 1" in screen_text(pilot) and "rating hidden" in screen_text(pilot)
        await pilot.press("right", "f")
        await until(pilot, lambda: "Picture 2 flagged." in said(pilot))
        assert asked(db, FLAGGED) == [2] and chosen(screen) == 1
        await pilot.press("3", "x")
        await until(pilot, lambda: "Picture 3 is rejected." in said(pilot))
        await until(pilot, lambda: "✗  rejected" in screen_text(pilot))
        await pilot.press("1", "X")
        await until(pilot, lambda: asked(db, REJECTED) == [2, 3])
        await pilot.press("u")
        await until(pilot, lambda: asked(db, REJECTED) == [3])
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, GalleryScreen))
        assert "✓ 3 marked" in screen_text(pilot)
        await until(pilot, lambda: "✗ rejected 1" in screen_text(pilot))
        await pilot.press("u")
        await until(pilot, lambda: asked(db, REJECTED) == [])


@pytest.mark.long
async def test_only_two_to_four_pictures_are_compared(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    grown(db, studio, plan)
    async with app.run_test(size=LARGE) as pilot:
        screen = await opened(pilot)
        await pilot.press("space", "c")
        await until(pilot, lambda: "Mark two to four pictures" in said(pilot))
        await pilot.press("M", "c")
        await until(pilot, lambda: "6 are marked" in said(pilot))
        assert app.screen is screen


@pytest.mark.long
async def test_all_are_seen_at_100_percent_at_the_same_place_and_panned_together(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    studio.paint = lambda number: painted(number, (1024, 1280) if number < 3 else (512, 640))  # type: ignore[method-assign]
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=LARGE) as pilot:
        screen = await compared(pilot, "space", "right", "right", "space")
        large, small = (pane.size for pane in screen.query(PicturePane))
        assert abs(large.width - 2 * small.width) <= 1 and abs(large.height - 2 * small.height) <= 1
        await pilot.press("Z", "L", "L", "J")
        await until(pilot, lambda: "100 %, linked" in screen_text(pilot))
        seen = [pane.zoom for pane in screen.query(PicturePane)]
        assert seen[0] == seen[1] == (pytest.approx(0.7), pytest.approx(0.6))
        await pilot.press("Z")
        await until(pilot, lambda: "whole" in screen_text(pilot))
        assert [pane.zoom for pane in screen.query(PicturePane)] == [None, None]


async def test_one_picture_is_seen_at_100_percent_from_the_gallery(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        await pilot.press("Z")
        await until(pilot, lambda: isinstance(app.screen, ViewerDialog))
        await until(pilot, lambda: "picture 1  1 of 4  at 100 %" in screen_text(pilot))
        pane = app.screen.query_one(PicturePane)
        await pilot.press("H")
        await until(pilot, lambda: pane.zoom == (0.4, 0.5))
        await pilot.press("right", "Z")
        await until(pilot, lambda: "picture 2  2 of 4" in screen_text(pilot) and pane.zoom is None)
        assert "at 100 %" not in screen_text(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen and "this is 2 of 4" in screen_text(pilot))


@pytest.mark.long
async def test_the_winners_of_all_runs_are_listed_copied_and_chosen(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    first = grown(db, studio, plan, name="Decided")
    with db.session_scope() as session:
        gates.choose_winner(session, 5, actor="operator")
    second = run_with_pictures(db, studio, plan, name="Still open")
    prefer(db, second.steps[0].id, 9)
    with db.session_scope() as session:
        found = podiums(session)
        assert [(one.run_id, one.decided, one.is_last) for one in found] == [
            (second.id, False, False),
            (first.id, True, True),
        ]
        assert [place.candidate_id for place in found[1].places] == [5, 6]
        assert found[0].places[0].candidate_id == 9 and len(found[0].places) == 3
        key = session.execute(text("SELECT media_key FROM image_candidates WHERE id = 6")).scalar_one()
    async with app.run_test(size=LARGE) as pilot:
        await opened(pilot)
        await pilot.press("W")
        await until(pilot, lambda: isinstance(app.screen, WinnersScreen) and "Decided" in screen_text(pilot))
        assert "votes open" in screen_text(pilot) and "picture 9" not in screen_text(pilot)
        assert "🥇" in screen_text(pilot) and "picture 5  winner" in screen_text(pilot)
        await pilot.press("s")
        await until(pilot, lambda: "picture 9" in screen_text(pilot))
        await pilot.press("s", "end", "y")
        await until(pilot, lambda: "Copied:" in said(pilot))
        assert Path(app.clipboard).is_file() and app.clipboard.endswith(key)
        with Image.open(app.clipboard) as image:
            assert image.size == (64, 80)
        await pilot.press("w", "y")
        await until(pilot, lambda: asked(db, WON) == 6)
        await until(pilot, lambda: "picture 6  winner" in screen_text(pilot))
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, GalleryScreen))
        await until(pilot, lambda: "this is 6 of 6" in screen_text(pilot))
