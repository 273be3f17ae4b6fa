"""Up to four pictures at once on the vote view, and other ways to look at what is shown."""

from __future__ import annotations

import pytest

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.screens.vote_table import VoteTable, best_columns
from persona_tui.widgets.choice import ChoiceDialog
from persona_tui.widgets.picture import PicturePane
from tests.support.world import Planned
from tests.ui.quiet_core import QuietCore, app_over, asked
from tests.ui.studio import Studio, opened_duel, run_with_pictures, until, vote
from tests.ui.support import said, screen_text, settle

SMALL, LARGE = (80, 24), (200, 50)


@pytest.fixture
def app(quiet_core: QuietCore) -> PersonaApp:
    return app_over(quiet_core)


@pytest.mark.parametrize(
    ("count", "size", "columns"), [(2, (80, 18), 2), (4, (78, 18), 4), (4, (90, 60), 2), (1, (80, 18), 1)]
)
def test_pictures_stand_where_they_are_largest(count: int, size: tuple[int, int], columns: int) -> None:
    assert best_columns(count, *size) == columns


async def test_one_key_takes_the_best_of_four(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_duel(pilot)
        await pilot.press("g")
        await until(pilot, lambda: screen.scene.kind == "grid" and screen.ready)
        panes = screen.query_one(VoteTable).panes
        assert len(panes) == 4 and all(pane.loaded for pane in panes)
        regions = [pane.region for pane in panes]
        assert not any(a.overlaps(b) for a in regions for b in regions if a is not b)
        assert all(f"[{number}] this one" in screen_text(pilot) for number in (1, 2, 3, 4))
        await pilot.press("left")
        await settle(pilot)
        assert asked(db, "SELECT count(*) FROM votes") == 0
        for place in (3, 4, 1, 2):
            shown = screen.scene.shown
            await vote(pilot, screen, str(place))
            last = "SELECT {} FROM vote_items WHERE chosen ORDER BY vote_id DESC LIMIT 1"
            assert asked(db, last.format("side")) == place
            assert asked(db, last.format("contest_member_id")) == shown[place - 1].id
        assert asked(db, "SELECT count(*) FROM vote_items") == 16
        await pilot.press("g")
        await until(pilot, lambda: screen.scene.kind == "duel" and screen.ready)
        await vote(pilot, screen, "2")
        last = "SELECT side FROM vote_items WHERE chosen ORDER BY vote_id DESC LIMIT 1"
        assert asked(db, last) == 2


@pytest.mark.long
async def test_with_two_pictures_there_is_no_grid(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan, 2)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_duel(pilot)
        await pilot.press("g", "3", "4")
        await settle(pilot)
        assert "Only two pictures" in said(pilot) and screen.scene.kind == "duel"
        assert asked(db, "SELECT count(*) FROM votes") == 0


@pytest.mark.long
async def test_swapped_sides_are_recorded_as_they_were_seen(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_duel(pilot)
        left, right = screen.scene.shown
        await pilot.press("c")
        await until(pilot, lambda: screen.ready)
        assert [member.id for member in screen.scene.shown] == [right.id, left.id]
        await vote(pilot, screen, "left")
        chosen = "SELECT contest_member_id FROM vote_items WHERE chosen AND side = 1"
        assert asked(db, chosen) == right.id


@pytest.mark.long
async def test_blinking_shows_the_pictures_in_turn_in_one_place_until_a_vote(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_duel(pilot)
        table = screen.query_one(VoteTable)
        width = table.panes[0].size.width
        await pilot.press("b")
        pane = table.query_one("#blink", PicturePane)
        await until(pilot, lambda: pane.loaded)
        assert pane.size.width > width and not table.panes[0].region.area
        seen = {table.seen}
        await until(pilot, lambda: seen.add(table.seen) or seen == {0, 1})
        await vote(pilot, screen, "right")
        assert not table.blinks and asked(db, "SELECT side FROM vote_items WHERE chosen") == 2
        await pilot.press("b", "b")
        assert not table.blinks and table.panes[0].display


@pytest.mark.long
async def test_a_flag_stays_with_the_picture(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
    flagged = "SELECT id FROM image_candidates WHERE flagged"
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_duel(pilot)
        picture = screen.scene.shown[1].candidate_id
        await pilot.press("f")
        assert "Flag which picture?" in screen_text(pilot)
        await pilot.press("right")
        await settle(pilot)
        assert asked(db, flagged) == picture and f"Picture {picture} is flagged" in said(pilot)
        assert screen_text(pilot).count("⚑ flagged") == 1
        await pilot.press("f", "escape")
        assert "Flag which picture?" not in screen_text(pilot) and app.current_mode == "vote"
        await pilot.press("f", "2")
        await settle(pilot)
        assert asked(db, flagged) is None
        assert asked(db, "SELECT count(*) FROM votes") == 0


async def test_the_queue_lists_what_waits_and_goes_where_it_is_told(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan, name="First", pipeline="one-step")
    run_with_pictures(db, studio, plan, 2, name="Second")
    async with app.run_test(size=LARGE) as pilot:
        screen = await opened_duel(pilot)
        assert screen.scene.run.name == "First"
        await vote(pilot, screen, "left")
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        seen = screen_text(pilot)
        assert "First, step 1" in seen and "4 pictures, 1 vote, " in seen and "2 pictures, no votes" in seen
        await pilot.press("down", "enter")
        await until(pilot, lambda: screen.scene is not None and screen.ready)
        assert screen.scene.run.name == "Second"


@pytest.mark.long
async def test_at_100_percent_all_pictures_move_together_and_a_vote_shows_whole_ones_again(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened_duel(pilot)
        panes = screen.query_one(VoteTable).panes
        await pilot.press("L")
        assert [pane.zoom for pane in panes] == [None, None]
        await pilot.press("Z")
        await until(pilot, lambda: all(pane.loaded for pane in panes))
        assert [pane.zoom for pane in panes] == [(0.5, 0.5)] * 2 and "100 %" in screen_text(pilot)
        await pilot.press("L", "shift+right", "K")
        assert [pane.zoom for pane in panes] == [(0.7, 0.4)] * 2
        await pilot.press(*"HHHHHHHHHJJJJJJJJJ")
        assert [pane.zoom for pane in panes] == [(0.0, 1.0)] * 2
        await pilot.press("Z")
        assert [pane.zoom for pane in panes] == [None, None]
        await pilot.press("Z")
        await vote(pilot, screen, "left")
        assert [pane.zoom for pane in panes] == [None, None]
        assert asked(db, "SELECT count(*) FROM votes") == 1
