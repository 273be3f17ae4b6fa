"""How fast pictures come, and what that says of those to come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from persona_tui.database.engine import Database
from persona_tui.services.generation import pace
from tests.database.growing import add_run, finish, take

_EVERY_TEN_SECONDS = """
UPDATE image_candidates SET created_at = persona_now() - make_interval(secs => 10 * (3.5 - id)),
  provenance = jsonb_build_object('seconds', 3 + id)
"""
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


def ago(*seconds: float) -> list[datetime]:
    return [NOON - timedelta(seconds=one) for one in seconds]


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        ([], None),
        (ago(5), None),
        (ago(5, 15, 25, 35), 6.0),
        (ago(35, 5, 25, 15), 6.0),
        (ago(30, 40, 50), 2.4),  # thirty seconds without one: the pause counts
        (ago(0, 0), None),
        (ago(5, 15, 25, 625, 635, 645), 6.0),  # ten minutes in which nothing worked do not count
    ],
)
def test_the_rate_falls_while_nothing_comes(moments: list[datetime], expected: float | None) -> None:
    found = pace.rate(moments, NOON)
    assert found == (None if expected is None else pytest.approx(expected))


def test_the_time_left_comes_from_the_rate_or_from_what_one_picture_took() -> None:
    assert pace.Pace(6, 3.0, 5.0).seconds_left() == 120
    assert pace.Pace(6, None, 5.0).seconds_left() == 30
    assert pace.Pace(6, None, 5.0).seconds_left(servers=3) == 10
    assert pace.Pace(6, None, None).seconds_left() is None
    assert pace.Pace(0, None, None).seconds_left() == 0


def test_a_runs_pace_is_that_of_the_step_at_which_it_stands(db: Database) -> None:
    with db.session_scope() as session:
        run = add_run(session, steps={1: {"children_per_parent": 5}})
        for job in take(session, 3):
            finish(session, job)
        session.execute(text(_EVERY_TEN_SECONDS))
        found = pace.paces(session, [run.current.id])
        empty = pace.paces(session, [run.steps[1].id])
    mine = found[run.id]
    assert mine.remaining == 2
    assert mine.per_minute == pytest.approx(6.0, abs=0.5)
    assert mine.seconds_each == 5
    assert empty[run.id] == pace.Pace(0, None, None)
