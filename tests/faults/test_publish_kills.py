"""kill -9 of a publishing process at named points: afterwards each post is out once, under its own id.

Every boundary, found by counting, is killed at in `test_publishing_faults.py` and `benchmarks/faults.py`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.publishing import World, make_world

from persona_tui.database.engine import Database

Order = Callable[..., dict[str, Any]]


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_world(db, tmp_path)


@pytest.fixture(scope="module")
def children() -> Iterator[Order]:
    """Publishes in a child that is killed as ordered; returns how it ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.publishing_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    to_child, from_child = process.stdin, process.stdout

    def publish(world: World, **order: Any) -> dict[str, Any]:
        to_child.write(json.dumps({"world": world.facts(), **order}) + "\n")
        to_child.flush()
        answer: dict[str, Any] = json.loads(from_child.readline())
        return answer

    yield publish
    to_child.close()
    assert process.wait(10) == 0
    from_child.close()


def assert_out_once(world: World, post_id: int) -> None:
    view = world.view(post_id)
    mine = [entry for entry in world.published() if entry["caption"] == view.full_caption]
    assert len(mine) == 1
    assert (view.state, view.media_id) == ("published", mine[0]["media_id"])


def in_state(state: str) -> str:
    return f"SELECT EXISTS (SELECT FROM scheduling_posts WHERE state = '{state}')"


NOTED = "SELECT EXISTS (SELECT FROM publish_replies WHERE call = 'media_publish' AND ok)"


@pytest.mark.long(but=["r16-intent-committed-nothing-sent", "r22-reply-not-committed"])
@pytest.mark.parametrize(
    ("boundary", "when", "publications_before_restart", "containers"),
    [
        pytest.param("http:after_reply", in_state("creating"), 0, 2, id="r13-container-made-not-committed"),
        pytest.param("commit:after", in_state("container"), 0, 1, id="r13-container-committed"),
        pytest.param("commit:after", in_state("sending"), 0, 1, id="r16-intent-committed-nothing-sent"),
        pytest.param("http:after_reply", in_state("sending"), 1, 1, id="r22-reply-not-committed"),
        pytest.param("commit:after", NOTED, 1, 1, id="r15-reply-noted-post-not-bound"),
    ],
)
async def test_a_kill_at_a_named_point_neither_doubles_nor_loses_the_post(
    world: World, children: Order, boundary: str, when: str, publications_before_restart: int, containers: int
) -> None:
    post = world.post()
    ended = children(world, boundary=boundary, when=when)
    assert ended["signal"] == signal.SIGKILL
    assert len(world.published()) == publications_before_restart
    await world.settle(post.id)
    assert_out_once(world, post.id)
    assert len(world.calls("container_created")) == containers
    assert len(world.calls("publish_called")) == 1


async def test_r15_a_noted_answer_needs_no_further_call(world: World, children: Order) -> None:
    post = world.post(alt_text="")
    world.behave(listing_delay=[3600, 3600])
    assert children(world, boundary="commit:after", when=NOTED)["signal"] == signal.SIGKILL
    assert (await world.settle(post.id, rounds=2)).media_id == world.published()[0]["media_id"]


async def test_publishing_10_a_kill_between_two_items_of_a_carousel_makes_no_item_twice(
    world: World, children: Order
) -> None:
    post = world.carousel(4)
    two = "SELECT EXISTS (SELECT FROM scheduling_posts WHERE child_creation_ids ->> 1 <> ''"
    ended = children(world, boundary="commit:after", when=f"{two} AND state = 'creating')")
    assert ended["signal"] == signal.SIGKILL
    kept = world.one("SELECT child_creation_ids FROM scheduling_posts")
    await world.settle(post.id)
    assert_out_once(world, post.id)
    assert [one["kind"] for one in world.calls("container_created")] == ["CHILD"] * 4 + ["CAROUSEL"]
    assert world.one("SELECT child_creation_ids FROM scheduling_posts")[:2] == kept[:2]
