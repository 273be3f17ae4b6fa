"""Settings: the accounts, and the way out of the hold after a restore (R1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from textual.pilot import Pilot

from persona_tui import __version__
from persona_tui.database.engine import Database
from persona_tui.screens.settings_restore import outcome_words
from persona_tui.services.publishing.restore import RESTORED, RestoreOutcome
from persona_tui.setting_sections import InstagramSettings
from persona_tui.widgets.confirm import ConfirmDialog
from tests.support.publishing import World, make_world
from tests.ui.quiet_core import QuietCore, app_over, asked, until
from tests.ui.support import said, screen_text, settle

PLANNED = datetime(2031, 7, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_world(db, tmp_path, name="Ada")


def restore(world: World) -> None:
    """Leave the installation as a start after a restore does."""
    world.do(
        "UPDATE installation SET publishing_held = true, held_since = persona_now() - interval '1 hour',"
        " held_reason = 'The database was restored from a backup, or is another one.'"
    )
    world.do("UPDATE scheduling_posts SET state = 'paused', reason = :reason", reason=RESTORED)


@asynccontextmanager
async def opened(world: World, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Pilot[None]]:
    instagram = InstagramSettings(base_url=world.sandbox.instagram)
    app = app_over(QuietCore(world.db, world.folder, instagram=instagram))
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("f12")
        await settle(pilot)
        yield pilot


def is_held(world: World) -> bool:
    return bool(asked(world.db, "SELECT publishing_held FROM installation"))


async def test_accounts_are_listed_with_their_state_and_where_things_lie(world: World) -> None:
    world.do(
        "UPDATE instagram_accounts SET status = 'paused', status_reason = 'Its token is dead.',"
        " token_expires_at = :at",
        at=datetime.now(UTC) + timedelta(days=9, hours=1),
    )
    async with opened(world, (200, 50)) as pilot:
        shown = screen_text(pilot)
        assert "💤 paused @ada  Ada, sandbox, token expires in 9 days  Its token is dead." in shown
        assert f"Version {__version__}  Data " in shown and "logs/persona-tui.log in it" in shown
        assert "PostgreSQL" in shown, "the doctor was asked without a key"
        dark = pilot.app.theme
        await pilot.press("t")
        await pilot.pause()
        assert pilot.app.theme != dark
        await pilot.press("c")
        await until(pilot, lambda: "Publishing is not held." in said(pilot))


async def test_a_hold_ends_only_after_the_accounts_were_read_and_a_yes(world: World) -> None:
    planned, published = world.post(at=PLANNED), world.post(at=PLANNED, alt_text="A kiln that glows")
    restore(world)
    item = world.phone_post(alt_text="A kiln that glows")
    async with opened(world) as pilot:
        assert "[c] ⚠  Publishing is held. The database was restored" in screen_text(pilot)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await settle(pilot)
        shown = screen_text(pilot)
        assert "2 posts paused: 1 found among what was published." in shown
        assert "1 post not found: those with a time to come are scheduled again." in " ".join(
            shown.replace("┃", " ").split()
        )
        await pilot.press("enter")
        await settle(pilot)
        assert is_held(world), "Enter keeps it held"
        await pilot.press("c")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: not is_held(world))
        await until(
            pilot,
            lambda: said(pilot) == "Publishing goes on. Posts: 1 found published, 1 scheduled again.",
        )
        assert "Publishing is held" not in screen_text(pilot)
    assert (world.view(planned.id).state, world.view(published.id).state) == ("scheduled", "published")
    assert world.view(published.id).media_id == item


@pytest.mark.long
async def test_an_account_that_cannot_be_read_keeps_its_posts_paused(world: World) -> None:
    post = world.post(at=PLANNED)
    restore(world)
    world.sandbox.plan("instagram", "*", "fail_before", times=None)
    async with opened(world) as pilot:
        await pilot.press("c")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await settle(pilot)
        assert "@ada can't be read:" in screen_text(pilot)
        await pilot.press("y")
        await until(pilot, lambda: not is_held(world))
    assert world.view(post.id).state == "paused"


def test_the_outcome_is_told_in_one_sentence() -> None:
    assert outcome_words(RestoreOutcome((), (), (), (), ())) == "No post was waiting."
    told = outcome_words(RestoreOutcome((1,), (2, 3), (), (4,), (5,)))
    assert told == "Posts: 1 found published, 2 scheduled again, 1 need a look by you, 1 still paused."
