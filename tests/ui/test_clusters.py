"""The library by key: shelves, their pictures, and the way to a draft."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from textual.widgets import Input

from persona_tui.database.engine import Database
from persona_tui.services.library.clusters import create_cluster
from persona_tui.services.publishing.post_views import list_posts
from persona_tui.services.publishing.posts import draft_for_winner, schedule
from persona_tui.widgets.picture import PicturePane
from persona_tui.widgets.thumbnails import Thumbnails, Tile
from persona_tui.widgets.viewer import ViewerDialog, open_outside
from tests.support.world import make_account, make_persona, make_plan
from tests.ui.clusters_world import LARGE, SMALL, Library, library_screen, opened
from tests.ui.quiet_core import QuietCore, app_over, until
from tests.ui.support import said, screen_text, settle


@pytest.fixture
def library(db: Database, tmp_path: Path) -> Library:
    with db.session_scope() as session:
        return Library(db, tmp_path, make_plan(session))


async def test_clusters_show_stock_and_pillar_and_the_pictures_of_the_marked_one(library: Library) -> None:
    library.stock(4)
    with library.db.session_scope() as session:
        create_cluster(session, library.plan.persona_id, {"name": "Kiln"})
        make_account(session, library.plan.persona_id)
        post = draft_for_winner(session, photo_id=1)
        schedule(session, post.id, post.created_at.replace(year=2031))
    async with opened(library) as pilot:
        text = screen_text(pilot)
        assert "○ empty" in text and "Kiln" in text, "the first by name is marked"
        assert "No pictures yet: i imports a folder." in text
        assert "● plenty" in text and "3/4" in text
        await pilot.press("down")
        await settle(pilot)
        text = screen_text(pilot)
        assert "WHEEL  (4 pictures, Studio)" in text
        assert "walk_01.png" in text and "✅ posted" in text and "○ unposted" in text
        await pilot.press("f")
        await settle(pilot)
        text = screen_text(pilot)
        assert "3 pictures, unposted only" in text and "walk_01.png" not in text
        await pilot.press("down")
        await settle(pilot)
        assert "ALL PHOTOS  (4 pictures" in screen_text(pilot)
        await pilot.press("escape")
        await settle(pilot)
        assert "unposted only" not in screen_text(pilot)


@pytest.mark.long
async def test_a_small_terminal_shows_a_list_and_one_picture(library: Library) -> None:
    library.stock(3)
    async with opened(library) as pilot:
        preview = pilot.app.screen.query_one("#preview", PicturePane)
        await until(pilot, lambda: preview.loaded)
        assert preview.alt == "walk_01.png"
        await pilot.press("enter", "down")
        await until(pilot, lambda: preview.alt == "walk_02.png" and preview.loaded)
        await pilot.press("escape")
        assert library_screen(pilot).shelf_list.has_focus


@pytest.mark.long
async def test_a_large_terminal_shows_pages_of_thumbnails(library: Library) -> None:
    library.stock(13)
    async with opened(library, LARGE) as pilot:
        screen = library_screen(pilot)
        grid = screen.query_one(Thumbnails)
        await until(pilot, lambda: all(pane.loaded for pane in grid.query(PicturePane)))
        assert grid.page == len(grid.query(Tile)) == 10
        assert "walk_10.png" in screen_text(pilot) and "walk_11.png" not in screen_text(pilot)
        await pilot.press("enter", "right", "down")
        await settle(pilot)
        assert screen.shot_list.current is not None
        assert screen.shot_list.current.label == "walk_07.png"
        await pilot.press("pagedown")
        await until(pilot, lambda: "walk_13.png" in screen_text(pilot))
        assert sum(tile.visible for tile in grid.query(Tile)) == 3
        await pilot.press("home", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ViewerDialog))
        await settle(pilot)
        assert "walk_01.png  1 of 13" in screen_text(pilot)
        await pilot.press("right", "right", "escape")
        await settle(pilot)
        assert screen.shot_list.current.label == "walk_03.png", "the viewer's last one is marked"


async def test_a_picture_is_drafted_and_its_caption_begins(library: Library) -> None:
    library.stock(2)
    async with opened(library) as pilot:
        await pilot.press("enter", "down", "d")
        await until(pilot, lambda: pilot.app.current_mode == "posts")
        with library.db.session_scope() as session:
            (post,) = list_posts(session)
        assert post.pictures[0].photo_id == 2
        assert (post.cluster, post.pillar, post.is_ai_generated) == ("Wheel", "Studio", False)
        await until(pilot, lambda: "📦 ready" in screen_text(pilot))


async def test_being_sent_to_a_cluster_marks_it(library: Library) -> None:
    with library.db.session_scope() as session:
        first = create_cluster(session, library.plan.persona_id, {"name": "Attic"}).id
    app = app_over(QuietCore(library.db, library.folder))
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await app.go_to("clusters", cluster_id=library.plan.cluster_id)
        await settle(pilot)
        shelves = library_screen(pilot).shelf_list
        assert [shelf.key for shelf in shelves.items] == [first, library.plan.cluster_id]
        assert shelves.current_key == library.plan.cluster_id


@pytest.mark.long(but=["False"])
@pytest.mark.parametrize("persona", [True, False])
async def test_an_empty_library_says_what_to_do_next(db: Database, tmp_path: Path, persona: bool) -> None:
    if persona:
        with db.session_scope() as session:
            make_persona(session)
    app = app_over(QuietCore(db, tmp_path))
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press("f7")
        await settle(pilot)
        text = screen_text(pilot)
        assert ("No clusters yet." in text and "[n]" in text) if persona else "No persona yet." in text
        for key in ("d", "o", "c"):
            await pilot.press(key)
            await settle(pilot)
            assert said(pilot) == "There is no picture here to do that with.", key
        for key in ("e", "a", "w"):
            await pilot.press(key)
            await settle(pilot)
            assert said(pilot) == "There is no cluster here to do that with.", key
        if not persona:
            await pilot.press("n", "i")
            await settle(pilot)
            assert "there is none yet" in said(pilot)
            assert not pilot.app.screen.query(Input)


def test_the_desktops_viewer_gets_the_file_and_outlives_the_call(tmp_path: Path) -> None:
    opener, told = tmp_path / "xdg-open", tmp_path / "told"
    opener.write_text(f'#!/bin/sh\nprintf %s "$1" > "{told}.part"; mv "{told}.part" "{told}"\n')
    opener.chmod(0o755)
    open_outside(tmp_path / "bowl.png", {"DISPLAY": ":9", "PATH": f"{tmp_path}:/usr/bin:/bin"})
    for _ in range(500):
        if told.exists():
            break
        time.sleep(0.01)
    assert told.read_text() == str(tmp_path / "bowl.png")
