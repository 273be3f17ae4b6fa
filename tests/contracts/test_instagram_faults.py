"""Every way to fail, at every call: what the client raises, what is to be done, what is true."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from tests.support.instagram import InstagramWorld, assert_without
from tests.support.sandbox import SandboxProcess

from persona_tui.boundaries import observe
from persona_tui.clients.instagram import InstagramClient, InstagramError, InstagramTokenRejected
from persona_tui.clients.instagram_errors import Step, Verdict, classify, is_known
from persona_tui.errors import (
    ClientError,
    KeyRejected,
    NotAllowedNow,
    ServiceGarbled,
    ServiceTimeout,
    ServiceUnreachable,
)
from persona_tui.sandbox.instagram.errors import ERRORS, GraphError


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    made = SandboxProcess(tmp_path_factory.mktemp("faults"))
    yield made
    made.stop()


@pytest.fixture
def world(process: SandboxProcess) -> InstagramWorld:
    made = InstagramWorld(process)
    made.calm()
    return made


Call = Callable[[InstagramWorld, InstagramClient, str], Awaitable[Any]]

# Each call of the client by the stand-in's name for it; the last argument is a container ready to publish.
CALLS: dict[str, tuple[Call, Step]] = {
    "create_container": (lambda world, client, _: world.container(client), Step.CREATE),
    "container_status": (lambda _, client, ready: client.container_status(ready), Step.STATUS),
    "media_publish": (lambda _, client, ready: client.publish(ready), Step.PUBLISH),
    "list_media": (lambda _, client, _ready: client.list_media(), Step.READ),
    "media": (lambda _, client, _ready: client.media("18060000000000001"), Step.READ),
    "publishing_limit": (lambda _, client, _ready: client.publishing_limit(), Step.READ),
    "me": (lambda _, client, _ready: client.me(), Step.READ),
}

# Fault kind → what the client raises, and whether the effect happened all the same.
KINDS: dict[str, tuple[dict[str, Any], type[ClientError], bool]] = {
    "fail_before": ({"status": 500}, InstagramError, False),
    "drop_before": ({}, ClientError, False),
    "effect_then_drop": ({}, ClientError, True),
    "effect_then_error": ({"status": 500}, InstagramError, True),
    "slow_reply": ({"seconds": 2.0}, ServiceTimeout, True),
    "garbage": ({}, ServiceGarbled, True),
}


async def until_published(world: InstagramWorld, account: str, count: int) -> None:
    """Wait until the account has published so many; the stand-in may still be at it."""
    async with asyncio.timeout(30):
        while len(world.published(account)) < count:
            await asyncio.sleep(0.05)
    assert len(world.published(account)) == count


@pytest.mark.long(but=["create_container-*", "media_publish-*", "me-slow_reply", "list_media-garbage"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
async def test_a_fault_becomes_the_right_error_and_ruling(
    world: InstagramWorld, caplog: pytest.LogCaptureFixture, call: str, kind: str
) -> None:
    caplog.set_level(logging.DEBUG)
    more, expected, happened = KINDS[kind]
    act, step = CALLS[call]
    account = world.account()
    ready = await world.container(world.client(account))
    client = world.client(account, timeout=0.3 if kind == "slow_reply" else 10.0)
    world.plan(call, kind, **more)
    with pytest.raises(ClientError) as caught:
        await act(world, client, ready)
    error = caught.value
    assert type(error) is expected
    assert error.sent is True
    verdict = classify(error, step).verdict
    assert verdict is (Verdict.AMBIGUOUS if step is Step.PUBLISH else Verdict.RETRY)
    await until_published(world, account, 1 if call == "media_publish" and happened else 0)
    assert_without(world.process.token, error)
    assert world.process.token not in caplog.text
    await client.aclose()


async def test_a_publish_that_only_comes_late_still_counts(world: InstagramWorld) -> None:
    account = world.account()
    ready = await world.container(world.client(account))
    world.plan("media_publish", "slow", seconds=0.8)
    with pytest.raises(ServiceTimeout) as caught:
        await world.client(account, timeout=0.3).publish(ready)
    assert classify(caught.value, Step.PUBLISH).verdict is Verdict.AMBIGUOUS
    await until_published(world, account, 1)


async def test_at_a_closed_port_nothing_is_sent(world: InstagramWorld) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        world.process.instagram, kept = (
            f"http://127.0.0.1:{reserved.getsockname()[1]}",
            world.process.instagram,
        )
        try:
            client = world.client("17841400000000001")
        finally:
            world.process.instagram = kept
        with pytest.raises(ServiceUnreachable) as caught:
            await client.publish("17990000000000001")
    assert caught.value.sent is False
    assert classify(caught.value, Step.PUBLISH).verdict is Verdict.RETRY
    assert_without(world.process.token, caught.value)


async def test_the_last_look_comes_after_connecting_and_can_stop_the_call(world: InstagramWorld) -> None:
    def refuse() -> None:
        assert steps == []  # no byte was written before the look
        raise NotAllowedNow("The lease is too short.")

    client = world.client()
    ready = await world.container(client)
    steps: list[str] = []
    observe(steps.append)
    try:
        with pytest.raises(NotAllowedNow) as caught:
            await client.publish(ready, last_look=refuse)
    finally:
        observe(None)
    assert steps == []
    assert classify(caught.value, Step.PUBLISH).verdict is Verdict.RETRY
    called = world.ledger("publish_called")
    assert ready not in {entry["container_id"] for entry in called}
    assert await client.publish(ready)


async def test_the_boundaries_of_a_publish_are_numbered(world: InstagramWorld) -> None:
    client = world.client()
    ready = await world.container(client)
    steps: list[str] = []
    observe(steps.append)
    try:
        await client.publish(ready, last_look=lambda: steps.append("look"))
    finally:
        observe(None)
    assert steps == ["look", "http:before_send", "http:after_send", "http:after_reply"]


# What A.6 says of each row the stand-in knows, before a publish call.
EXPECTED: dict[tuple[int, int | None], Verdict] = {
    (-2, 2207003): Verdict.RETRY_CREATE,
    (-2, 2207020): Verdict.NEW_CONTAINER,
    (-1, 2207001): Verdict.RETRY,
    (-1, 2207032): Verdict.RETRY_CREATE,
    (-1, 2207053): Verdict.NEW_CONTAINER,
    (1, None): Verdict.RETRY,
    (2, None): Verdict.RETRY,
    (3, None): Verdict.STOP,
    (4, None): Verdict.WAIT,
    (4, 2207051): Verdict.STOP,
    (9, 2207042): Verdict.QUOTA,
    (10, None): Verdict.STOP,
    (17, None): Verdict.WAIT,
    (20, 1772107): Verdict.AMBIGUOUS,
    (24, 2207006): Verdict.CHECK_ACCESS,
    (24, 2207008): Verdict.NEW_CONTAINER,
    (25, 2207050): Verdict.STOP,
    (32, None): Verdict.WAIT,
    (100, None): Verdict.FIX,
    (100, 33): Verdict.CHECK_ACCESS,
    (100, 2207023): Verdict.FIX,
    (100, 2207028): Verdict.FIX,
    (100, 2207040): Verdict.FIX,
    (102, None): Verdict.PAUSE_TOKEN,
    **{(190, subcode): Verdict.PAUSE_TOKEN for subcode in (None, 458, 459, 460, 463, 464, 467, 492)},
    (200, None): Verdict.STOP,
    (341, None): Verdict.WAIT,
    (352, 2207026): Verdict.FIX,
    (368, None): Verdict.STOP,
    (506, None): Verdict.AMBIGUOUS,
    (613, None): Verdict.WAIT,
    (9004, 2207052): Verdict.RETRY_CREATE,
    (9007, 2207027): Verdict.POLL,
    (36000, 2207004): Verdict.FIX,
    (36001, 2207005): Verdict.FIX,
    (36003, 2207009): Verdict.FIX,
    (36004, 2207010): Verdict.FIX,
    (80001, None): Verdict.WAIT,
    (80002, None): Verdict.WAIT,
}


def test_every_row_of_the_stand_in_has_an_expectation() -> None:
    assert {(row.code, row.subcode) for row in ERRORS} == set(EXPECTED)
    assert all(is_known(row.code, row.subcode) for row in ERRORS)


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: f"{row.code}-{row.subcode}")
async def test_each_row_is_ruled_by_its_numbers(world: InstagramWorld, row: GraphError) -> None:
    client = world.client()
    ready = await world.container(client)
    expected, token = EXPECTED[row.code, row.subcode], world.process.token
    echoing = row.body(
        f"{row.message}: malformed token {token} in http://127.0.0.1/a.jpg?X-Amz-Signature={token}"
    )
    echoing["error"]["fbtrace_id"] = f"trace{token}"

    world.plan("create_container", "fail_before", status=row.status, body=echoing)
    with pytest.raises(InstagramError) as at_create:
        await world.container(client)
    created = at_create.value
    assert (created.code, created.subcode, created.status) == (row.code, row.subcode, row.status)
    assert created.is_transient is row.is_transient
    assert isinstance(created, KeyRejected) is (row.code in {102, 190})
    assert isinstance(created, InstagramTokenRejected) is (row.code in {102, 190})
    assert created.user_message
    assert classify(created, Step.CREATE).verdict is expected
    assert_without(token, created)

    world.plan("media_publish", "effect_then_error", status=row.status, body=row.body())
    with pytest.raises(InstagramError) as at_publish:
        await client.publish(ready)
    ruling = classify(at_publish.value, Step.PUBLISH)
    assert (ruling.verdict, ruling.cause) == (Verdict.AMBIGUOUS, expected)
    assert at_publish.value.fbtrace_id is not None
    assert len(world.published(client.ig_user_id)) == 1  # it is live in spite of the error
    await client.aclose()


async def test_a_throttle_says_how_long_to_wait(world: InstagramWorld) -> None:
    world.steer("behaviour", {"usage_percent": 100, "regain_minutes": 37})
    world.plan("list_media", "fail_before", status=400, body=ERRORS_BY_CODE[80002].body())
    with pytest.raises(InstagramError) as caught:
        await world.client().list_media()
    ruling = classify(caught.value, Step.READ)
    assert ruling.verdict is Verdict.WAIT
    assert ruling.wait is not None and ruling.wait.total_seconds() == 37 * 60


ERRORS_BY_CODE = {row.code: row for row in ERRORS}


BODIES = ["", "<html>", "[]", "null", "{", '"text"', "[" * 5000, '{"error": 5}', '{"error": null}']
STRANGE = [(status, body) for status in (200, 503) for body in BODIES] + [
    (302, ""),
    (400, "<html>"),
    (408, ""),
]


@pytest.mark.parametrize(("status", "body"), STRANGE)
async def test_bodies_that_are_not_graphs_leave_a_publish_unknown(
    world: InstagramWorld, status: int, body: str
) -> None:
    client = world.client()
    ready = await world.container(client)
    world.plan("media_publish", "effect_then_error", status=status, body=body)
    with pytest.raises((InstagramError, ServiceGarbled)) as caught:
        await client.publish(ready)
    assert classify(caught.value, Step.PUBLISH).verdict is Verdict.AMBIGUOUS
    assert len(world.published(client.ig_user_id)) == 1
    await client.aclose()


HOSTILE_ANSWERS = [
    {},
    {"id": None},
    {"id": True},
    {"id": "../../me"},
    {"id": "https://evil.example/"},
    {"id": ["17990000000000001"]},
    {"id": ""},
    {"data": {}},
    {"data": [1, 2]},
    {"data": [{"id": "x"}]},
    {"data": [{"quota_usage": "many", "config": []}]},
    {"data": [{"quota_usage": 1, "config": {"quota_total": 5, "quota_duration": 10**30}}]},
    {"status_code": "DANCING"},
    {"status_code": {"a": 1}, "status": ["x"]},
    {"user_id": "1/../2", "username": {"x": 1}},
]


@pytest.mark.long(but=["media_publish", "create_container"])
@pytest.mark.parametrize("call", CALLS)
async def test_answers_of_another_shape_are_garbled_and_nothing_else(
    world: InstagramWorld, call: str
) -> None:
    client = world.client()
    ready = await world.container(client)
    act, _ = CALLS[call]
    for answer in HOSTILE_ANSWERS:
        world.plan(call, "fail_before", status=200, body=json.dumps(answer))
        with pytest.raises(ServiceGarbled) as caught:
            await act(world, client, ready)
        assert_without(world.process.token, caught.value)
    await client.aclose()
