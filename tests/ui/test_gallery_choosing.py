"""The gallery's marks, order, filter, flags and the gate that can be tried: messages and what is stored."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from textual.pilot import Pilot
from textual.widgets import Input

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.screens.gallery import GalleryScreen
from persona_tui.screens.runs_forms import ApproveDialog
from persona_tui.services.voting import contest
from persona_tui.widgets.thumbnails import Tile
from tests.support.world import Planned
from tests.ui.quiet_core import QuietCore, app_over, asked
from tests.ui.studio import Studio, run_with_pictures, until
from tests.ui.support import said, screen_text
from tests.ui.test_gallery import grown, opened

SMALL, LARGE = (80, 24), (200, 50)
REJECTED = "SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM image_candidates WHERE status = 'rejected'"
FLAGGED = "SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM image_candidates WHERE flagged"


@pytest.fixture
def app(quiet_core: QuietCore) -> PersonaApp:
    return app_over(quiet_core)


def prefer(db: Database, run_step_id: int, candidate_id: int, times: int = 6) -> None:
    """Let one picture win against each of the others, so often."""
    with db.session_scope() as session:
        found = contest.contest_of_step(session, run_step_id)
        members = contest.standings(session, found).members
        best = next(member for member in members if member.candidate_id == candidate_id)
        for other in members:
            for _ in range(times if other is not best else 0):
                contest.cast(session, found, (best.id, other.id), best.id, sitting=uuid.uuid4())


def names_of(screen: GalleryScreen) -> list[str]:
    """First line below each thumbnail that is shown."""
    tiles = [tile for tile in screen.query(Tile) if tile.display and not tile.is_empty]
    return [tile.words.plain.splitlines()[0] for tile in tiles]


def order_of(screen: GalleryScreen) -> list[str]:
    """Number of each picture that is shown."""
    return [name.rsplit("  ", 1)[0].split()[-1] for name in names_of(screen)]


async def shown(pilot: Pilot[Any], screen: GalleryScreen, order: str) -> None:
    await until(pilot, lambda: order_of(screen) == order.split())


async def test_several_are_marked_rejected_at_once_and_taken_back_by_one_key(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    grown(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        await pilot.press("space", "right", "space", "end", "space")
        await until(pilot, lambda: "✓ 3 marked" in screen_text(pilot))
        await pilot.press("x")
        await until(
            pilot, lambda: "3 pictures are rejected with 1 picture that grew from them" in said(pilot)
        )
        assert asked(db, REJECTED) == [1, 2, 5, 6]
        assert "marked" not in screen_text(pilot)
        await until(pilot, lambda: "✗ rejected 4" in screen_text(pilot))
        await pilot.press("u")
        await until(pilot, lambda: "4 pictures taken back" in said(pilot))
        assert asked(db, REJECTED) == []
        await pilot.press("M")
        await until(pilot, lambda: "✓ 6 marked" in screen_text(pilot))
        await pilot.press("M")
        await until(pilot, lambda: "marked" not in screen_text(pilot))
        assert isinstance(screen, GalleryScreen)


@pytest.mark.long
async def test_nothing_is_rejected_where_the_winner_is_among_the_marked(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    grown(db, studio, plan)
    async with app.run_test(size=LARGE) as pilot:
        await opened(pilot)
        await pilot.press("end", "w")
        await until(pilot, lambda: asked(db, "SELECT id FROM image_candidates WHERE winner") == 6)
        await pilot.press("M", "x")
        await until(pilot, lambda: "The winner is part of that branch." in said(pilot) + screen_text(pilot))
        assert asked(db, REJECTED) == []


@pytest.mark.long
async def test_flags_are_set_and_taken_away_and_the_filter_keeps_what_is_flagged(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    grown(db, studio, plan)
    async with app.run_test(size=LARGE) as pilot:
        screen = await opened(pilot)
        await pilot.press("right", "f")
        await until(pilot, lambda: "Picture 2 flagged." in said(pilot))
        assert asked(db, FLAGGED) == [2]
        await pilot.press("space", "right", "space", "f")
        await until(pilot, lambda: "2 pictures flagged." in said(pilot))
        assert asked(db, FLAGGED) == [2, 3]
        await until(pilot, lambda: "⚑ flagged 2" in screen_text(pilot))
        await pilot.press("F", "F")
        await shown(pilot, screen, "2 3")
        assert "this is 2 of 2" in screen_text(pilot)
        await pilot.press("f")
        await until(pilot, lambda: "2 pictures no longer flagged." in said(pilot))
        assert asked(db, FLAGGED) == []
        await shown(pilot, screen, "1 2 3 4 5 6")


@pytest.mark.long
async def test_the_order_tells_no_secret_rating_until_it_is_asked_for(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan)
    prefer(db, run.steps[0].id, 3)
    with db.session_scope() as session:
        rating = session.execute(text("SELECT elo_score FROM image_candidates WHERE id = 3")).scalar_one()
    async with app.run_test(size=LARGE) as pilot:
        screen = await opened(pilot)
        await shown(pilot, screen, "1 2 3 4")
        assert str(rating) not in screen_text(pilot) and "rating hidden" in screen_text(pilot)
        assert "would go on  " not in screen_text(pilot) and "sure" not in screen_text(pilot)
        await pilot.press("s")
        await until(pilot, lambda: f"#1  {rating} ±" in screen_text(pilot))
        assert order_of(screen)[0] == "3"
        await pilot.press("S")
        await until(pilot, lambda: "most votes first" in screen_text(pilot))
        assert order_of(screen)[0] == "3"
        await pilot.press("S")
        await shown(pilot, screen, "4 3 2 1")


@pytest.mark.long
async def test_another_k_shows_who_goes_on_and_what_it_costs_and_is_approved_from_there(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan)
    prefer(db, run.steps[0].id, 3)
    gate = "SELECT array_agg(image_candidate_id ORDER BY rank) FROM gate_members"
    async with app.run_test(size=LARGE) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: "▲ 1 of 4 would go on → refine: 2 pictures" in screen_text(pilot))

        def passing() -> list[str]:
            return [tile.words.plain for tile in screen.query(Tile) if "▲" in tile.words.plain]

        assert not passing()
        await pilot.press("+")
        await until(pilot, lambda: len(passing()) == 1 and "3" in passing()[0].splitlines()[0])
        assert "rating hidden" in passing()[0]
        await pilot.press("+")
        await until(pilot, lambda: "▲ 2 of 4 would go on → refine: 4 pictures" in screen_text(pilot))
        await until(pilot, lambda: len(passing()) == 2)
        await pilot.press("+", "+", "+", "-")
        await until(pilot, lambda: "▲ 3 of 4 would go on → refine: 6 pictures" in screen_text(pilot))
        await pilot.press("-", "a")
        await until(
            pilot, lambda: isinstance(app.screen, ApproveDialog) and "4 pictures will" in screen_text(pilot)
        )
        await pilot.press("enter")
        await until(pilot, lambda: "base is approved: refine makes 4 pictures." in said(pilot))
        members = asked(db, gate)
        assert len(members) == 2 and members[0] == 3


async def test_old_ratings_from_a_file_are_a_start(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned, tmp_path: Path
) -> None:
    run_with_pictures(db, studio, plan)
    ids = asked(db, "SELECT array_agg(id ORDER BY id) FROM image_candidates")
    file = tmp_path / "old.csv"
    lines = [f"{one},{1000 + 50 * place}" for place, one in enumerate(ids)]
    file.write_text("\n".join(["picture,rating", *lines]))
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await pilot.press("R")
        await until(pilot, lambda: "Old ratings" in screen_text(pilot))
        pilot.app.screen.query_one(Input).value = str(file)
        await pilot.press("enter")
        await until(pilot, lambda: "4 old ratings taken" in said(pilot))
    rating = "SELECT elo_score FROM image_candidates WHERE id = :id"
    assert asked(db, rating, id=ids[-1]) > 1000 > asked(db, rating, id=ids[0])
    assert asked(db, "SELECT count(old_elo) FROM contest_members") == 4
