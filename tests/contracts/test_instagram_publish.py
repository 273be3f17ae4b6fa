"""The client and the stand-in over real sockets: a post's whole way, and the states and limits on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.instagram import InstagramWorld, feed_jpeg, passed
from tests.support.sandbox import SandboxProcess

from persona_tui.clients.instagram import ContainerKind, ContainerState, InstagramError, NewContainer
from persona_tui.clients.instagram_login import FACEBOOK
from persona_tui.passed import content_hash


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    made = SandboxProcess(tmp_path_factory.mktemp("publish"))
    yield made
    made.stop()


@pytest.fixture
def world(process: SandboxProcess) -> InstagramWorld:
    made = InstagramWorld(process)
    made.calm()
    return made


def numbers(caught: pytest.ExceptionInfo[InstagramError]) -> tuple[int | None, int | None]:
    return caught.value.code, caught.value.subcode


async def test_a_post_goes_the_whole_way(world: InstagramWorld) -> None:
    world.steer("behaviour", {"container_seconds": 60})
    client = world.client()
    hosted = await world.hosted()
    await world.host.check(hosted)
    container = await world.container(client, image_url=hosted.url)
    assert (await client.container_status(container)).status_code is ContainerState.IN_PROGRESS
    world.process.advance(61)
    assert (await client.container_status(container)).status_code is ContainerState.FINISHED
    looks: list[str] = []
    media_id = await client.publish(container, last_look=lambda: looks.append("looked"))
    assert looks == ["looked"]
    assert (await client.container_status(container)).status_code is ContainerState.PUBLISHED

    facts = await client.media(media_id)
    assert (facts.id, facts.alt_text, facts.is_ai_generated) == (media_id, "A woman on a beach", True)
    assert facts.caption is None  # not readable with Instagram Login
    assert facts.permalink is not None and facts.permalink.startswith(world.process.instagram + "/p/")
    assert await client.list_media() == (facts,)
    limit = await client.publishing_limit()
    assert (limit.quota_usage, limit.quota_total, limit.quota_duration) == (1, 50, timedelta(days=1))

    (truth,) = world.published(client.ig_user_id)
    assert (truth["media_id"], truth["container_id"]) == (media_id, container)
    assert truth["picture_sha256"] == hashlib.sha256(feed_jpeg()).hexdigest()
    assert (truth["caption"], truth["is_ai_generated"]) == ("A morning at the sea #sea", True)
    await client.aclose()


async def test_every_text_and_picture_that_arrives_is_noted_by_its_hash(world: InstagramWorld) -> None:
    hosted = await world.hosted()
    await world.container(
        world.client(), image_url=hosted.url, caption=passed("Schöne Grüße 🌊"), alt_text=passed("unique alt")
    )
    received = world.process.control("instagram", "GET", "received")
    noted = {(entry["what"], entry["sha256"]) for entry in received}
    assert ("text", content_hash("Schöne Grüße 🌊")) in noted
    assert ("text", content_hash("unique alt")) in noted
    assert ("picture", hosted.sha256) in noted


async def test_the_label_is_what_was_asked(world: InstagramWorld) -> None:
    client = world.client()
    media_id = await client.publish(await world.container(client, is_ai_generated=False))
    assert (await client.media(media_id)).is_ai_generated is False


async def test_the_account_is_told_by_its_token(world: InstagramWorld) -> None:
    facts = await world.client().me()
    assert (facts.ig_user_id, facts.username) == ("17841400000000001", "sandbox_studio")


async def test_an_unpublished_container_expires_after_a_day(world: InstagramWorld) -> None:
    client = world.client()
    container = await world.container(client)
    world.process.advance(24 * 3600 - 60)
    assert (await client.container_status(container)).status_code is ContainerState.FINISHED
    world.process.advance(61)
    assert (await client.container_status(container)).status_code is ContainerState.EXPIRED
    with pytest.raises(InstagramError) as caught:
        await client.publish(container)
    assert numbers(caught) == (24, 2207008)
    assert world.published(client.ig_user_id) == []


async def test_a_published_container_stays_published(world: InstagramWorld) -> None:
    client = world.client()
    container = await world.container(client)
    await client.publish(container)
    world.process.advance(3 * 24 * 3600)
    assert (await client.container_status(container)).status_code is ContainerState.PUBLISHED


async def test_publishing_too_early_is_refused_as_not_ready(world: InstagramWorld) -> None:
    world.steer("behaviour", {"container_seconds": 60})
    client = world.client()
    container = await world.container(client)
    with pytest.raises(InstagramError) as caught:
        await client.publish(container)
    assert numbers(caught) == (9007, 2207027)
    assert world.published(client.ig_user_id) == []


async def test_a_second_send_may_answer_the_same_id(world: InstagramWorld) -> None:
    client = world.client()
    container = await world.container(client)
    assert await client.publish(container) == await client.publish(container)
    assert len(world.published(client.ig_user_id)) == 1


@pytest.mark.parametrize(("way", "error"), [("not_found", (24, 2207008)), ("not_ready", (9007, 2207027))])
async def test_a_second_send_may_be_refused(world: InstagramWorld, way: str, error: tuple[int, int]) -> None:
    world.steer("behaviour", {"second_publish": way})
    client = world.client()
    container = await world.container(client)
    await client.publish(container)
    with pytest.raises(InstagramError) as caught:
        await client.publish(container)
    assert numbers(caught) == error
    assert len(world.published(client.ig_user_id)) == 1


async def test_a_second_send_may_publish_twice(world: InstagramWorld) -> None:
    world.steer("behaviour", {"second_publish": "publish_again"})
    client = world.client()
    container = await world.container(client)
    assert await client.publish(container) != await client.publish(container)
    assert len(world.published(client.ig_user_id)) == 2


async def test_a_container_of_another_account_is_not_found(world: InstagramWorld) -> None:
    container = await world.container(world.client())
    with pytest.raises(InstagramError) as caught:
        await world.client().publish(container)
    assert numbers(caught) == (24, 2207006)


async def test_the_quota_counts_posts_of_the_last_day(world: InstagramWorld) -> None:
    world.steer("behaviour", {"quota_total": 2})
    client = world.client()
    containers = [await world.container(client) for _ in range(3)]
    for container in containers[:2]:
        await client.publish(container)
    with pytest.raises(InstagramError) as caught:
        await client.publish(containers[2])
    assert numbers(caught) == (9, 2207042)
    assert (await client.publishing_limit()).quota_usage == 2
    world.process.advance(24 * 3600 + 1)
    assert (await client.publishing_limit()).quota_usage == 0
    await client.publish(await world.container(client))
    assert len(world.published(client.ig_user_id)) == 3


async def test_containers_are_limited_too(world: InstagramWorld) -> None:
    world.steer("behaviour", {"container_limit": 2})
    client = world.client()
    for _ in range(2):
        await world.container(client)
    with pytest.raises(InstagramError) as caught:
        await world.container(client)
    assert caught.value.code == 4


async def test_a_late_listing_shows_the_item_in_the_end(world: InstagramWorld) -> None:
    world.steer("behaviour", {"listing_delay": [300, 300]})
    client = world.client()
    media_id = await client.publish(await world.container(client))
    assert await client.list_media() == ()
    assert (await client.media(media_id)).id == media_id
    world.process.advance(301)
    assert [item.id for item in await client.list_media()] == [media_id]


async def test_a_status_may_be_stale(world: InstagramWorld) -> None:
    client = world.client()
    container = await world.container(client)
    await client.publish(container)
    world.steer("behaviour", {"stale_status": 1.0})
    assert (await client.container_status(container)).status_code is ContainerState.FINISHED


async def test_alt_text_may_be_unreadable_and_captions_readable(world: InstagramWorld) -> None:
    world.steer("behaviour", {"unreadable_alt_text": 1.0, "caption_readable": True})
    client = world.client(login=FACEBOOK)
    facts = await client.media(await client.publish(await world.container(client)))
    assert facts.alt_text is None
    assert facts.caption == "A morning at the sea #sea"


async def test_the_owners_phone_posts_in_between(world: InstagramWorld) -> None:
    world.steer("behaviour", {"foreign_posts": 1.0})
    client = world.client()
    media_id = await client.publish(await world.container(client))
    listed = {item.id for item in await client.list_media()}
    assert media_id in listed and len(listed) == 2
    assert (await client.publishing_limit()).quota_usage == 1


async def test_a_long_listing_is_read_page_by_page_newest_first(world: InstagramWorld) -> None:
    client = world.client()
    ids = world.steer("foreign_posts", {"ig_user_id": client.ig_user_id, "count": 130})["ids"]
    listed = [item.id for item in await client.list_media(limit=500)]
    assert listed == ids[::-1]
    assert [item.id for item in await client.list_media(limit=101)] == ids[: -101 - 1 : -1]
    assert [item.id for item in await client.list_media(limit=3)] == ids[:-4:-1]


async def test_a_listing_keeps_to_its_window(world: InstagramWorld) -> None:
    client = world.client()
    early = world.steer("foreign_posts", {"ig_user_id": client.ig_user_id})["ids"]
    world.process.advance(3600)
    late = world.steer("foreign_posts", {"ig_user_id": client.ig_user_id})["ids"]
    clock = datetime.fromisoformat(world.process.control("instagram", "GET", "clock")["now"]).astimezone(UTC)
    middle = clock - timedelta(minutes=30)
    assert [item.id for item in await client.list_media(since=middle)] == late
    assert [item.id for item in await client.list_media(until=middle)] == early


async def test_usage_figures_come_from_the_headers(world: InstagramWorld) -> None:
    client = world.client()
    assert client.last_usage is None
    world.steer("behaviour", {"usage_percent": 87, "regain_minutes": 12})
    await client.publishing_limit()
    assert client.last_usage is not None
    assert (client.last_usage.highest, client.last_usage.regain_after) == (87, timedelta(minutes=12))


@pytest.mark.long
async def test_the_stand_in_forgets_nothing_when_killed(tmp_path_factory: pytest.TempPathFactory) -> None:
    process = SandboxProcess(tmp_path_factory.mktemp("killed"))
    world = InstagramWorld(process)
    world.calm()
    world.steer("behaviour", {"listing_delay": [0.0, 5.0]})
    client = world.client()
    published = await world.container(client)
    waiting = await world.container(client)
    media_id = await client.publish(published)
    process.kill()
    ledger = process.state / "instagram" / "ledger.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    lines_without = [line for line in lines if json.loads(line)["event"] != "published"]
    ledger.write_text("".join(lines_without))  # as if killed between the commit and the ledger's line
    process.restart()
    assert [entry["media_id"] for entry in world.published(client.ig_user_id)] == [media_id]
    assert world.raw("GET", "/sandbox/behaviour").json()["listing_delay"] == [0.0, 5.0]
    reconnected = world.client(client.ig_user_id)
    assert (await reconnected.container_status(published)).status_code is ContainerState.PUBLISHED
    assert await reconnected.publish(published) == media_id
    assert await reconnected.publish(waiting) != media_id
    assert len(world.published(client.ig_user_id)) == 2
    process.stop()


async def test_a_carousel_is_published_as_one_post(world: InstagramWorld) -> None:
    account = world.account()
    url = (await world.hosted()).url
    base = f"/v26.0/{account}"
    children = [
        world.raw("POST", f"{base}/media", json={"image_url": url, "is_carousel_item": True}).json()["id"]
        for _ in range(3)
    ]
    parent = {
        "media_type": "CAROUSEL",
        "children": ",".join(children),
        "caption": "Three",
        "is_ai_generated": "true",
    }
    container = world.raw("POST", f"{base}/media", data=parent).json()["id"]
    media_id = world.raw("POST", f"{base}/media_publish", data={"creation_id": container}).json()["id"]
    fields = {"fields": "id,media_type,children,is_ai_generated"}
    node = world.raw("GET", f"/{media_id}", params=fields).json()
    assert (node["media_type"], node["is_ai_generated"], len(node["children"]["data"])) == (
        "CAROUSEL_ALBUM",
        True,
        3,
    )
    (truth,) = world.published(account)
    assert truth["children"] == [hashlib.sha256(feed_jpeg()).hexdigest()] * 3
    assert len(world.raw("GET", f"{base}/media").json()["data"]) == 1
    limit = world.raw("GET", f"{base}/content_publishing_limit").json()
    assert limit == {"data": [{"quota_usage": 1}]}


async def test_publishing_10_a_story_is_listed_among_the_stories_alone_and_for_a_day(
    world: InstagramWorld,
) -> None:
    client = world.client()
    story = NewContainer(ContainerKind.STORY, image_url=(await world.hosted()).url, is_ai_generated=True)
    media_id = await client.publish(await client.create_container(story))
    (shown,) = await client.list_stories()
    assert (shown.id, shown.media_product_type, shown.media_type) == (media_id, "STORY", "IMAGE")
    assert await client.list_media() == ()
    world.process.control("instagram", "POST", "clock", json={"advance": 24 * 3600 + 1})
    assert await client.list_stories() == ()
    world.process.control("instagram", "POST", "clock", json={"offset": 0})


async def test_publishing_10_comments_are_read_back_page_by_page_and_written_even_where_the_answer_fails(
    world: InstagramWorld,
) -> None:
    client = world.client()
    media_id = await client.publish(await world.container(client))
    ids = [await client.create_comment(media_id, passed(f"Number {n}")) for n in range(52)]
    read = await client.comments(media_id)
    assert [one.id for one in read] == ids[::-1] and read[0].text == "Number 51" and read[0].username
    asked = {"message": "With fields", "fields": "id,text"}
    error = world.raw("POST", f"/v26.0/{media_id}/comments", data=asked).json()["error"]
    assert (error["code"], error["error_subcode"]) == (20, 1772107)
    assert (await client.comments(media_id, limit=1))[0].text == "With fields"


@pytest.mark.parametrize("path", ["/v26.0/me", "/v25.0/me", "/me"])
def test_the_version_may_be_left_out(world: InstagramWorld, path: str) -> None:
    answer = world.raw("GET", path, params={"fields": "user_id,username"}).json()
    assert answer["user_id"] == "17841400000000001"
    assert answer["id"] != answer["user_id"]  # the app's own id is not the one to publish with


def test_a_token_is_renewed(world: InstagramWorld) -> None:
    answer = world.raw("GET", "/refresh_access_token", params={"grant_type": "ig_refresh_token"}).json()
    assert answer["token_type"] == "bearer" and answer["expires_in"] == 5_184_000


def test_a_missing_token_is_refused_in_graphs_own_words(world: InstagramWorld) -> None:
    import httpx

    answer = httpx.get(f"{world.process.instagram}/v26.0/me", trust_env=False, verify=False)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == 190


def test_an_unknown_field_is_an_error(world: InstagramWorld) -> None:
    answer = world.raw("GET", "/v26.0/me", params={"fields": "id,shoe_size"})
    assert answer.status_code == 400
    assert "shoe_size" in answer.json()["error"]["message"]
