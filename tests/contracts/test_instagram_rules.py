"""What the stand-in refuses at creation, as Meta does: pictures, texts, parameters."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from tests.support.instagram import InstagramWorld, feed_jpeg, passed
from tests.support.sandbox import SandboxProcess

from persona_tui.clients.instagram import ContainerState, InstagramError
from persona_tui.clients.instagram_errors import Step, Verdict, classify, container_ruling


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    made = SandboxProcess(tmp_path_factory.mktemp("rules"))
    yield made
    made.stop()


@pytest.fixture
def world(process: SandboxProcess) -> InstagramWorld:
    made = InstagramWorld(process)
    made.calm()
    return made


def jpeg(size: tuple[int, int] = (400, 500), mode: str = "RGB", kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind)
    return file.getvalue()


BAD_PICTURES: dict[str, tuple[bytes, tuple[int, int]]] = {
    "png": (jpeg(kind="PNG"), (36001, 2207005)),
    "cmyk": (jpeg(mode="CMYK"), (36001, 2207005)),
    "too tall": (jpeg((790, 1000)), (36003, 2207009)),
    "too wide": (jpeg((1920, 1000)), (36003, 2207009)),
    "too large": (feed_jpeg() + bytes(8 * 1024 * 1024), (36000, 2207004)),
    "cut off": (feed_jpeg()[:-5000], (9004, 2207052)),
    "no picture": (b"hello", (9004, 2207052)),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
async def test_a_picture_against_the_rules_is_refused(world: InstagramWorld, name: str) -> None:
    picture, numbers = BAD_PICTURES[name]
    hosted = await world.hosted(picture)
    with pytest.raises(InstagramError) as caught:
        await world.container(world.client(), image_url=hosted.url)
    assert (caught.value.code, caught.value.subcode) == numbers
    assert caught.value.fbtrace_id is not None
    expected = Verdict.RETRY_CREATE if numbers[0] == 9004 else Verdict.FIX
    assert classify(caught.value, Step.CREATE).verdict is expected


@pytest.mark.parametrize("name", ["png", "too tall", "cut off"])
async def test_a_refusal_may_come_late_as_a_container_in_error(world: InstagramWorld, name: str) -> None:
    world.steer("behaviour", {"refuse_late": True})
    picture, (_, subcode) = BAD_PICTURES[name]
    client = world.client()
    container = await world.container(client, image_url=(await world.hosted(picture)).url)
    status = await client.container_status(container)
    assert (status.status_code, status.subcode) == (ContainerState.ERROR, subcode)
    expected = Verdict.RETRY_CREATE if name == "cut off" else Verdict.FIX
    assert container_ruling(status.subcode).verdict is expected


FETCH_FAULTS: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "missing": ({"kind": "fail_before", "status": 404, "body": "no"}, (9004, 2207052)),
    "forbidden": ({"kind": "fail_before", "status": 403, "body": "bot wall"}, (9004, 2207052)),
    "redirect": ({"kind": "fail_before", "status": 302, "body": "elsewhere"}, (9004, 2207052)),
    "dropped": ({"kind": "drop_before"}, (9004, 2207052)),
    "html page": ({"kind": "garbage"}, (9004, 2207052)),
    "slow": ({"kind": "slow", "seconds": 2.0}, (-2, 2207003)),
}


@pytest.mark.parametrize("name", FETCH_FAULTS)
async def test_a_media_host_that_fails_makes_the_creation_fail(world: InstagramWorld, name: str) -> None:
    fault, numbers = FETCH_FAULTS[name]
    if name == "slow":
        world.steer("behaviour", {"fetch_seconds": 0.2})
    world.plan("media_get", service="media", **fault)
    client = world.client()
    with pytest.raises(InstagramError) as caught:
        await world.container(client)
    assert (caught.value.code, caught.value.subcode) == numbers
    assert classify(caught.value, Step.CREATE).verdict is Verdict.RETRY_CREATE
    world.calm()
    await world.container(client)  # the next try goes through


@pytest.mark.parametrize(
    "url", ["https://example.org/a.jpg", "http://10.0.0.1/a.jpg", "http://127.0.0.1:9/a.jpg"]
)
async def test_the_stand_in_fetches_from_this_machine_alone(world: InstagramWorld, url: str) -> None:
    with pytest.raises(InstagramError) as caught:
        await world.container(world.client(), image_url=url)
    assert (caught.value.code, caught.value.subcode) == (9004, 2207052)


BAD_TEXTS: dict[str, tuple[dict[str, str], tuple[int, int | None]]] = {
    "long caption": ({"caption": "x" * 2201}, (36004, 2207010)),
    "31 hashtags": ({"caption": " ".join(f"#tag{n}" for n in range(31))}, (36004, 2207010)),
    "21 mentions": ({"caption": " ".join(f"@user{n}" for n in range(21))}, (100, 2207040)),
    "long alt text": ({"alt_text": "x" * 1001}, (100, None)),
}


@pytest.mark.parametrize("name", BAD_TEXTS)
async def test_texts_beyond_the_limits_are_refused(world: InstagramWorld, name: str) -> None:
    texts, numbers = BAD_TEXTS[name]
    with pytest.raises(InstagramError) as caught:
        await world.container(world.client(), **{field: passed(text) for field, text in texts.items()})
    assert (caught.value.code, caught.value.subcode) == numbers
    assert classify(caught.value, Step.CREATE).verdict is Verdict.FIX


async def test_texts_at_the_limits_are_taken(world: InstagramWorld) -> None:
    client = world.client()
    await world.container(client, caption=passed("x" * 2200), alt_text=passed("x" * 1000))
    await world.container(client, caption=passed(" ".join(f"@user{n}" for n in range(20))))


BAD_PARAMETERS: dict[str, tuple[dict[str, Any], tuple[int, int | None]]] = {
    "no address": ({}, (100, None)),
    "unknown type": ({"media_type": "HOLOGRAM"}, (100, 2207023)),
    "one child": ({"media_type": "CAROUSEL", "children": "1"}, (100, 2207028)),
    "eleven children": ({"media_type": "CAROUSEL", "children": ["1"] * 11}, (100, 2207028)),
    "strange children": ({"media_type": "CAROUSEL", "children": "17990000000000001,2"}, (100, None)),
    "labelled child": ({"is_carousel_item": "true", "is_ai_generated": "true"}, (100, None)),
    "captioned child": ({"is_carousel_item": "true", "caption": "no"}, (100, None)),
    "child with a place": ({"is_carousel_item": "true", "location_id": "1"}, (100, None)),
    "captioned story": ({"media_type": "STORIES", "caption": "no"}, (100, None)),
    "story with a place": ({"media_type": "STORIES", "location_id": "1"}, (100, None)),
    "reel's alt text": ({"media_type": "REELS", "alt_text": "no"}, (100, None)),
    "tag without a place": ({"user_tags": '[{"username": "anna"}]'}, (100, None)),
    "tag outside": ({"user_tags": '[{"username": "anna", "x": 0.5, "y": 1.5}]'}, (100, None)),
    "placed tag in a reel": (
        {"media_type": "REELS", "user_tags": '[{"username": "anna", "x": 0.5, "y": 0.5}]'},
        (100, None),
    ),
    "four collaborators": ({"collaborators": '["a", "b", "c", "d"]'}, (100, None)),
    "place by name": ({"location_id": "Berlin"}, (100, None)),
    "cover of a picture": ({"thumb_offset": "1"}, (100, None)),
    "carousel's alt text": ({"media_type": "CAROUSEL", "alt_text": "no"}, (100, None)),
}


@pytest.mark.parametrize("name", BAD_PARAMETERS)
def test_parameters_that_do_not_go_together_are_refused(world: InstagramWorld, name: str) -> None:
    asked, numbers = BAD_PARAMETERS[name]
    answer = world.raw("POST", f"/v26.0/{world.account()}/media", json=asked)
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert (error["code"], error.get("error_subcode")) == numbers


async def test_unknown_accounts_and_objects_do_not_exist(world: InstagramWorld) -> None:
    with pytest.raises(InstagramError) as no_account:
        await world.container(world.client("99999999999"))
    with pytest.raises(InstagramError) as no_media:
        await world.client().media("18000000000000000")
    for caught in (no_account, no_media):
        assert (caught.value.code, caught.value.subcode) == (100, 33)


@pytest.mark.parametrize(
    "changes", [{"quota_total": -1}, {"second_publish": "maybe"}, {"listing_delay": [9, 1]}, {"x": 1}]
)
def test_behaviour_that_makes_no_sense_is_refused(world: InstagramWorld, changes: dict[str, Any]) -> None:
    before = world.raw("GET", "/sandbox/behaviour").json()
    assert world.raw("POST", "/sandbox/behaviour", json=changes).status_code == 400
    assert world.raw("GET", "/sandbox/behaviour").json() == before
