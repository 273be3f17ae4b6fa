"""The migrations and the models say the same, triggers and all, and each migration goes down again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources

import psycopg
import pytest
from alembic import command

from persona_tui.database.engine import Database
from persona_tui.database.migrate import alembic_config
from persona_tui.models import metadata
from tests.support.database import throwaway_database

_FACTS = {
    "columns": "SELECT table_name || '.' || column_name,"
    " concat_ws(' ', data_type, is_nullable, column_default, is_identity)"
    " FROM information_schema.columns WHERE table_schema = current_schema()"
    " AND table_name NOT LIKE 'procrastinate%'",
    "constraints": "SELECT c.relname || '.' || o.conname, pg_get_constraintdef(o.oid) FROM pg_constraint o"
    " JOIN pg_class c ON c.oid = o.conrelid WHERE o.connamespace = current_schema()::regnamespace"
    " AND c.relname NOT LIKE 'procrastinate%' AND o.contype <> 't'",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()"
    " AND tablename NOT LIKE 'procrastinate%'",
    "triggers": "SELECT c.relname || '.' || t.tgname, pg_get_triggerdef(t.oid) FROM pg_trigger t"
    " JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal"
    " AND c.relnamespace = current_schema()::regnamespace AND c.relname NOT LIKE 'procrastinate%'",
    "functions": "SELECT p.proname, pg_get_functiondef(p.oid) FROM pg_proc p"
    " JOIN pg_language l ON l.oid = p.prolang"
    " WHERE p.pronamespace = current_schema()::regnamespace AND l.lanname IN ('sql', 'plpgsql')"
    " AND p.proname NOT LIKE 'procrastinate%'",
    "seeds": "SELECT from_state || ' ' || to_state, act FROM post_transitions",
}


def facts(database: Database) -> Mapping[str, Mapping[str, str]]:
    """What the schema holds, by kind and name, without the schema's own name."""
    with database.connect("owner") as connection:
        return {
            kind: {name: _without_schema(words, database.schema) for name, words in _rows(connection, query)}
            for kind, query in _FACTS.items()
        }


def _rows(connection: psycopg.Connection, query: str) -> list[tuple[str, str]]:
    rows = connection.execute(query).fetchall()
    return [(name, words) for name, words in rows if not name.startswith("alembic_version")]


def _without_schema(words: str, schema: str) -> str:
    return re.sub(rf"\b{re.escape(schema)}\.", "", words or "")


def make_from_models(database: Database) -> None:
    """The schema as models and SQL files say it."""
    files = resources.files("persona_tui.models")
    engine = database.owner_engine()
    with engine.begin() as connection:
        cursor = connection.connection.cursor()
        cursor.execute("SET LOCAL check_function_bodies = off")
        cursor.execute(files.joinpath("functions.sql").read_text())
        metadata.create_all(connection)
        cursor.execute(files.joinpath("triggers.sql").read_text())
        cursor.execute(files.joinpath("seeds.sql").read_text())


@pytest.fixture(scope="module")
def by_models() -> Mapping[str, Mapping[str, str]]:
    with throwaway_database(migrated=False) as database:
        make_from_models(database)
        return facts(database)


@pytest.mark.parametrize("kind", sorted(_FACTS))
def test_migrations_and_models_agree(
    database: Database, by_models: Mapping[str, Mapping[str, str]], kind: str
) -> None:
    by_migrations = facts(database)
    assert by_migrations[kind] == by_models[kind]
    assert by_models[kind]


def test_every_migration_goes_down_and_up_again() -> None:
    with throwaway_database() as database:
        before = facts(database)
        engine = database.owner_engine()
        with engine.connect() as connection:
            config = alembic_config(connection, database.schema)
            command.downgrade(config, "base")
            connection.commit()
        with database.connect("owner") as raw:
            left = raw.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
                " AND relkind IN ('r', 'S', 'v') AND relname <> 'alembic_version'"
            ).fetchall()
        assert left == []
        with engine.connect() as connection:
            command.upgrade(alembic_config(connection, database.schema), "head")
            connection.commit()
        assert facts(database) == before


@pytest.mark.long
def test_alembic_check_is_clean() -> None:
    with throwaway_database() as database, database.owner_engine().connect() as connection:
        command.check(alembic_config(connection, database.schema))
