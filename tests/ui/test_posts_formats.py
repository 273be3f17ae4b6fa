"""Making a carousel on the screen of posts, and saying who is in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input

from persona_tui.database.engine import Database
from persona_tui.services.publishing.post_views import list_posts
from persona_tui.widgets.choice import ChoiceDialog
from persona_tui.widgets.form import FormDialog
from tests.support.publishing import World, make_rows
from tests.support.world import make_plan
from tests.ui.clusters_world import Library
from tests.ui.clusters_world import opened as opened_library
from tests.ui.posts_world import LARGE, draft, opened, posts_screen, ready
from tests.ui.quiet_core import shows, until
from tests.ui.support import said, screen_text, settle


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_rows(db, tmp_path, name="Ada")


async def test_publishing_6_a_carousel_is_made_of_library_pictures_and_accounts_are_named_in_it(
    world: World,
) -> None:
    draft(world), draft(world)
    first, second = (row[0] for row in world.rows("SELECT id FROM image_candidates ORDER BY id"))
    async with opened(world, LARGE) as pilot:
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press(*"carousel", "enter")
        for word in (f"candidate {second}", f"candidate {first}", "that is all"):
            await settle(pilot)
            pilot.app.screen.query_one(Input).value = word
            await settle(pilot)
            await pilot.press("enter")
        await until(pilot, lambda: "is a carousel" in said(pilot))
        made = world.one("SELECT id FROM scheduling_posts WHERE kind = 'carousel'")
        assert [one.image_candidate_id for one in world.view(made).pictures] == [second, first]
        await settle(pilot)
        posts_screen(pilot).post_list.go_to(made)
        await settle(pilot)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, FormDialog))
        await pilot.press(*"@anna")
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert "@anna needs a place in the picture: x and y." in screen_text(pilot)
        await pilot.press(*":0.5,0.25:2", "ctrl+s")
        await until(pilot, lambda: said(pilot) == f"Post {made} is changed.")
        await settle(pilot)
        text = screen_text(pilot)
        assert "a carousel of 2 pictures" in text and "@anna:0.5,0.25:2" in text


async def test_publishing_6_the_first_comment_and_what_became_of_it_are_shown(world: World) -> None:
    post_id = ready(world)
    world.do(
        "UPDATE scheduling_posts SET first_comment = 'By Bea', comment_state = 'failed',"
        " comment_reason = 'The token does not have the permission for this.'"
    )
    async with opened(world, LARGE) as pilot:
        posts_screen(pilot).post_list.go_to(post_id)
        await settle(pilot)
        assert "By Bea (failed: The token does not have the permission" in screen_text(pilot)


async def test_publishing_6_marked_pictures_become_one_carousel_in_the_order_of_the_marks(
    db: Database, tmp_path: Path
) -> None:
    with db.session_scope() as session:
        library = Library(db, tmp_path, make_plan(session))
    library.stock(3)
    async with opened_library(library) as pilot:
        await shows(pilot, "walk_02.png")
        await pilot.press("enter", "end", "space", "home", "space", "K")
        await until(pilot, lambda: pilot.app.current_mode == "posts")
        with db.session_scope() as session:
            (post,) = list_posts(session)
        assert (post.kind, [one.photo_id for one in post.pictures]) == ("carousel", [1, 3])
