"""One day, killed five times on its way: nothing is lost and nothing doubled (R22)."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.faults.app_child import Moment, play_in_child
from tests.support.day import DayWorld, day_world
from tests.support.sandbox import SandboxProcess

from persona_tui.database.engine import open_database

MOMENTS = {
    "the prompt_id's commit": Moment(
        "http:before_send", "SELECT EXISTS (SELECT FROM comfyui_jobs WHERE state = 'submitting')"
    ),
    "/view, before the candidate's commit": Moment(
        "commit:before",
        "SELECT EXISTS (SELECT FROM comfyui_jobs WHERE state = 'storing')"
        " AND (SELECT count(*) FROM image_candidates) = 2",
    ),
    "the winner's commit": Moment(
        "commit:after", "SELECT EXISTS (SELECT FROM image_candidates WHERE winner)"
    ),
    "the container": Moment(
        "commit:after", "SELECT EXISTS (SELECT FROM scheduling_posts WHERE state = 'container')"
    ),
    "media_publish's reply, before its commit": Moment(
        "http:after_reply", "SELECT EXISTS (SELECT FROM scheduling_posts WHERE state = 'sending')"
    ),
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DayWorld]:
    sandbox = SandboxProcess(tmp_path / "sandbox")
    try:
        with day_world(sandbox) as made:
            yield made
    finally:
        sandbox.stop()


@pytest.mark.long
def test_r22_a_day_killed_five_times_loses_and_doubles_nothing(world: DayWorld) -> None:
    database = open_database(world.settings)
    try:
        conninfo = database.conninfo()
        for name, moment in MOMENTS.items():
            assert play_in_child(world.settings, conninfo, moment) == -signal.SIGKILL, name
        assert play_in_child(world.settings, conninfo, None) == 0
        with database.session_scope() as session:
            states = session.execute(text("SELECT state, media_id FROM scheduling_posts")).all()
            places = session.execute(
                text(
                    "SELECT s.id, count(c.id) FROM generation_slots s"
                    " LEFT JOIN image_candidates c ON c.slot_id = s.id GROUP BY s.id"
                )
            ).all()
            winners = session.execute(
                text(
                    "SELECT count(*) FILTER (WHERE winner), (SELECT count(*) FROM cluster_candidates),"
                    " (SELECT count(*) FROM pipeline_runs) FROM image_candidates"
                )
            ).one()
            stored = set(session.execute(text("SELECT sha256 FROM image_candidates")).scalars())
    finally:
        database.dispose()
    published = world.published()
    assert [row.state for row in states] == ["published"]
    assert [entry["media_id"] for entry in published] == [states[0].media_id]
    assert len(places) == 6 and all(pictures == 1 for _, pictures in places)
    assert tuple(winners) == (1, 1, 1)
    assert stored <= {entry["sha256"] for entry in world.saved()}
