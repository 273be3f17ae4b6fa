"""R4: one leads, on a connection of its own, and a lost connection is noticed."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import text

from persona_tui.database.engine import Database, leader_lock_key
from persona_tui.services.leadership import Leadership, ProcessKind, list_processes


@pytest.fixture
def make(db: Database) -> Iterator[object]:
    made: list[Leadership] = []

    def one(kind: ProcessKind = "app", name: str = "a") -> Leadership:
        leadership = Leadership(db.conninfo(), leader_lock_key(db.schema), kind)
        leadership.process = type(leadership.process)("host", "boot", len(made) + 1, 1)
        made.append(leadership)
        return leadership

    yield one
    for leadership in made:
        leadership.resign()


def test_r04_the_second_stands_by_and_takes_over(db: Database, make: object) -> None:
    assert callable(make)
    first, second = make(), make()
    assert first.beat() and not second.beat()
    epoch = first.epoch
    with db.session_scope() as session:
        assert [beat.leader for beat in list_processes(session)] == [True, False]
    first.resign()
    assert second.beat() and second.epoch == epoch + 1


def test_r04_a_killed_backend_loses_leadership(db: Database, make: object) -> None:
    assert callable(make)
    first, second = make(), make()
    assert first.beat()
    assert first.still_leads()
    with db.connect(autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(backend_pid, 5000) FROM heartbeats WHERE leader")
    assert not first.still_leads()
    assert second.beat()
    assert not first.beat()


def test_r04_a_silent_leader_is_ended_by_a_standby(db: Database, make: object) -> None:
    assert callable(make)
    first, second = make(), make()
    assert first.beat()
    with db.session_scope() as session:
        session.execute(text("UPDATE heartbeats SET beat_at = clock_timestamp() - interval '21 seconds'"))
    assert second.beat()
    assert not first.still_leads()


def test_r04_a_worker_never_leads(make: object) -> None:
    assert callable(make)
    assert not make("worker").beat()


def test_r04_a_lost_database_is_an_error_and_ends_leading(make: object, db: Database) -> None:
    assert callable(make)
    first = make()
    assert first.beat()
    first._conninfo = "host=/nowhere dbname=none"
    assert first._connection is not None
    first._connection.close()
    with pytest.raises(psycopg.Error):
        first.beat()
    assert not first.leads
