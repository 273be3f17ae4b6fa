"""The tree: folding, going from one picture to another, what is still to come, and ratings kept secret."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.screens.gallery import GalleryScreen
from persona_tui.screens.gallery_data import Leaf
from persona_tui.screens.gallery_strip import LineageStrip
from persona_tui.screens.gallery_tree import BranchList, Forest
from persona_tui.screens.runs_forms import ApproveDialog
from persona_tui.screens.runs_picture import RunPicture
from persona_tui.services.generation import jobs
from persona_tui.services.generation.health import JobStatus
from persona_tui.services.generation.places import PlaceView, unfilled_places
from persona_tui.services.generation.traces import Trace
from persona_tui.services.generation.tree import CandidateView
from persona_tui.widgets.picture import PicturePane
from tests.support.world import Planned
from tests.ui.quiet_core import app_over, asked
from tests.ui.studio import ENDPOINT, Studio, begin_job, painted, run_with_pictures, start_run, until
from tests.ui.support import screen_text
from tests.ui.test_gallery import grown, opened
from tests.ui.test_runs import first_open_place
from tests.ui.test_runs_looking import DrawingCore

SMALL, LARGE = (80, 24), (200, 50)
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


@pytest.fixture
def quiet_core(db: Database, tmp_path: Path) -> DrawingCore:
    return DrawingCore(db, tmp_path)


@pytest.fixture
def app(quiet_core: DrawingCore) -> PersonaApp:
    return app_over(quiet_core)


async def tree_of(pilot: Pilot[Any]) -> tuple[GalleryScreen, BranchList]:
    """The gallery as a tree."""
    screen = await opened(pilot)
    await pilot.press("t")
    await until(pilot, lambda: screen.query_one(BranchList).has_focus)
    return screen, screen.query_one(BranchList)


def current(tree: BranchList) -> tuple[str, int] | None:
    return tree.current.key if tree.current is not None else None


def leaf(number: int, parent: int | None) -> Leaf:
    """A picture of no run in particular."""
    candidate = CandidateView(
        id=number,
        run_id=1,
        run_step_id=1 if parent is None else 2,
        position=1 if parent is None else 2,
        step="base",
        parent_id=parent,
        media_key="k",
        sha256="s",
        width=8,
        height=8,
        seed=1,
        elo_score=1000,
        status="active",
        winner=False,
        gate_rank=None,
        created_at=NOON,
    )
    return Leaf(candidate, Trace(number, 0, "", "", None, None), None, 0, True)


def test_a_large_tree_is_folded_and_only_what_is_unfolded_is_walked() -> None:
    forest = Forest()
    leaves = [leaf(number, None) for number in range(1, 41)]
    leaves += [leaf(1000 + number, 1 + number % 40) for number in range(2000)]
    forest.plant(leaves, [PlaceView(7, 2, "refine", 3, "open", None, "")])
    assert len(forest.twigs()) == 40
    forest.set_unfolded(3, True)
    shown = forest.twigs()
    assert len(shown) == 40 + 50 + 1
    assert [twig.key for twig in shown if not twig.leaf] == [("place", 7)]
    forest.open_way_to(1000)
    assert ("picture", 1000) in [twig.key for twig in forest.twigs()]
    forest.set_all(True)
    assert len(forest.twigs()) == 2041
    forest.plant([replace(one) for one in leaves], [])
    assert len(forest.twigs()) == 2040, "what is read anew stays unfolded"


async def test_branches_fold_and_the_cursor_goes_to_parents_children_and_siblings(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    grown(db, studio, plan)
    async with app.run_test(size=SMALL) as pilot:
        screen, tree = await tree_of(pilot)
        await pilot.press("right")
        assert current(tree) == ("picture", 5)
        await pilot.press("]")
        assert current(tree) == ("picture", 6)
        await pilot.press("]")
        assert current(tree) == ("picture", 6), "the next branch's pictures are no siblings"
        await until(pilot, lambda: "the prompt › ✅ 1 base › ● 6 refine" in screen_text(pilot))
        await pilot.press("p")
        assert current(tree) == ("picture", 1)
        await pilot.press("]")
        assert current(tree) == ("picture", 2)
        await pilot.press("[", "left")
        await until(pilot, lambda: "├─▸ picture 1  base  +2" in screen_text(pilot))
        assert len(tree.items) == 4
        await pilot.press("h")
        assert current(tree) == ("picture", 1), "what grew from the prompt alone has no parent"
        await pilot.press("asterisk")
        assert len(tree.items) == 6
        await pilot.press("right", "equals_sign")
        assert len(tree.items) == 4 and current(tree) == ("picture", 1)
        await app.go_to("gallery", candidate_id=6)
        await until(pilot, lambda: current(tree) == ("picture", 6))
        await pilot.press("enter")
        await until(pilot, lambda: not screen.has_class("-tree"))
        await pilot.press("escape")
        await until(pilot, lambda: screen.has_class("-tree") and current(tree) == ("picture", 6))


@pytest.mark.long
async def test_what_is_made_waits_or_was_given_up_stands_where_it_will_be(
    app: PersonaApp, quiet_core: DrawingCore, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan, 1, steps={1: {"children_per_parent": 5}})
    with db.session_scope() as session:
        failing = begin_job(session, first_open_place(db, run))
        jobs.fail(session, failing, "CUDA out of memory", jobs.RetryPolicy(failures=1))
    with db.session_scope() as session:
        drawn = begin_job(session, first_open_place(db, run))
    quiet_core.jobs = (JobStatus(drawn.id, run.id, 1, 0.4, datetime.now(UTC), ENDPOINT, 0),)
    quiet_core.previews[drawn.id] = painted(3)
    with db.session_scope() as session:
        assert sorted(place.state for place in unfilled_places(session, run.id)) == [
            "busy",
            "failed",
            "open",
            "open",
        ]
    async with app.run_test(size=SMALL) as pilot:
        screen, tree = await tree_of(pilot)
        assert [twig.places[0].state if twig.places else "picture" for twig in tree.items] == [
            "picture",
            "busy",
            "open",
            "failed",
        ]
        seen = screen_text(pilot)
        assert "▶  being made" in seen and "40%" in seen
        assert "2 pictures  base" in seen and "◌  waits" in seen and "✗  given up" in seen
        pane = screen.query_one("#preview", PicturePane)
        await pilot.press("down")
        await until(pilot, lambda: pane.loaded and "from the prompt alone" in screen_text(pilot))
        assert "[x] reject" not in screen_text(pilot)
        await pilot.press("down")
        await until(pilot, lambda: "2 pictures will be made here." in screen_text(pilot))
        await pilot.press("down")
        await until(pilot, lambda: "CUDA out of memory" in screen_text(pilot))
        assert "→ The card's memory was full" in screen_text(pilot)


@pytest.mark.long(but=["size0"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_ratings_that_are_voted_on_are_secret_until_asked_for_and_so_is_their_order(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned, size: tuple[int, int]
) -> None:
    grown(db, studio, plan)
    asked(db, "UPDATE image_candidates SET elo_score = 1000 + 7 * id RETURNING id")
    async with app.run_test(size=size) as pilot:
        _, tree = await tree_of(pilot)
        assert "1042" not in screen_text(pilot) and "1035" not in screen_text(pilot)
        assert "1028" in screen_text(pilot), "the first step is decided"
        keys = [twig.key[1] for twig in tree.items]
        assert keys.index(5) < keys.index(6)
        await pilot.press("s")
        await until(pilot, lambda: "1042" in screen_text(pilot))
        keys = [twig.key[1] for twig in tree.items]
        assert keys.index(6) < keys.index(5)
        await pilot.press("s")
        await until(pilot, lambda: "1042" not in screen_text(pilot))


@pytest.mark.long
async def test_the_way_to_a_picture_is_shown_in_thumbnails_where_there_is_room(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    grown(db, studio, plan)
    async with app.run_test(size=LARGE) as pilot:
        screen, _ = await tree_of(pilot)
        strip = screen.query_one(LineageStrip)
        assert not strip.display
        await pilot.press("right")
        await until(pilot, lambda: strip.display)
        shown = [pane for pane in strip.query(RunPicture) if pane.display]
        assert len(shown) == 2
        await until(pilot, lambda: all(pane.pane.loaded for pane in shown))
        assert "› 5 refine" in screen_text(pilot)


@pytest.mark.long
async def test_a_step_is_approved_from_the_tree(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    with db.session_scope() as session:
        run = start_run(session, plan)
        studio.make(session, run.id)
    async with app.run_test(size=SMALL) as pilot:
        _, tree = await tree_of(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ApproveDialog))
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, ApproveDialog))
        await until(pilot, lambda: "✅ 1 base 4 of 4" in screen_text(pilot))
        assert len(tree.items) == 5
    assert asked(db, "SELECT count(*) FROM gate_members") == 1
