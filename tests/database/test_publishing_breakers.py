"""Circuit breakers (item 4): what fails for all is left alone, for longer each time, and tried again."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from persona_tui.clients.instagram_errors import InstagramError, InstagramTokenRejected
from persona_tui.database.engine import Database
from persona_tui.errors import ClientError, ServiceGarbled, ServiceTimeout, ServiceUnreachable
from persona_tui.screens.posts_reading import load
from persona_tui.services.doctor import _inside, _media_hosts
from persona_tui.services.publishing import breakers
from persona_tui.settings import Settings
from tests.support.publishing import World, make_rows


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_rows(db, tmp_path)


def fail(world: World, scope: str, times: int) -> timedelta | None:
    """Note failures; for how long the breaker is open then."""
    with world.db.session_scope() as session:
        for _ in range(times):
            breakers.note_failure(session, scope, "The media host does not answer.")
        now = world.clock(session)
        open_ones = {one.scope: one.open_until - now for one in breakers.open_breakers(session)}
    return open_ones.get(scope)


def near(left: timedelta | None, minutes: float) -> bool:
    return left is not None and abs(left - timedelta(minutes=minutes)) < timedelta(seconds=5)


def test_publishing_4_a_breaker_opens_after_some_failures_in_a_row_and_for_longer_each_time(
    world: World,
) -> None:
    assert fail(world, "host:first", 2) is None
    assert near(fail(world, "host:first", 1), 5)
    assert near(fail(world, "host:first", 1), 10)
    assert near(fail(world, "host:first", 9), 60), "never longer than an hour"
    with world.db.session_scope() as session:
        assert breakers.is_open(session, "host:first") and not breakers.is_open(session, "host:second")
        breakers.note_success(session, "host:first")
    assert fail(world, "host:first", 2) is None


def test_publishing_4_failures_that_are_not_in_a_row_open_nothing(world: World) -> None:
    for _ in range(4):
        assert fail(world, breakers.GRAPH, 4) is None
        with world.db.session_scope() as session:
            breakers.note_success(session, breakers.GRAPH)


def graph(status: int, code: int | None) -> InstagramError:
    return InstagramError("no", status=status, code=code)


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (ServiceTimeout("no answer"), True),
        (ServiceUnreachable("refused", sent=False), True),
        (ServiceGarbled("html", status=502), True),
        (ClientError("reset"), True),
        (graph(500, 2), True),
        (graph(502, None), True),
        (graph(400, 36003), False),
        (graph(400, 4), False),
        (InstagramTokenRejected("dead", status=400, code=190), False),
    ],
    ids=repr,
)
def test_publishing_4_only_what_says_nothing_of_the_post_counts_against_the_service(
    error: ClientError, trouble: bool
) -> None:
    assert breakers.is_service_trouble(error) is trouble


def test_publishing_4_what_is_left_alone_is_told_on_the_screen_and_by_the_doctor(world: World) -> None:
    fail(world, "host:first", 3)
    fail(world, breakers.GRAPH, 5)
    with world.db.session_scope() as session:
        shown = load(session, world.persona_id, world.now())
    assert [words.partition(" until ")[0] for words in shown.resting] == [
        "Instagram is left alone",
        "The media host is left alone",
    ]
    (check,) = [check for check in _inside(world.db) if check.name == "publishing"]
    assert check.state == "warn" and "The media host does not answer." in check.sentence


@pytest.mark.parametrize(
    ("media", "states"),
    [
        ({}, ["off"]),
        ({"publish_url": "file:/a", "public_base_url": "https://a"}, ["ok", "off"]),
        ({"publish_url": "s3://a", "second_publish_url": "s3://a"}, ["ok", "warn"]),
        ({"publish_url": "s3://a", "second_publish_url": "file:/b"}, ["ok", "fail"]),
        ({"publish_url": "file:/a", "second_publish_url": "s3://b"}, ["fail", "ok"]),
    ],
)
def test_publishing_8_the_doctor_looks_at_both_media_hosts(media: dict[str, str], states: list[str]) -> None:
    checks = _media_hosts(Settings.model_validate({"media": media}))
    assert [check.state for check in checks] == states
    assert [check.name for check in checks] == ["media host", "second media host"][: len(states)]
    assert all(check.hint for check in checks if check.state != "ok")
