"""A post that may be out already: the operator looks at the account, then adopts or marks (R18)."""

from __future__ import annotations

from pathlib import Path

import pytest

from persona_tui.database.engine import Database
from persona_tui.services.publishing.reconcile import AccountListing
from persona_tui.widgets.choice import ChoiceDialog
from persona_tui.widgets.confirm import ConfirmDialog
from tests.support.publishing import World, make_world
from tests.support.publishing_rows import drive_to
from tests.ui.posts_world import MEDIA, opened, state
from tests.ui.quiet_core import QuietCore, until
from tests.ui.support import said, screen_text, settle


class LookingCore(QuietCore):
    """Looks at the sandbox's Instagram with the world's own reconciler."""

    def __init__(self, world: World) -> None:
        super().__init__(world.db, world.folder, media=MEDIA)
        self.world = world

    async def look_at(self, post_id: int) -> AccountListing:
        return await self.world.reconciler().look(post_id)


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_world(db, tmp_path, name="Ada")


async def test_the_item_that_carries_the_words_is_first_and_adopted(world: World) -> None:
    post = world.post()
    drive_to(world, post.id, "needs_human")
    world.phone_post(alt_text="Something else")
    item = world.phone_post(alt_text=post.alt_text)
    async with opened(world, core=LookingCore(world)) as pilot:
        await pilot.press("k")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await settle(pilot)
        text = screen_text(pilot)
        assert f"Which of these is post {post.id}?" in text
        assert "carries the post's words" in text and "another item" in text
        assert text.index("carries the post's words") < text.index("another item")
        assert "None of them: it is not published" in text
        await pilot.press("enter")
        await until(pilot, lambda: state(world, post.id) == "published")
        assert world.view(post.id).media_id == item
        await until(pilot, lambda: said(pilot).startswith(f"Post {post.id} is published: "))


@pytest.mark.long
async def test_another_item_is_adopted_only_after_a_yes(world: World) -> None:
    post = world.post()
    drive_to(world, post.id, "needs_human")
    item = world.phone_post(alt_text="Something else")
    async with opened(world, core=LookingCore(world)) as pilot:
        await pilot.press("k")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        assert state(world, post.id) == "needs_human"
        await pilot.press("y")
        await until(pilot, lambda: world.view(post.id).media_id == item)


async def test_not_published_is_refused_while_it_could_still_appear(world: World) -> None:
    post = world.post()
    drive_to(world, post.id, "needs_human")
    async with opened(world, core=LookingCore(world)) as pilot:
        await pilot.press("k")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("enter")
        await settle(pilot)
        assert state(world, post.id) == "needs_human", "Enter means: not sure"
        await pilot.press("k")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter", "y")
        await until(pilot, lambda: "the post could still appear" in said(pilot) + screen_text(pilot))
        assert state(world, post.id) == "needs_human"


@pytest.mark.long
async def test_a_day_later_it_is_marked_and_ready_again(world: World) -> None:
    post = world.post()
    drive_to(world, post.id, "needs_human")
    world.advance_clocks(26 * 3600)
    async with opened(world, core=LookingCore(world)) as pilot:
        await pilot.press("k")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter", "y")
        await until(pilot, lambda: state(world, post.id) == "ready")
        await until(pilot, lambda: said(pilot) == f"Post {post.id} is ready again. s schedules it.")


@pytest.mark.long
async def test_a_post_that_the_reconciler_has_is_asked_about_in_its_next_round(world: World) -> None:
    post = world.post()
    drive_to(world, post.id, "unknown", lease="1 hour")
    async with opened(world, core=LookingCore(world)) as pilot:
        assert "🔎 checking" in screen_text(pilot)
        await pilot.press("k")
        await until(
            pilot, lambda: said(pilot) == f"Instagram is asked about post {post.id} in the next round."
        )
        assert world.one("SELECT lease_until <= persona_now() FROM scheduling_posts") is True
