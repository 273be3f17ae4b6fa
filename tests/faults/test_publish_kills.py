"""kill -9 of a publishing process at named points: afterwards each post is out once, under its own id.

Every boundary, found by counting, is killed at in `test_publishing_faults.py` and `benchmarks/faults.py`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.faults_parts.stage import Stage
from tests.support.publishing import World

from persona_tui.database.engine import Database


@pytest.fixture
def stage(db: Database, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(db, tmp_path)
    yield made
    made.close()


@pytest.fixture
def world(stage: Stage) -> World:
    (made,) = stage.begin(22)
    return made


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
    stage: Stage,
    world: World,
    boundary: str,
    when: str,
    publications_before_restart: int,
    containers: int,
) -> None:
    post = world.post()
    assert stage.order(world, boundary=boundary, when=when)["signal"] == signal.SIGKILL
    assert len(world.published()) == publications_before_restart
    await world.settle(post.id)
    assert_out_once(world, post.id)
    assert len(world.calls("container_created")) == containers
    assert len(world.calls("publish_called")) == 1


async def test_r15_a_noted_answer_needs_no_further_call(stage: Stage, world: World) -> None:
    post = world.post(alt_text="")
    world.behave(listing_delay=[3600, 3600])
    assert stage.order(world, boundary="commit:after", when=NOTED)["signal"] == signal.SIGKILL
    assert (await world.settle(post.id, rounds=2)).media_id == world.published()[0]["media_id"]
