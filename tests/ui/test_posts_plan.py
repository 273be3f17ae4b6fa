"""The plan as a whole: overdue posts as a checklist, the pause of everything, a rehearsal."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from persona_tui.database.engine import Database
from persona_tui.rehearsal import Progress
from persona_tui.screens.posts_overdue import OverdueDialog
from persona_tui.services.publishing.preview import PreviewedFile, preview_post
from persona_tui.services.publishing.rehearsal import Rehearsal, RehearsedPost
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.viewer import ViewerDialog
from tests.support.publishing import ThreadPool, World, make_rows
from tests.ui.posts_world import LARGE, MEDIA, opened, state
from tests.ui.quiet_core import QuietCore, until
from tests.ui.support import said, screen_text, settle


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_rows(db, tmp_path)


MOVED = re.compile(r"moved to \w{3} \d\d \w{3} \d\d:\d\d")


def missed(world: World) -> int:
    post = world.post()
    world.do(
        "UPDATE scheduling_posts SET state = 'missed', scheduled_at = persona_now() - interval '8 hours',"
        " reason = 'Its time passed more than 360 minutes ago.' WHERE id = :id",
        id=post.id,
    )
    return post.id


@pytest.mark.parametrize("size", [(80, 24), LARGE])
async def test_publishing_9_overdue_posts_are_a_checklist_with_what_became_of_each(
    world: World, size: tuple[int, int]
) -> None:
    first, second, third = missed(world), missed(world), missed(world)
    async with opened(world, size) as pilot:
        assert "3 posts should be out already: O." in screen_text(pilot)
        await pilot.press("O")
        await until(pilot, lambda: isinstance(pilot.app.screen, OverdueDialog))
        await until(pilot, lambda: "asks you" in screen_text(pilot))
        await pilot.press("space", "space", "s")
        await until(pilot, lambda: state(world, second) == "scheduled")
        await until(pilot, lambda: len(MOVED.findall(screen_text(pilot))) >= 2)
        assert [state(world, post) for post in (first, third)] == ["scheduled", "missed"]
        await pilot.press("z")
        await until(pilot, lambda: state(world, second) == "missed" and state(world, first) == "missed")
        await pilot.press("a", "x")
        await until(pilot, lambda: {state(world, post) for post in (first, second, third)} == {"cancelled"})
        await until(pilot, lambda: "Nothing of this persona is overdue." in screen_text(pilot))
        await pilot.press("escape")
        await settle(pilot)
        assert "should be out already" not in screen_text(pilot)


async def test_publishing_12_all_publishing_is_paused_after_a_yes_and_resumed(world: World) -> None:
    world.post()
    paused = "SELECT publishing_paused FROM installation"
    async with opened(world) as pilot:
        await pilot.press("H")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: world.one(paused) is True)
        await until(
            pilot, lambda: "All publishing is paused: H lets posts go out again." in screen_text(pilot)
        )
        await pilot.press("H")
        await until(pilot, lambda: world.one(paused) is False)
        await until(pilot, lambda: said(pilot) == "Posts go out again.")


class RehearsingCore(QuietCore):
    """Has played the plan already: the rehearsal itself is tested where it is made."""

    def __init__(self, world: World, played: Rehearsal) -> None:
        super().__init__(world.db, world.folder, media=MEDIA)
        self.played, self.days = played, 0

    async def rehearse(self, days: int, progress: Progress) -> Rehearsal:
        self.days = days
        progress(1, 1, self.played.begun_at)
        return self.played


async def test_publishing_11_a_rehearsal_is_asked_for_and_its_report_shown(world: World) -> None:
    post, now = world.post(), world.now()
    out = RehearsedPost(
        post.id, "Ada", "ada", "single", now, post.wall_time, "UTC", "published",
        now + timedelta(seconds=7), 7.0, "",
    )  # fmt: skip
    core = RehearsingCore(world, Rehearsal(now, 3, (out,), 0, 0, {"published": 1}, 2.0))
    async with opened(world, core=core) as pilot:
        await pilot.press("r")
        await until(pilot, lambda: isinstance(pilot.app.screen, FormDialog))
        await pilot.press("backspace", "3", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, TextDialog))
        await settle(pilot)
        assert core.days == 3
        assert "1 of 1 posts went out, 0 doubled, 0 lost." in screen_text(pilot)
        assert "7 s later" in screen_text(pilot)


class PreparingCore(QuietCore):
    """Prepares files without a pool of its own."""

    def __init__(self, world: World) -> None:
        super().__init__(world.db, world.folder, media=MEDIA)
        self.world = world

    async def preview(self, post_id: int) -> tuple[PreviewedFile, ...]:
        world = self.world
        return await preview_post(
            world.db.session_scope, world.media, ThreadPool(), world.folder / "previews", post_id
        )


async def test_publishing_7_the_files_that_go_out_are_shown_with_what_was_done_to_them(world: World) -> None:
    world.post()
    async with opened(world, LARGE, core=PreparingCore(world)) as pilot:
        await pilot.press("V")
        await until(pilot, lambda: isinstance(pilot.app.screen, ViewerDialog))
        await until(pilot, lambda: "trainedAlgorithmicMedia" in screen_text(pilot))
        assert "320 × 400" in screen_text(pilot) and "quality 92" in screen_text(pilot)
