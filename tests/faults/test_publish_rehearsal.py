"""Rehearsal (item 11): a real plan is played at speed on a copy, against the sandbox, and stays as it is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.publishing import World, make_world

from persona_tui.database.engine import Database
from persona_tui.errors import NotAllowedNow
from persona_tui.rehearsal import rehearse, told
from persona_tui.resources import Resources


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_world(db, tmp_path)


def resources(world: World) -> Resources:
    gap = world.settings.instagram.model_copy(update={"min_gap_minutes": 30})
    changes = {"config_dir": world.folder / "config", "instagram": gap}
    opened = Resources(world.db.settings.model_copy(update=changes), world.db)
    opened.media = world.media
    return opened


def everything(world: World) -> list[str]:
    return sorted(world.everything_stored())


async def test_publishing_11_a_plan_is_played_to_its_end_and_nothing_of_it_changes(world: World) -> None:
    start = world.now().replace(microsecond=0)
    posts = [world.post(at=start + timedelta(hours=hours)) for hours in (2, 30, 30)]
    with world.db.session_scope() as session:
        from persona_tui.services.publishing.posts import write_caption

        write_caption(session, posts[0].id, "A cup by the window", ["tea"], "A cup")
    beyond = world.post(at=start + timedelta(days=9))
    before = everything(world)
    seen = []
    played = await rehearse(resources(world), 3, progress=lambda out, of, _now: seen.append((out, of)))
    assert played.ended == {"published": 3} and played.smooth
    assert [post.id for post in played.posts] == [post.id for post in posts]
    late = [post.late_seconds or 0 for post in played.posts]
    assert max(late[:2]) < 60 and 30 * 60 <= late[2] < 32 * 60, "the second of one moment waits for the gap"
    assert seen[-1] == (3, 3)
    assert everything(world) == before and world.view(beyond.id).state == "scheduled"
    assert (
        world.published() == []
        and world.rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE '%rehearsal%'") == []
    )
    assert told(played)[0].startswith("✅ 3 days in ")


@pytest.mark.long
async def test_publishing_11_the_report_names_what_would_not_go_out(world: World) -> None:
    lost = world.post(at=world.now() + timedelta(hours=1))
    world.media.path(lost.pictures[0].media_key).unlink()
    played = await rehearse(resources(world), 1)
    assert not played.smooth and played.posts[0].state != "published"
    assert played.posts[0].reason and f"post {lost.id} of Ada" in told(played)[-1]


@pytest.mark.long
async def test_publishing_11_nothing_planned_is_said(world: World) -> None:
    with pytest.raises(NotAllowedNow, match="Nothing is planned"):
        await rehearse(resources(world), 2)
