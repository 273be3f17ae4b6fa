"""The month: days with posts, a cursor that goes with the list's, and times that begin with a day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from textual.widgets import Input

from persona_tui.database.engine import Database
from persona_tui.screens.posts_calendar import MonthCalendar, first_shown, month_later
from persona_tui.services.publishing import posts
from tests.support.publishing import World, make_rows
from tests.ui.posts_world import LARGE, SMALL, draft, opened, posts_screen, ready
from tests.ui.quiet_core import until
from tests.ui.support import said, screen_text, settle

NOON = datetime(2031, 7, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_rows(db, tmp_path, name="Ada")


@pytest.mark.parametrize(
    ("day", "months", "there"),
    [
        (date(2026, 1, 31), 1, date(2026, 2, 28)),
        (date(2024, 1, 31), 1, date(2024, 2, 29)),
        (date(2026, 1, 15), -1, date(2025, 12, 15)),
        (date(2026, 12, 3), 1, date(2027, 1, 3)),
    ],
)
def test_a_page_keeps_the_day_where_the_month_has_it(day: date, months: int, there: date) -> None:
    assert month_later(day, months) == there


@pytest.mark.parametrize("day", [date(2026, 3, 14), date(2026, 6, 1), date(2027, 2, 28), date(2026, 8, 31)])
def test_the_grid_begins_on_a_monday_and_holds_the_whole_month(day: date) -> None:
    start = first_shown(day)
    assert start.weekday() == 0
    assert start <= day.replace(day=1) < start + timedelta(days=7)
    assert month_later(day.replace(day=1), 1) - timedelta(days=1) < start + timedelta(days=42)


async def test_the_month_shows_each_days_posts_and_enter_goes_to_them(world: World) -> None:
    first = world.post(at=NOON).id
    second = world.post(at=NOON + timedelta(days=2, hours=5)).id
    third = world.post(at=NOON + timedelta(days=2, hours=7)).id
    async with opened(world, LARGE) as pilot:
        screen = posts_screen(pilot)
        await pilot.press("m")
        await settle(pilot)
        text = screen_text(pilot)
        assert "JULY 2031  (3 posts, PgUp and PgDn turn the page)" in text
        assert "🕒 14:00" in text and "🕒 19:00" in text and "🕒 21:00" in text, "on Berlin's clock"
        assert isinstance(screen.focused, MonthCalendar)
        assert screen.month.day == date(2031, 7, 10)
        await pilot.press("right", "right")
        await settle(pilot)
        assert screen.post_list.current_key == second
        await pilot.press("enter", "down")
        await settle(pilot)
        assert screen.post_list.has_focus
        assert screen.post_list.current_key == third
        await pilot.press("home")
        await settle(pilot)
        assert screen.post_list.current_key == first
        assert screen.month.day == date(2031, 7, 10), "the month goes with the list"
        await pilot.press("escape")
        assert not screen.has_class("-month")


@pytest.mark.long
async def test_on_a_small_terminal_the_month_takes_the_posts_place(world: World) -> None:
    for hours in (0, 3):
        world.post(at=NOON + timedelta(hours=hours))
    async with opened(world, SMALL) as pilot:
        await pilot.press("m")
        await settle(pilot)
        text = screen_text(pilot)
        assert "● 2 posts" in text and "Mon" in text and "Sun" in text
        assert "🕒 scheduled" in text, "the list stays below it"
        assert "[p] publish now" not in text
        await pilot.press("m")
        await settle(pilot)
        assert "[p] publish now" in screen_text(pilot)


async def test_a_ready_post_is_put_on_the_day_under_the_cursor(world: World) -> None:
    post_id = ready(world)
    async with opened(world, SMALL) as pilot:
        await pilot.press("m", "pagedown", "pagedown")
        day = posts_screen(pilot).month.day
        await pilot.press("enter")
        await settle(pilot)
        assert said(pilot) == f"Nothing on {day:%a %d %b}. S puts the marked post there."
        await pilot.press("S")
        await until(pilot, lambda: bool(pilot.app.screen.query(Input)))
        await settle(pilot)
        assert pilot.app.screen.query_one(Input).value == f"{day} 09:00"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: world.view(post_id).wall_time == f"{day}T09:00")


@pytest.mark.long
async def test_paging_back_reads_what_is_older_than_the_list(world: World) -> None:
    old = world.post().id
    draft(world)
    world.do(
        "UPDATE scheduling_posts SET scheduled_at = scheduled_at - interval '200 days' WHERE id = :id", id=old
    )
    with world.db.session_scope() as session:
        posts.cancel(session, old)
    async with opened(world, LARGE) as pilot:
        screen = posts_screen(pilot)
        assert old not in {post.id for post in screen.post_list.items}
        await pilot.press("m", *["pageup"] * 8)
        await until(pilot, lambda: old in {post.id for post in screen.post_list.items})


@pytest.mark.long
async def test_a_click_on_a_day_goes_there(world: World) -> None:
    world.post(at=NOON)
    async with opened(world, LARGE) as pilot:
        month = posts_screen(pilot).month
        await pilot.press("m")
        await settle(pilot)
        width = month.size.width // 7
        await pilot.click(MonthCalendar, offset=(width + 1, 2))
        await pilot.pause()
        assert month.day == first_shown(date(2031, 7, 10)) + timedelta(days=1)


@pytest.mark.long
async def test_the_calendars_keys_can_be_changed(world: World) -> None:
    world.post(at=NOON)
    async with opened(world, LARGE, keys={"grid.right": "f13", "grid.page-down": "f14"}) as pilot:
        month = posts_screen(pilot).month
        await pilot.press("m", "right")
        assert month.day == date(2031, 7, 10)
        await pilot.press("f13")
        assert month.day == date(2031, 7, 11)
        await pilot.press("f14")
        await settle(pilot)
        assert month.day == date(2031, 8, 11)
        assert "PgUp and F14 turn the page" in screen_text(pilot)
