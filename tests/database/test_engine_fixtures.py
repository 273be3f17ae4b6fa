"""The tests' own database: each test finds it empty, whatever the one before committed."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.engine import Database, open_database
from persona_tui.settings import Settings
from tests.support.database import Sweeper

TABLES = ("personas", "content_pillars", "audit_events", "votes", "procrastinate_jobs")


def fill(database: Database) -> int:
    """Commit rows in tables that refuse deletion and truncation, and change the seeds; return an id."""
    with database.session_scope() as session:
        persona = session.execute(
            text("INSERT INTO personas (name, age, zone) VALUES ('lena', 27, 'UTC') RETURNING id")
        ).scalar_one()
        session.execute(
            text("INSERT INTO content_pillars (persona_id, name, weight) VALUES (:id, 'beach', 40)"),
            {"id": persona},
        )
        session.execute(
            text(
                "INSERT INTO audit_events (actor, action, previous_hash, hash)"
                " VALUES ('me', 'tested', repeat('0', 64), repeat('1', 64))"
            )
        )
        session.execute(text("INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('q', 't')"))
        session.execute(text("UPDATE audit_heads SET hash = repeat('1', 64)"))
        session.execute(text("UPDATE installation SET leader_epoch = 7, clock_offset = '1 day'"))
        session.execute(text("DELETE FROM post_transitions WHERE from_state = 'draft'"))
    return int(persona)


def picture(database: Database) -> list[object]:
    with database.session_scope() as session:
        found: list[object] = [
            session.execute(text(f"SELECT count(*) FROM {table}")).scalar() for table in TABLES
        ]
        for seeds in ("audit_heads", "installation", "post_transitions"):
            rows = f"SELECT jsonb_agg(to_jsonb(t) ORDER BY to_jsonb(t)::text) FROM {seeds} t"
            found.append(session.execute(text(rows)).scalar())
    return found


def test_a_sweep_brings_everything_back_and_lets_ids_start_again(database: Database) -> None:
    sweeper = Sweeper(database)
    try:
        before = picture(database)
        assert before[: len(TABLES)] == [0] * len(TABLES)
        first = fill(database)
        assert picture(database) != before
        sweeper.sweep()
        assert picture(database) == before
        assert fill(database) == first
        sweeper.sweep()
    finally:
        sweeper.close()


def test_guards_stand_again_after_a_sweep(db: Database, database: Database) -> None:
    sweeper = Sweeper(database)
    fill(database)
    sweeper.sweep()
    sweeper.close()
    fill(database)
    with database.connect("owner") as owner, pytest.raises(Exception, match="append-only"):
        owner.execute("DELETE FROM audit_events")


@pytest.mark.parametrize("time", [1, 2])
def test_what_a_test_commits_the_next_one_does_not_see(session: Session, time: int) -> None:
    assert session.execute(text("SELECT count(*) FROM personas")).scalar() == 0
    session.execute(text("INSERT INTO personas (name, age, zone) VALUES ('lena', 27, 'UTC')"))
    session.commit()


def test_the_database_is_a_sandboxs(session: Session) -> None:
    assert session.execute(text("SELECT environment FROM installation")).scalar() == "sandbox"


def test_settings_of_a_test_open_a_database_of_its_own(settings: Settings, tmp_path: Path) -> None:
    own = open_database(settings)
    assert own.settings.environment == "sandbox"
    with own.session_scope() as session:
        personas = session.execute(text("SELECT to_regclass(:name)"), {"name": f"{own.schema}.personas"})
        assert personas.scalar() is None
    own.dispose()
