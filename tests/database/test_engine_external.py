"""A PostgreSQL elsewhere: over TCP, with a password, one role without rights outside its database."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from persona_tui.database import link
from persona_tui.database.backup import backup, postgres_client
from persona_tui.database.engine import Database, open_database
from persona_tui.database.migrate import schema_state, upgrade
from persona_tui.database.restore import restore
from persona_tui.errors import DatabaseError, DatabaseUnavailable, NotAllowedNow, PersonaError
from persona_tui.settings import Settings
from tests.support.foreign import ForeignServer, foreign_server

PASSWORD = "p@ss:w/rd\\%"
ENCODED = "p%40ss%3Aw%2Frd%5C%25"


def at(monkeypatch: pytest.MonkeyPatch, url: str, **values: Any) -> Settings:
    monkeypatch.setenv("PERSONA_DATABASE_URL", url)
    return Settings(environment="sandbox", **values)


def refused(settings: Settings) -> PersonaError:
    with pytest.raises(PersonaError) as refusal:
        open_database(settings).dispose()
    said = f"{refusal.value.message} {refusal.value.hint} {refusal.value!r}"
    assert PASSWORD not in said
    assert ENCODED not in said
    assert "127.0.0.1" not in said
    assert refusal.value.__cause__ is None
    return refusal.value


@pytest.mark.long
def test_wrong_password_unknown_user_and_database_each_have_their_sentence(
    foreign: ForeignServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with foreign.customer() as url:
        name = url.rsplit("/", 1)[1]
        wrong = refused(at(monkeypatch, url.replace(ENCODED, "wrong")))
        assert isinstance(wrong, DatabaseUnavailable)
        assert wrong.message == "The database refused the user name or password."
        assert refused(at(monkeypatch, foreign.url("stranger", "x"))).message == wrong.message
        absent = refused(at(monkeypatch, url.removesuffix(name) + "absent"))
        assert absent.message == "The database does not exist on that server."
        foreign.execute("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", "postgres")
        try:
            closed = refused(at(monkeypatch, url.removesuffix(name) + "postgres"))
        finally:
            foreign.execute("GRANT CONNECT ON DATABASE {} TO PUBLIC", "postgres")
        assert closed.message == "The database does not let this user in."


def test_a_full_server_is_told(foreign: ForeignServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with foreign.customer() as url:
        foreign.execute("ALTER ROLE {} CONNECTION LIMIT 0", url.rsplit("/", 1)[1])
        assert refused(at(monkeypatch, url)).message == "The database has no free connection."


def test_pgvector_that_may_not_be_made_is_told(
    foreign: ForeignServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with foreign.customer(vector=False) as url:
        refusal = refused(at(monkeypatch, url))
        assert refusal.message == "The database lacks the extension vector and its user may not make it."
        assert "CREATE EXTENSION vector" in refusal.hint
        foreign.execute("CREATE SCHEMA aside", database=url.rsplit("/", 1)[1])
        foreign.execute("CREATE EXTENSION vector SCHEMA aside", database=url.rsplit("/", 1)[1])
        assert "lies in a schema" in refused(at(monkeypatch, url)).message


def test_too_old_a_pgvector_is_told(foreign: ForeignServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with foreign.customer() as url:
        older = "UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'"
        foreign.execute(older, database=url.rsplit("/", 1)[1])
        assert (
            refused(at(monkeypatch, url)).message
            == "The database has pgvector 0.7.4; 0.8 or newer is needed."
        )


@pytest.mark.long
def test_a_server_without_pgvector_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with foreign_server(major=18, settings={"extension_control_path": "/nonexistent"}) as bare:
        with bare.customer(vector=False) as url:
            refusal = refused(at(monkeypatch, url))
        assert refusal.message == "The database server has no pgvector."


def test_too_old_a_server_is_told(foreign: ForeignServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "OLDEST_SERVER", 17)
    with foreign.customer() as url:
        refusal = refused(at(monkeypatch, url))
    assert refusal.message == "The database server is PostgreSQL 16; 17 or newer is needed."


def test_a_schema_that_may_not_be_made_is_told(
    foreign: ForeignServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with foreign.customer() as url:
        name = url.rsplit("/", 1)[1]
        foreign.execute("ALTER DATABASE {} OWNER TO postgres", name)
        refusal = refused(at(monkeypatch, url, database_schema="ours"))
        assert refusal.message == "The database's user may not make the schema ours."
        foreign.execute("ALTER DATABASE {0} OWNER TO {0}", name)


def test_roles_of_other_isolation_still_get_ours(
    foreign: ForeignServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with foreign.customer() as url:
        name = url.rsplit("/", 1)[1]
        foreign.execute("ALTER ROLE {} SET default_transaction_isolation = 'serializable'", name)
        foreign.execute("ALTER ROLE {} SET timezone = 'Asia/Tokyo'", name)
        database = open_database(at(monkeypatch, url))
        with database.session_scope() as session:
            facts = "SELECT current_setting('transaction_isolation'), current_setting('TimeZone')"
            assert tuple(session.execute(text(facts)).one()) == ("read committed", "UTC")
        database.dispose()


def test_the_whole_life_on_an_older_server_in_a_schema_of_our_own(
    foreign: ForeignServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with foreign.customer() as url:
        settings = at(monkeypatch, url, database_schema="ours", data_dir=tmp_path)
        database = open_database(settings)
        assert not database.is_embedded
        assert schema_state(database) == "empty"
        upgrade(database, backup_dir=None, keep=1)
        assert schema_state(database) == "current"
        with database.session_scope() as session:
            session.execute(text("INSERT INTO personas (name, age, zone) VALUES ('lena', 27, 'UTC')"))
        foreign.execute("CREATE TABLE public.stranger (id int)", database=url.rsplit("/", 1)[1])
        made = backup(database, settings, tmp_path)
        database.dispose()

        with pytest.raises(NotAllowedNow, match="holds tables already"):
            restore(settings, made.path)
        restore(settings, made.path, into_empty=False)
        with foreign.customer() as elsewhere:
            restore(at(monkeypatch, elsewhere, database_schema="ours", data_dir=tmp_path), made.path)
            for address in (url, elsewhere):
                database = open_database(at(monkeypatch, address, database_schema="ours"))
                assert schema_state(database) == "current"
                with database.session_scope() as session:
                    assert session.execute(text("SELECT name FROM personas")).scalars().all() == ["lena"]
                    session.execute(text("INSERT INTO personas (name, age, zone) VALUES ('m', 27, 'UTC')"))
                database.dispose()
        tables = foreign.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database=url.rsplit("/", 1)[1]
        )
        assert tables == [("stranger",)]


def test_r26_the_password_reaches_pg_dump_by_a_closed_file_alone(
    foreign: ForeignServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with foreign.customer() as url:
        database = Database(at(monkeypatch, url), None)
        with postgres_client(database, "pg_dump", ("--schema-only",)) as (command, environment):
            assert PASSWORD not in str(command)
            assert not {value for value in environment.values() if PASSWORD in value or ENCODED in value}
            secret = Path(environment["PGPASSFILE"])
            assert secret.stat().st_mode & 0o777 == 0o600
            done = subprocess.run(command, env=environment, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
        assert not secret.exists()
        database.dispose()


def test_a_dump_that_fails_is_told_without_the_address(
    foreign: ForeignServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with foreign.customer() as url:
        settings = at(monkeypatch, url, data_dir=tmp_path / "data")
        database = open_database(settings)
        foreign.execute("CREATE TABLE public.closed (id int)", database=url.rsplit("/", 1)[1])
        with pytest.raises(DatabaseError, match="can't be dumped") as failure:
            backup(database, settings, tmp_path / "backup.zip")
        assert "permission denied" in failure.value.hint
        assert "127.0.0.1" not in failure.value.hint
        assert not list(tmp_path.iterdir())
        database.dispose()


def test_a_lost_server_is_noticed_and_comes_back(
    foreign: ForeignServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with foreign.customer() as url:
        database = open_database(at(monkeypatch, url))
        name = url.rsplit("/", 1)[1]
        assert database.is_alive()
        foreign.execute("ALTER DATABASE {} ALLOW_CONNECTIONS false", name)
        foreign.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = {}".replace(
                "{}", f"'{name}'"
            )
        )
        assert not database.is_alive()
        foreign.execute("ALTER DATABASE {} ALLOW_CONNECTIONS true", name)
        database.wait_until_back(10)
        database.dispose()


def test_psycopg_itself_gets_the_same_connection(
    foreign: ForeignServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with foreign.customer() as url:
        database = open_database(at(monkeypatch, url, database_schema="ours"))
        with psycopg.connect(database.conninfo()) as raw:
            assert raw.execute("SELECT current_schema()").fetchone() == ("ours",)
        assert database.conninfo("app") == database.conninfo("owner")
        assert PASSWORD not in database.masked_url()
        database.dispose()
