"""Two media hosts (item 8), and breakers in the publisher's way (item 4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from persona_tui.clients.media_host import MediaHost
from persona_tui.database.engine import Database
from persona_tui.services.publishing import breakers
from tests.support.publishing import PUBLISH_QUICKLY, World, make_world
from tests.support.publishing_sandbox import calm

ONE_TRY = replace(PUBLISH_QUICKLY, backoff=(3600.0,))


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_world(db, tmp_path)


def dead_host() -> MediaHost:
    """A place that nobody sees from outside."""
    return MediaHost("file:///tmp/persona-nobody-sees", "http://127.0.0.1:9")


def hosts_used(world: World) -> list[str]:
    return [row[0] for row in world.rows("SELECT host FROM media_objects ORDER BY id")]


async def test_publishing_8_the_second_host_takes_over_and_its_copies_are_deleted_there(world: World) -> None:
    world.host, second = dead_host, world.host  # type: ignore[method-assign]
    posts = [world.post() for _ in range(4)]
    report = await world.publish(second_host=second)
    assert len(report.published) == len(posts) == len(world.published())
    # Three tries open the first one's breaker; the fourth post goes straight to the second.
    assert hosts_used(world) == ["first", "second", "first", "second", "first", "second", "second"]
    with world.db.session_scope() as session:
        (open_one,) = breakers.open_breakers(session)
        assert open_one.scope == "host:first" and "media host" in open_one.reason.lower()
    kept = set(world.site.media_dir.glob("*.jpg"))
    world.do("UPDATE media_objects SET created_at = created_at - interval '25 hours'")
    await world.publish(second_host=second)
    gone = world.rows("SELECT key FROM media_objects WHERE deleted_at IS NOT NULL AND host = 'second'")
    assert len(gone) == 4 and not any((world.site.media_dir / key).exists() for (key,) in gone)
    assert kept - set(world.site.media_dir.glob("*.jpg"))


async def test_publishing_8_with_one_host_the_post_waits_and_nothing_is_asked_of_instagram(
    world: World,
) -> None:
    world.host = dead_host  # type: ignore[method-assign]
    post = world.post()
    await world.publish(policy=ONE_TRY)
    assert world.view(post.id).state == "deferred"
    assert world.calls("container_created") == [] and world.published() == []


async def test_publishing_8_what_instagram_cannot_fetch_counts_against_its_host_and_goes_to_the_second(
    world: World,
) -> None:
    body = {"error": {"message": "no", "type": "OAuthException", "code": 9004, "error_subcode": 2207052}}
    world.plan("create_container", "fail_before", status=400, body=body)
    post = world.post()
    await world.publish(second_host=world.host)
    assert (await world.publish(second_host=world.host)).published == (post.id,)
    assert hosts_used(world) == ["first", "second"]
    # That we could see the copy ourselves wipes nothing out: Instagram has to fetch one.
    failures = "SELECT failures FROM circuit_breakers WHERE scope = 'host:first'"
    assert world.one(failures) == 1
    later = world.post()
    assert (await world.publish(second_host=world.host)).published == (later.id,)
    assert hosts_used(world)[-1] == "first" and world.one(failures) == 0


async def test_publishing_4_while_the_service_is_down_nobody_is_claimed_and_then_all_go_out(
    world: World,
) -> None:
    posts = [world.post() for _ in range(2)]
    with world.db.session_scope() as session:
        for _ in range(5):
            breakers.note_failure(session, breakers.GRAPH, "Instagram did not answer in time.")
    assert (await world.publish()).published == () and world.published() == []
    assert {world.view(post.id).state for post in posts} == {"scheduled"}
    world.do("UPDATE installation SET clock_offset = clock_offset + :by", by=timedelta(minutes=1))
    assert len((await world.publish()).published) == 2
    assert world.one("SELECT failures FROM circuit_breakers WHERE scope = 'graph'") == 0


async def test_publishing_2_while_answers_are_lost_a_post_asks_often_and_leaves_no_containers_behind(
    world: World,
) -> None:
    waits = replace(PUBLISH_QUICKLY, backoff=(900.0,), unanswered=timedelta(seconds=45))
    for call in ("create_container", "publishing_limit"):
        world.plan(call, "effect_then_drop", times=None)
    post = world.post()
    for _ in range(6):
        await world.publish(policy=waits)
        assert world.view(post.id).state == "deferred"
        left = world.one("SELECT lease_until - persona_now() FROM scheduling_posts")
        assert timedelta(seconds=30) < left <= timedelta(seconds=45)
        world.do("UPDATE installation SET clock_offset = clock_offset + interval '1 minute'")
    assert len(world.calls("container_created")) == 2
    calm()
    assert (await world.publish(policy=waits)).published == (post.id,)


async def test_publishing_2_an_account_rests_before_its_call_budget_is_used_up(world: World) -> None:
    posts = [world.post() for _ in range(2)]
    world.behave(usage_percent=93, regain_minutes=7)
    assert len((await world.publish(policy=replace(PUBLISH_QUICKLY, at_once=1))).published) == 1
    rest = "SELECT quiet_until - persona_now() FROM instagram_accounts WHERE id = :id"
    left = world.one(rest, id=world.account_id)
    assert timedelta(minutes=6) < left <= timedelta(minutes=7)
    assert (await world.publish()).published == ()
    assert any("rests for a while" in words for words in world.view(posts[1].id).warnings)
    world.behave(usage_percent=1, regain_minutes=0)
    world.do("UPDATE installation SET clock_offset = clock_offset + interval '8 minutes'")
    assert (await world.publish()).published == (posts[1].id,)
