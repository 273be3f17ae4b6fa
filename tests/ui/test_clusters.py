"""The library by key: shelves, their pictures, marks, filters, and the way to a draft."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy import text
from textual.widgets import Input

from persona_tui.database.engine import Database
from persona_tui.screens.clusters_reel import CHUNK
from persona_tui.services.library import analyses
from persona_tui.services.library.clusters import create_cluster
from persona_tui.services.library.embeddings import current_model
from persona_tui.services.library.membership import add_pictures
from persona_tui.services.library.pictures import list_pictures
from persona_tui.services.publishing.post_views import list_posts
from persona_tui.services.publishing.posts import draft_for_winner, schedule
from persona_tui.widgets.choice import ChoiceDialog
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.picture import PicturePane
from persona_tui.widgets.section import SectionTitle
from persona_tui.widgets.thumbnails import Thumbnails, Tile
from persona_tui.widgets.viewer import ViewerDialog, open_outside
from tests.support.space import embed, make_photo
from tests.support.world import make_account, make_persona, make_plan
from tests.ui.clusters_world import LARGE, SMALL, Library, library_screen, opened
from tests.ui.quiet_core import QuietCore, app_over, asked, form_opens, saved, shows, until
from tests.ui.support import said, screen_text, settle


@pytest.fixture
def library(db: Database, tmp_path: Path) -> Library:
    with db.session_scope() as session:
        return Library(db, tmp_path, make_plan(session))


async def test_the_tree_shows_stock_and_the_pictures_of_what_is_marked(library: Library) -> None:
    library.stock(4)
    with library.db.session_scope() as session:
        create_cluster(session, library.plan.persona_id, {"name": "Kiln"})
        make_account(session, library.plan.persona_id)
        post = draft_for_winner(session, photo_id=1)
        schedule(session, post.id, post.created_at.replace(year=2031))
    async with opened(library) as pilot:
        await shows(pilot, "ALL PICTURES  (4 pictures)")
        text = screen_text(pilot)
        assert "▼ Studio" in text and "● Wheel" in text and "3/4" in text
        assert "▼ No pillar" in text and "○ Kiln" in text
        await pilot.press("down", "down", "left")
        await settle(pilot)
        assert "▶ Studio" in screen_text(pilot) and "● Wheel" not in screen_text(pilot)
        await pilot.press("right", "right")
        await shows(pilot, "WHEEL  (4 pictures, Studio, ")
        name = asked(library.db, "SELECT original_name FROM photos WHERE id = 1")
        assert f"✅ {name}" in screen_text(pilot)
        await pilot.press("1")
        await shows(pilot, "WHEEL  (3 pictures, Studio, ")
        assert "○ unposted" in screen_text(pilot) and name not in screen_text(pilot)
        await pilot.press("0", "slash", *name[5:7])
        await shows(pilot, "WHEEL  (1 picture, Studio, ")
        assert f"✅ {name}" in screen_text(pilot)
        await pilot.press("escape")
        await shows(pilot, "WHEEL  (4 pictures, Studio, ")
        await pilot.press("escape", "end")
        await shows(pilot, "No pictures here yet.")


async def test_the_page_and_its_neighbours_alone_are_read(library: Library) -> None:
    count = 5 * CHUNK + 7
    with library.db.session_scope() as session:
        for number in range(count):
            make_photo(session, library.plan.persona_id, f"walk {number}")
    async with opened(library) as pilot:
        screen = library_screen(pilot)
        await shows(pilot, f"({count} pictures)")
        await pilot.press("enter")
        for _ in range(40):
            await pilot.press("pagedown")
            await settle(pilot)
        here = screen.picture
        assert here is not None and here.label == f"walk {count - 1 - 40 * screen.grid.page}.jpg"
        assert len(screen.loaded.pictures) <= 3 * CHUNK + screen.grid.page
        await pilot.press("end")
        await shows(pilot, f"this is {count}")
        assert screen.picture is not None and screen.picture.label == "walk 0.jpg"
        await pilot.press("pageup", "home")
        await until(
            pilot, lambda: screen.picture is not None and screen.picture.label == f"walk {count - 1}.jpg"
        )


async def test_a_large_terminal_shows_pages_of_thumbnails_and_all_about_one(library: Library) -> None:
    library.stock(18)
    async with opened(library, LARGE) as pilot:
        screen = library_screen(pilot)
        grid = screen.query_one(Thumbnails)
        await until(pilot, lambda: grid.drawn)
        assert grid.page == sum(tile.display for tile in grid.query(Tile)) == 15
        await pilot.press("enter", "right", "down")
        await shows(pilot, "PICTURE")
        seventh, eighth = (screen.loaded.pictures[place].label for place in (6, 7))
        assert screen.picture is not None and screen.picture.label == seventh
        preview = screen.query_one("#preview", PicturePane)
        await until(pilot, lambda: preview.alt == seventh and preview.loaded)
        await shows(pilot, "not analysed yet")
        await pilot.press("enter")
        await settle(pilot)
        assert grid.alone
        await pilot.press("right", "escape")
        await settle(pilot)
        assert screen.picture.label == eighth and grid.page == 15
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, ViewerDialog))


async def test_a_picture_is_drafted_and_its_caption_begins(library: Library) -> None:
    library.stock(2)
    async with opened(library) as pilot:
        await shows(pilot, "walk_02.png")
        await pilot.press("enter", "d")
        await until(pilot, lambda: pilot.app.current_mode == "posts")
        with library.db.session_scope() as session:
            (post,) = list_posts(session)
        assert post.pictures[0].photo_id == 2
        assert (post.cluster, post.pillar, post.is_ai_generated) == ("Wheel", "Studio", False)
        await until(pilot, lambda: "📦 ready" in screen_text(pilot))


async def test_library_7_marked_pictures_are_flagged_scheduled_rejected_and_deleted_and_come_back(
    library: Library,
) -> None:
    library.stock(4)
    with library.db.session_scope() as session:
        make_account(session, library.plan.persona_id)
    async with opened(library) as pilot:
        await shows(pilot, "walk_04.png")
        await pilot.press("enter", "space", "end", "r")
        await shows(pilot, "✓ 4 marked")
        await pilot.press("f")
        await until(pilot, lambda: said(pilot) == "4 pictures flagged.")
        assert asked(library.db, "SELECT count(*) FROM photos WHERE flagged") == 4
        await pilot.press("u")
        await until(pilot, lambda: said(pilot) == "4 flags taken away again.")
        await pilot.press("home", "space", "x")
        await form_opens(pilot)
        await saved(pilot)
        await until(pilot, lambda: said(pilot).endswith(".png rejected. [u] takes it back."))
        await shows(pilot, "✗ Rejected")
        await pilot.press("D")
        await until(pilot, lambda: said(pilot) == "1 photo deleted. [u] takes it back.")
        states = "SELECT count(*) FROM photos WHERE stage = 'rejected' OR deleted_at IS NOT NULL"
        assert asked(library.db, states) == 2
        await pilot.press("u", "u")
        await until(pilot, lambda: said(pilot) == "1 picture taken back.")
        assert asked(library.db, states) == 0
        await pilot.press("M", "p")
        await until(pilot, lambda: said(pilot).startswith("4 pictures scheduled for"))
        times = "SELECT count(DISTINCT scheduled_at) FROM scheduling_posts WHERE state = 'scheduled'"
        assert asked(library.db, times) == 4
        await pilot.press("u")
        await until(pilot, lambda: said(pilot) == "4 posts back among the drafts.")
        await pilot.press("p")
        await until(pilot, lambda: ".png scheduled for" in said(pilot))
        await pilot.press("M", "p")
        await until(pilot, lambda: "1 picture in a live post already. Captions are" in said(pilot))
        await pilot.press("u")
        await until(pilot, lambda: said(pilot) == "3 posts back among the drafts.")
    assert asked(library.db, "SELECT count(*) FROM scheduling_posts WHERE state = 'ready'") == 3


async def test_library_1_the_shelf_stays_when_its_last_picture_is_accepted(library: Library) -> None:
    library.stock(2)
    with library.db.session_scope() as session:
        session.execute(text("UPDATE photos SET stage = 'staged'"))
    async with opened(library) as pilot:
        screen = library_screen(pilot)
        assert screen.query_one("#tree-title", SectionTitle).lit
        assert not screen.query_one("#pictures-title", SectionTitle).lit
        await until(pilot, lambda: screen.shelves.seek(("staged", 0)))
        await shows(pilot, "walk_01.png")
        await pilot.press("tab")
        await until(pilot, lambda: screen.query_one("#pictures-title", SectionTitle).lit)
        await pilot.press("M", "y")
        await shows(pilot, "Nothing waits for a look any more.")
        assert screen.shelves.current_key == ("staged", 0)


async def test_library_2_what_cannot_be_found_out_here_is_said_with_its_reason(library: Library) -> None:
    library.stock(2)
    lack = "Descriptions are off."
    with library.db.session_scope() as session:
        for picture in list_pictures(session, library.plan.persona_id).pictures:
            for kind in analyses.KINDS:
                known = kind not in {"faces", "vision"}
                analyses.record(
                    session, picture.ref, kind, "done" if known else "unknown", "1", "" if known else lack
                )
    async with opened(library, LARGE) as pilot:
        await shows(pilot, "[A] says why")
        await pilot.press("A")
        await until(pilot, lambda: said(pilot) == lack)


async def test_being_sent_to_a_cluster_marks_it(library: Library) -> None:
    app = app_over(QuietCore(library.db, library.folder))
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await app.go_to("clusters", cluster_id=library.plan.cluster_id)
        await settle(pilot)
        assert library_screen(pilot).shelves.current_key == ("cluster", library.plan.cluster_id)


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
        assert ("No pictures here yet." in text and "[i]" in text) if persona else "No persona yet." in text
        await pilot.press(*"docfewm")
        await settle(pilot)
        assert not said(pilot) and not pilot.app.screen.is_modal, "there is nothing to do that with"
        assert "[Space]" not in text and "[n] new" in text
        if not persona:
            await pilot.press("n", "i")
            await settle(pilot)
            assert "there is none yet" in said(pilot)
            assert not isinstance(pilot.app.screen.focused, Input)


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


async def test_library_7_pictures_are_found_by_likeness_and_clusters_are_merged(library: Library) -> None:
    with library.db.session_scope() as session:
        persona_id = library.plan.persona_id
        refs = [make_photo(session, persona_id, name) for name in ("sea", "shore", "oven")]
        other = create_cluster(session, persona_id, {"name": "Kiln"}).id
        add_pictures(session, library.plan.cluster_id, refs[:2])
        add_pictures(session, other, refs[2:])
        here = current_model(QuietCore(library.db, library.folder).settings).hash
        for ref, place in zip(refs, ([1.0, 0.0], [0.9, 0.1], [0.0, 1.0]), strict=True):
            embed(session, persona_id, ref, place, here)
    async with opened(library) as pilot:
        await shows(pilot, "oven.jpg")
        await pilot.press("enter", "end", "s")
        await shows(pilot, "LIKE SEA.JPG  (3 pictures)")
        found = [one.label for one in library_screen(pilot).loaded.pictures]
        assert found == ["sea.jpg", "shore.jpg", "oven.jpg"] and "% alike" in screen_text(pilot)
        await pilot.press("escape", "escape", "end", "U")
        await until(pilot, lambda: said(pilot) == "“Kiln” is left out of planning.")
        await pilot.press("m")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: said(pilot) == "“Wheel” has 3 pictures now.")
    assert asked(library.db, "SELECT count(*) FROM clusters") == 1
