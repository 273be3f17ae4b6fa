"""Times and fates by key: schedule, publish, give up, try again; what the database holds after each."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input

from persona_tui.database.engine import Database
from tests.support.publishing import World, make_rows
from tests.support.publishing_rows import drive_to
from tests.ui.posts_world import (
    draft,
    opened,
    publish,
    ready,
    state,
)
from tests.ui.quiet_core import asked, until
from tests.ui.support import said, screen_text, settle


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_rows(db, tmp_path, name="Ada")


async def test_a_typed_time_is_on_the_personas_clock_and_may_not_be_past(world: World) -> None:
    post_id = ready(world)
    async with opened(world) as pilot:
        await pilot.press("S")
        await settle(pilot)
        assert "On the clock of Europe/Berlin" in screen_text(pilot)
        when = pilot.app.screen.query_one(Input)
        when.value = "2020-01-01 09:00"
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert "is in the past" in screen_text(pilot)
        when.value = "2031-07-01 18:30"
        await pilot.press("ctrl+s")
        await settle(pilot)
        planned = world.view(post_id)
        assert (planned.state, planned.wall_time) == ("scheduled", "2031-07-01T18:30")
        assert f"{planned.scheduled_at:%H:%M}" == "16:30"
        await pilot.press("s")
        await settle(pilot)
        assert "already; S moves it" in said(pilot)
        await pilot.press("S")
        await settle(pilot)
        pilot.app.screen.query_one(Input).value = "2031-07-02 10:00"
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert world.view(post_id).wall_time == "2031-07-02T10:00"


async def test_publish_asks_once_and_tells_what_came_of_it(world: World) -> None:
    post_id = ready(world)
    async with opened(world) as pilot:
        await pilot.press("p")
        await settle(pilot)
        assert "In the sandbox nothing reaches a real account." in screen_text(pilot)
        await pilot.press("n")
        await settle(pilot)
        assert state(world, post_id) == "ready"
        await pilot.press("p", "y")
        await until(pilot, lambda: state(world, post_id) == "scheduled")
        assert world.view(post_id).scheduled_at <= world.now()
        drive_to(world, post_id, "sending")
        with world.db.session_scope() as session:
            publish(session, post_id)
        await until(pilot, lambda: "🎉" in said(pilot))
        assert said(pilot) == f"🎉 Post {post_id} is published: https://instagram.example/p/1"
        assert "✅ published" in screen_text(pilot)


@pytest.mark.long
async def test_a_post_is_given_up_opened_again_and_deleted(world: World) -> None:
    post_id = draft(world)
    async with opened(world) as pilot:
        await pilot.press("x", "enter")
        await settle(pilot)
        assert state(world, post_id) == "draft", "Enter means no"
        await pilot.press("x", "y")
        await until(pilot, lambda: state(world, post_id) == "cancelled")
        await until(pilot, lambda: "[o] open again" in screen_text(pilot))
        await pilot.press("o")
        await until(pilot, lambda: state(world, post_id) == "draft")
        await until(pilot, lambda: "[D] delete" in screen_text(pilot))
        await pilot.press("D", "y")
        await until(pilot, lambda: "No posts yet." in screen_text(pilot))
        assert asked(world.db, "SELECT count(*) FROM scheduling_posts") == 0


@pytest.mark.long
async def test_a_missed_post_is_tried_again(world: World) -> None:
    post_id = world.post().id
    world.do(
        "UPDATE scheduling_posts SET state = 'missed', reason = 'Nobody was there.' WHERE id = :id",
        id=post_id,
    )
    async with opened(world) as pilot:
        assert "Nobody was there." in screen_text(pilot)
        await pilot.press("R")
        await settle(pilot)
        assert state(world, post_id) == "scheduled"
        assert said(pilot).startswith(f"Post {post_id} is tried again")


@pytest.mark.long
async def test_what_cannot_be_done_is_said_with_what_can(world: World) -> None:
    post_id = world.post().id
    drive_to(world, post_id, "claimed")
    async with opened(world) as pilot:
        assert "🚀 going out" in screen_text(pilot)
        await pilot.press("u")
        await settle(pilot)
        assert "it is being published right now" in said(pilot) + screen_text(pilot)
        await pilot.press("escape", "c")
        await settle(pilot)
        assert "can't be changed any more: 🚀 going out" in said(pilot)
