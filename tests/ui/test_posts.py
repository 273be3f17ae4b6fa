"""The list of posts, one of them in full, and what is said when something is missing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.screens.posts import PostsScreen
from persona_tui.setting_sections import MediaSettings
from persona_tui.widgets.choice import ChoiceDialog
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.viewer import ViewerDialog
from tests.support.publishing import World, make_rows
from tests.support.publishing_rows import drive_to
from tests.ui.posts_world import (
    LARGE,
    MEDIA,
    SMALL,
    draft,
    opened,
    posts_screen,
    state,
)
from tests.ui.quiet_core import QuietCore, app_over, until
from tests.ui.support import said, screen_text, settle


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_rows(db, tmp_path, name="Ada")


async def test_posts_are_listed_by_time_with_state_wall_time_and_words(world: World) -> None:
    with world.db.session_scope() as session:
        at = world.clock(session) + timedelta(days=3)
    planned, lost, bare = world.post(at=at).id, world.post().id, draft(world)
    drive_to(world, lost, "needs_human")
    async with opened(world) as pilot:
        text = screen_text(pilot)
        wall = world.view(planned).wall_time
        assert "🕒 scheduled" in text and f"Morning {planned}" in text and wall[11:] in text
        assert "✋ needs you" in text and "1 waiting for you" in text
        assert "📝 draft" in text and "No caption yet" in text
        assert f"POST {lost}" in text, "what waits for a person is looked at first"
        assert "[k] look, then adopt or mark" in text
        posts_screen(pilot).post_list.go_to(bare)
        await settle(pilot)
        assert "[c] propose a caption" in screen_text(pilot)


async def test_the_whole_post_shows_words_facts_and_attempts(world: World) -> None:
    post_id = world.post().id
    drive_to(world, post_id, "needs_human")
    async with opened(world, LARGE) as pilot:
        text = screen_text(pilot)
        assert f"Morning {post_id}" in text and "#coffee" in text and "A cup by the window" in text
        assert "@ada" in text and "carries the AI label" in text
        await pilot.press("enter")
        await until(pilot, lambda: "ATTEMPTS" in screen_text(pilot))
        assert isinstance(pilot.app.screen, TextDialog)
        text = screen_text(pilot)
        assert "1. " in text and "   sent " in text


@pytest.mark.long
async def test_a_filter_narrows_the_list_until_escape(world: World) -> None:
    planned, bare = world.post(at=world.now() + timedelta(days=1)).id, draft(world)
    async with opened(world) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, PostsScreen)
        await pilot.press("f")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ChoiceDialog)
        await pilot.press(*"planned", "enter")
        await settle(pilot)
        assert [post.id for post in screen.post_list.items] == [bare]
        assert "not planned yet" in screen_text(pilot)
        await pilot.press("escape")
        await settle(pilot)
        assert {post.id for post in screen.post_list.items} == {planned, bare}
        assert pilot.app.current_mode == "posts"


@pytest.mark.long
async def test_being_sent_to_a_post_selects_it_and_begins_a_caption(world: World) -> None:
    first, second = draft(world), draft(world)
    core = QuietCore(world.db, world.folder, media=MEDIA)
    app: PersonaApp = app_over(core)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await app.go_to("posts", post_id=first, propose=1)
        await until(pilot, lambda: state(world, first) == "ready")
        assert state(world, second) == "draft"
        assert isinstance(app.screen, PostsScreen)
        assert app.screen.post_list.current_key == first
        await app.go_to("posts", post_id=99)
        await settle(pilot)
        assert said(pilot) == "Post 99 is not among this persona's."


@pytest.mark.long
async def test_what_is_missing_is_said_with_what_to_do(world: World) -> None:
    draft(world)
    world.do("UPDATE scheduling_posts SET account_id = NULL")
    world.do("DELETE FROM instagram_accounts")
    world.do("UPDATE installation SET publishing_held = true, held_reason = 'Restored.'")
    async with opened(world, media=MediaSettings()) as pilot:
        text = screen_text(pilot)
        assert "Publishing is held: F12 shows what to confirm." in text
        assert "No account to post to yet: F2 connects one." in text
        assert "No public place for pictures: set PERSONA_MEDIA__PUBLISH_URL." in text
        await pilot.press("s")
        await settle(pilot)
        assert "The persona has no Instagram account." in said(pilot) + screen_text(pilot)


@pytest.mark.long(but=["size0"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_an_empty_screen_says_what_to_do_next(world: World, size: tuple[int, int]) -> None:
    async with opened(world, size) as pilot:
        text = screen_text(pilot)
        assert "No posts yet." in text and "[F3]" in text
        for key in ("c", "e", "s", "S", "p", "x", "R", "u", "k", "o", "D", "v"):
            await pilot.press(key)
            await settle(pilot)
            assert said(pilot) == "There is no post here to do that with.", key


@pytest.mark.long
async def test_the_picture_fills_the_terminal_and_names_its_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    draft(world)
    async with opened(world) as pilot:
        await pilot.press("v")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ViewerDialog)
        assert "▀" in screen_text(pilot) or "▄" in screen_text(pilot)
        await pilot.press("o")
        await pilot.pause()
        assert "There is no desktop here that could open it." in screen_text(pilot)
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, PostsScreen)
