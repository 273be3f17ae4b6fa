"""Sessions, connections, and every failure of a connection in words without a secret."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from persona_tui import boundaries
from persona_tui.database.engine import Database, check_connection, leader_lock_key, open_database
from persona_tui.database.explain import explain_connection_error, explain_integrity_error
from persona_tui.database.url import external_conninfo, masked, with_schema
from persona_tui.errors import (
    DatabaseError,
    DatabaseUnavailable,
    DuplicateName,
    PersonaError,
    SettingsError,
)
from persona_tui.settings import Settings
from tests.support.database import reachable_folder, throwaway_database

SECRET = "canary-pass"


@pytest.fixture(scope="module")
def own() -> Iterator[Database]:
    """A server of this module's own with no tables but the test's."""
    with throwaway_database(migrated=False) as database:
        with database.owner_engine().begin() as owner:
            owner.execute(text("CREATE TABLE things (name text CONSTRAINT uq_things_name UNIQUE)"))
            if database.is_embedded:
                owner.execute(text("GRANT ALL ON things TO persona_app"))
        yield database


@pytest.fixture
def things(own: Database) -> Iterator[Database]:
    """That database with no things in it."""
    yield own
    with own.session_scope() as session:
        session.execute(text("DELETE FROM things"))


def count(database: Database) -> int:
    with database.session_scope() as session:
        return int(session.execute(text("SELECT count(*) FROM things")).scalar_one())


class TestSessions:
    def test_a_good_end_commits_and_an_error_rolls_back(self, things: Database) -> None:
        with things.session_scope() as session:
            session.execute(text("INSERT INTO things VALUES ('kept')"))
        with pytest.raises(ZeroDivisionError), things.session_scope() as session:
            session.execute(text("INSERT INTO things VALUES ('lost')"))
            raise ZeroDivisionError
        assert count(things) == 1

    def test_each_commit_is_two_boundaries(self, things: Database) -> None:
        seen: list[tuple[str, int]] = []

        def observer(boundary: str) -> None:
            with psycopg.connect(things.conninfo()) as connection:
                row = connection.execute("SELECT count(*) FROM things").fetchone()
            assert row is not None
            seen.append((boundary, row[0]))

        boundaries.observe(observer)
        try:
            with things.session_scope() as session:
                session.execute(text("INSERT INTO things VALUES ('a')"))
        finally:
            boundaries.observe(None)
        assert seen == [("commit:before", 0), ("commit:after", 1)]

    def test_a_rollback_is_no_boundary(self, things: Database) -> None:
        seen: list[str] = []
        boundaries.observe(seen.append)
        try:
            with pytest.raises(ZeroDivisionError), things.session_scope():
                raise ZeroDivisionError
        finally:
            boundaries.observe(None)
        assert seen == []

    def test_every_connection_is_utc_read_committed_and_in_our_schema(self, things: Database) -> None:
        facts = (
            "SELECT current_setting('TimeZone'), current_setting('transaction_isolation'),"
            " current_setting('search_path')"
        )
        wanted = ("UTC", "read committed", f"{things.schema},public")
        with things.session_scope() as session:
            found = tuple(session.execute(text(facts)).one())
        assert (found[0], found[1], found[2].replace(" ", "")) == wanted
        with psycopg.connect(things.conninfo("owner")) as raw:
            row = raw.execute(facts).fetchone()
            assert row is not None
            assert (row[0], row[1], row[2].replace(" ", "")) == wanted

    def test_connections_of_another_isolation_are_refused(self, things: Database) -> None:
        with psycopg.connect(things.conninfo(), autocommit=True) as connection:
            check_connection(connection)
            connection.execute("SET default_transaction_isolation = 'serializable'")
            with pytest.raises(DatabaseError, match="READ COMMITTED"):
                check_connection(connection)

    def test_a_pooled_connection_that_was_cut_is_replaced(self, things: Database) -> None:
        with things.session_scope() as session:
            pid = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with psycopg.connect(things.conninfo(), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        assert count(things) == 0

    def test_a_connection_cut_inside_a_session_is_told_without_its_statement(self, things: Database) -> None:
        with pytest.raises(DatabaseUnavailable) as lost, things.session_scope() as session:
            session.execute(text("INSERT INTO things VALUES ('canary')"))
            pid = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with psycopg.connect(things.conninfo(), autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            session.execute(text("SELECT 1"))
        assert lost.value.message == "The connection to the database was lost."
        assert lost.value.__cause__ is None
        assert lost.value.__suppress_context__
        assert count(things) == 0

    def test_a_lock_in_the_way_is_told(self, things: Database) -> None:
        with psycopg.connect(things.conninfo("owner")) as other:
            other.execute("LOCK TABLE things")
            with (
                pytest.raises(DatabaseError, match="Another process holds"),
                things.session_scope() as session,
            ):
                session.execute(text("SET LOCAL lock_timeout = '50ms'"))
                session.execute(text("INSERT INTO things VALUES ('a')"))

    def test_a_statement_that_takes_too_long_is_told(self, things: Database) -> None:
        with pytest.raises(DatabaseError, match="took too long"), things.session_scope() as session:
            session.execute(text("SET LOCAL statement_timeout = '50ms'"))
            session.execute(text("SELECT pg_sleep(10)"))

    def test_mistakes_of_the_program_pass_through(self, things: Database) -> None:
        with pytest.raises(ProgrammingError), things.session_scope() as session:
            session.execute(text("SELECT no_such_column FROM things"))


class TestConstraints:
    def test_a_constraint_becomes_its_sentence(self, things: Database) -> None:
        with pytest.raises(IntegrityError) as broken, things.session_scope() as session:
            session.execute(text("INSERT INTO things VALUES ('twice'), ('twice')"))
        known = {"uq_things_name": lambda: DuplicateName("That thing exists.")}
        assert isinstance(explain_integrity_error(broken.value, known), DuplicateName)
        unknown = explain_integrity_error(broken.value, {})
        assert unknown.message == "That breaks the database's rule uq_things_name."
        assert "twice" not in unknown.message + unknown.hint

    def test_a_trigger_that_names_its_constraint_is_understood(self, things: Database) -> None:
        raised = "DO $$ BEGIN RAISE EXCEPTION 'no' USING CONSTRAINT = 'my_rule'; END $$"
        with pytest.raises(DBAPIError) as broken, things.session_scope() as session:
            session.execute(text(raised))
        known = {"my_rule": lambda: PersonaError("My rule.")}
        assert explain_integrity_error(broken.value, known).message == "My rule."


class TestRecovery:
    @pytest.mark.long
    def test_a_killed_embedded_server_is_waited_for_and_started(self) -> None:
        with throwaway_database(migrated=False) as database:
            if database.server is None or database.server.pid is None:
                pytest.skip("an external server is not ours to kill")
            assert database.is_alive()
            psycopg.connect(database.conninfo()).close()
            killed = database.server.pid
            os.kill(killed, signal.SIGKILL)
            while database.is_alive():  # its children live a moment longer
                time.sleep(0.01)
            database.wait_until_back(30)
            assert database.is_alive()
            assert database.server.pid != killed

    def test_waiting_ends_when_time_is_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with reachable_folder() as folder, closed_port() as port:
            monkeypatch.setenv("PERSONA_DATABASE_URL", f"postgresql://u:{SECRET}@127.0.0.1:{port}/persona")
            database = Database(Settings(data_dir=folder), None)
            assert not database.is_alive()
            with pytest.raises(DatabaseUnavailable, match="stayed away"):
                database.wait_until_back(0.3)

    def test_looking_starts_nothing(self, settings: Settings) -> None:
        if settings.database_url is not None:
            pytest.skip("an external server is not ours to start")
        with pytest.raises(DatabaseUnavailable, match="not running"):
            open_database(settings, start=False)
        assert not settings.data_dir.exists()
        started = open_database(settings)
        looking = open_database(settings, start=False)
        assert looking.is_alive()
        looking.dispose()
        assert started.is_alive()
        started.dispose()

    def test_schema_is_made_and_opened_by_several_at_once(self, own: Database) -> None:
        settings = own.settings.model_copy(update={"database_schema": f"test_{uuid.uuid4().hex[:8]}"})
        opened: list[Database] = []
        threads = [threading.Thread(target=lambda: opened.append(open_database(settings))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(opened) == 4
        with opened[0].session_scope() as session:
            assert session.execute(text("SELECT current_schema()")).scalar() == settings.database_schema
        with own.owner_engine().begin() as owner:
            owner.execute(text(f"DROP SCHEMA {settings.database_schema}"))
        for database in opened:
            database.dispose()


class closed_port:
    """A TCP port on which nobody listens."""

    def __enter__(self) -> int:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        return int(self._socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def external(monkeypatch: pytest.MonkeyPatch, url: str) -> Database:
    monkeypatch.setenv("PERSONA_DATABASE_URL", url)
    return open_database(Settings())


def assert_no_secret(error: PersonaError) -> None:
    assert SECRET not in f"{error} {error.message} {error.hint} {error!r}"
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__


class TestAddresses:
    def test_an_unknown_host_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(DatabaseUnavailable, match="host name can't be resolved") as refusal:
            external(monkeypatch, f"postgresql://u:{SECRET}@no-such-host.invalid/persona")
        assert_no_secret(refusal.value)
        assert "no-such-host" not in refusal.value.message

    def test_a_host_on_which_nobody_listens_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with (
            closed_port() as port,
            pytest.raises(DatabaseUnavailable, match="No database listens") as refusal,
        ):
            external(monkeypatch, f"postgresql://u:{SECRET}@127.0.0.1:{port}/persona")
        assert_no_secret(refusal.value)

    @pytest.mark.long
    def test_a_host_that_never_answers_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            with pytest.raises(DatabaseUnavailable, match="did not answer in time") as refusal:
                external(monkeypatch, f"postgresql://u:{SECRET}@127.0.0.1:{port}/p?connect_timeout=2")
        assert_no_secret(refusal.value)

    @pytest.mark.parametrize("host", [f"{SECRET}{'x' * 70}.example", "localhost:port", "localhost:99999"])
    def test_a_host_or_port_that_can_not_be_is_told(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        with pytest.raises(DatabaseUnavailable) as refusal:
            external(monkeypatch, f"postgresql://user:{SECRET}@{host}/persona")
        assert_no_secret(refusal.value)

    @pytest.mark.parametrize(
        "url",
        [
            f"postgresql://user:{SECRET}@[broken/persona",
            f"postgresql://user:p@{SECRET}@localhost/persona",
            f"postgresql://user:{SECRET}%zz@localhost/persona",
        ],
    )
    def test_an_unreadable_url_is_a_bad_setting(self, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        with pytest.raises(SettingsError) as refusal:
            external(monkeypatch, url)
        assert_no_secret(refusal.value)
        assert refusal.value.exit_code == 2

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            (
                f"postgresql://me:{SECRET}@db.example.org:6543/persona?sslmode=require",
                "postgresql://me:***@db.example.org:6543/persona",
            ),
            (f"postgresql://me@[::1]/persona?password={SECRET}", "postgresql://me:***@[::1]/persona"),
            ("postgresql:///persona?host=/run/postgresql", "postgresql:///persona?host=/run/postgresql"),
        ],
    )
    def test_a_shown_url_masks_its_password(self, url: str, shown: str) -> None:
        assert masked(external_conninfo(url)) == shown

    def test_the_urls_own_choices_win_and_ours_are_added(self) -> None:
        url = "postgresql://h/d?connect_timeout=9&options=-cwork_mem%3D8MB"
        found = conninfo_to_dict(with_schema(external_conninfo(url), "mine"))
        assert found["connect_timeout"] == "9"
        assert str(found["options"]).startswith("-cwork_mem=8MB -csearch_path=mine,public")

    @pytest.mark.long
    def test_the_embedded_address_is_shown_with_its_socket(self, settings: Settings) -> None:
        if settings.database_url is not None:
            pytest.skip("there is no embedded server")
        database = open_database(settings)
        assert database.masked_url() == (
            f"postgresql://persona_app@/persona?host={settings.data_dir}/postgres/run"
        )
        database.dispose()

    @pytest.mark.parametrize(
        ("said", "sentence"),
        [
            ('FATAL:  database "x" does not exist', "The database does not exist on that server."),
            ('FATAL:  role "x" does not exist', "The database does not let this user in."),
            ("FATAL:  sorry, too many clients already", "The database has no free connection."),
            ("server does not support SSL", "The encrypted connection to the database failed."),
            ("Ein Fehler in fremder Sprache", "The database can't be reached."),
        ],
    )
    def test_what_servers_say_becomes_a_sentence(self, said: str, sentence: str) -> None:
        assert explain_connection_error(Exception(said)).message == sentence


def test_r05_the_leader_lock_belongs_to_one_schema_and_fits_a_bigint() -> None:
    keys = {leader_lock_key(name) for name in ("public", "test_1", "test_2")}
    assert len(keys) == 3
    assert all(-(2**63) <= key < 2**63 for key in keys)
    assert leader_lock_key("public") == leader_lock_key("public")
