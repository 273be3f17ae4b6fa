"""The schema's version: upgrades that happen whole or not at all, and never beside somebody else."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psycopg
import pytest
from alembic import command
from sqlalchemy import text
from sqlmodel import select

import persona_tui
from persona_tui.database import migrate
from persona_tui.database.engine import Database, leader_lock_key, open_database
from persona_tui.database.migrate import (
    alembic_config,
    current_revision,
    head_revision,
    refuse_if_live_heartbeats,
    schema_state,
    upgrade,
)
from persona_tui.database.restore import read_about
from persona_tui.errors import DatabaseError, NotAllowedNow, SchemaMismatch
from persona_tui.models.library import Cluster
from persona_tui.services.library.clusters import spoken_name
from tests.support.database import reachable_folder, throwaway_database
from tests.support.space import make_photo
from tests.support.world import insert, make_persona

REPOSITORY = Path(persona_tui.__file__).parents[2]


@pytest.fixture(scope="module")
def scratch() -> Iterator[Database]:
    """A migrated database of this module's own."""
    with throwaway_database() as database:
        yield database


@pytest.fixture
def current(scratch: Database) -> Iterator[Database]:
    """That database, at the newest revision, with no heartbeats."""
    yield scratch
    as_owner(scratch, "DELETE FROM heartbeats", "UPDATE installation SET clock_offset = '0'")


@pytest.fixture
def empty(scratch: Database) -> Iterator[Database]:
    """An empty schema of that database."""
    name = f"test_{secrets.token_hex(6)}"
    database = open_database(scratch.settings.model_copy(update={"database_schema": name}))
    yield database
    database.dispose()
    as_owner(scratch, f"DROP SCHEMA {name} CASCADE")


def run_alembic(database: Database, act: str, revision: str) -> None:
    with database.owner_engine().connect() as connection:
        getattr(command, act)(alembic_config(connection, database.schema), revision)


def as_owner(database: Database, *statements: str) -> None:
    with database.connect("owner") as connection:
        for statement in statements:
            connection.execute(statement.encode())
        connection.commit()


def beat(database: Database, version: str, age: str = "1 second") -> None:
    as_owner(
        database,
        "INSERT INTO heartbeats (process_id, kind, host, boot_id, pid, version, beat_at) VALUES"
        f" ('one', 'scheduler', 'attic', 'boot', 77, '{version}', persona_now() - interval '{age}')",
    )


class TestStates:
    def test_empty_older_current_and_newer_are_told_apart(self, empty: Database) -> None:
        assert (schema_state(empty), current_revision(empty)) == ("empty", None)
        run_alembic(empty, "upgrade", "0001")
        assert schema_state(empty) == "older"
        report = upgrade(empty, backup_dir=None, keep=1)
        assert (report.before, report.after, report.backup) == ("0001", head_revision(), None)
        assert schema_state(empty) == "current"
        as_owner(empty, "UPDATE alembic_version SET version_num = 'from_the_future'")
        try:
            assert schema_state(empty) == "newer"
            with pytest.raises(SchemaMismatch, match="newer persona-tui"):
                upgrade(empty, backup_dir=None, keep=1)
        finally:
            as_owner(empty, f"UPDATE alembic_version SET version_num = '{head_revision()}'")

    def test_a_current_database_is_left_alone_even_while_another_leads(self, current: Database) -> None:
        with psycopg.connect(current.conninfo(), autocommit=True) as leader:
            leader.execute("SELECT pg_advisory_lock(%s)", (leader_lock_key(current.schema),))
            report = upgrade(current, backup_dir=None, keep=1)
        assert report.before == report.after == head_revision()

    def test_the_folder_of_an_installed_package_wins(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        assert migrate.migrations_folder() == REPOSITORY / "alembic"
        (tmp_path / "_alembic").mkdir()
        monkeypatch.setattr(persona_tui, "__file__", str(tmp_path / "__init__.py"))
        assert migrate.migrations_folder() == tmp_path / "_alembic"


class TestUpgrade:
    def test_r05_an_upgrade_waits_for_the_leader_and_gives_up(self, empty: Database) -> None:
        with psycopg.connect(empty.conninfo(), autocommit=True) as leader:
            leader.execute("SELECT pg_advisory_lock(%s)", (leader_lock_key(empty.schema),))
            with pytest.raises(NotAllowedNow, match="Another persona-tui process works on this database"):
                upgrade(empty, backup_dir=None, keep=1, lock_timeout=0.2)
            assert schema_state(empty) == "empty"
        upgrade(empty, backup_dir=None, keep=1)
        assert schema_state(empty) == "current"

    @pytest.mark.long
    def test_r05_several_processes_that_upgrade_at_once_do_it_once(self, empty: Database) -> None:
        reports: list[migrate.UpgradeReport] = []
        threads = [
            threading.Thread(target=lambda: reports.append(upgrade(empty, backup_dir=None, keep=1)))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(report.before is None for report in reports) == [False, False, True]
        assert schema_state(empty) == "current"

    def test_r05_the_lock_is_free_after_an_upgrade(self, current: Database) -> None:
        with psycopg.connect(current.conninfo(), autocommit=True) as next_leader:
            got = next_leader.execute(
                "SELECT pg_try_advisory_lock(%s)", (leader_lock_key(current.schema),)
            ).fetchone()
        assert got == (True,)

    def test_r05_a_live_process_of_another_version_forbids_the_upgrade(self, empty: Database) -> None:
        run_alembic(empty, "upgrade", "0001")
        beat(empty, "0.0.9")
        with pytest.raises(
            NotAllowedNow, match=r"A scheduler of persona-tui 0\.0\.9 is running .*77 on attic"
        ):
            upgrade(empty, backup_dir=None, keep=1)
        assert schema_state(empty) == "older"
        as_owner(empty, "UPDATE heartbeats SET beat_at = persona_now() - interval '21 seconds'")
        upgrade(empty, backup_dir=None, keep=1)
        assert schema_state(empty) == "current"

    def test_r05_heartbeats_are_compared_with_the_databases_own_clock(self, current: Database) -> None:
        beat(current, "0.0.9")
        with current.owner_engine().begin() as owner:
            with pytest.raises(NotAllowedNow):
                refuse_if_live_heartbeats(owner)
            refuse_if_live_heartbeats(owner, version="0.0.9")
            refuse_if_live_heartbeats(owner, process_id="one")
            owner.execute(text("UPDATE installation SET environment = 'sandbox', clock_offset = '1 hour'"))
            refuse_if_live_heartbeats(owner)

    @pytest.mark.long
    def test_r05_this_versions_own_processes_are_no_hindrance(self, empty: Database) -> None:
        run_alembic(empty, "upgrade", "0001")
        beat(empty, persona_tui.__version__)
        upgrade(empty, backup_dir=None, keep=1)
        assert schema_state(empty) == "current"

    def test_a_backup_is_made_before_and_only_the_newest_are_kept(
        self, empty: Database, tmp_path: Path
    ) -> None:
        folder = tmp_path / "backups"
        upgrade(empty, backup_dir=folder, keep=2)
        for day in (1, 2, 3):
            run_alembic(empty, "downgrade", "0001")
            report = upgrade(
                empty, backup_dir=folder, keep=2, clock=partial(datetime, 2026, 1, day, tzinfo=UTC)
            )
            assert report.backup is not None
            assert read_about(report.backup).revision == "0001"
        assert sorted(path.name for path in folder.iterdir()) == [
            "before-upgrade-20260102T000000Z-0001.zip",
            "before-upgrade-20260103T000000Z-0001.zip",
        ]

    def test_an_empty_database_needs_no_backup(self, empty: Database, tmp_path: Path) -> None:
        assert upgrade(empty, backup_dir=tmp_path / "backups", keep=1).backup is None
        assert not (tmp_path / "backups").exists()

    def test_a_migration_that_fails_changes_nothing(self, empty: Database) -> None:
        run_alembic(empty, "upgrade", "0001")
        as_owner(empty, "CREATE TABLE procrastinate_workers (mine int)")
        try:
            with pytest.raises(DatabaseError, match="changed nothing") as failure:
                upgrade(empty, backup_dir=None, keep=1)
            assert "procrastinate_workers" in failure.value.hint
            assert schema_state(empty) == "older"
            with empty.connect("owner") as connection:
                jobs = f"{empty.schema}.procrastinate_jobs"
                found = connection.execute("SELECT to_regclass(%s)", (jobs,)).fetchone()
            assert found == (None,)
        finally:
            as_owner(empty, "DROP TABLE procrastinate_workers")

    @pytest.mark.long
    def test_a_migration_that_meets_a_lock_gives_up(self, empty: Database) -> None:
        run_alembic(empty, "upgrade", "0001")
        with psycopg.connect(empty.conninfo("owner")) as other:
            other.execute("LOCK TABLE alembic_version IN SHARE MODE")
            with pytest.raises(DatabaseError, match="changed nothing") as failure:
                upgrade(empty, backup_dir=None, keep=1, lock_timeout=0.3)
        assert "lock timeout" in failure.value.hint


class TestGrants:
    @pytest.fixture
    def embedded(self, current: Database) -> Database:
        if not current.is_embedded:
            pytest.skip("an external database has one role")
        return current

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE audit_events SET action = 'other'",
            "DELETE FROM audit_events",
            "TRUNCATE audit_events",
            "UPDATE alembic_version SET version_num = 'x'",
            "CREATE TABLE mine (id int)",
            "DROP TABLE personas",
            "ALTER TABLE audit_events DISABLE TRIGGER ALL",
            "TRUNCATE personas CASCADE",
        ],
    )
    def test_r31_the_apps_role_may_not(self, embedded: Database, statement: str) -> None:
        with psycopg.connect(embedded.conninfo()) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())

    def test_the_apps_role_works_with_rows_sequences_and_functions(self, embedded: Database) -> None:
        with psycopg.connect(embedded.conninfo()) as connection:
            connection.execute("INSERT INTO personas (name, age, zone) VALUES ('lena', 27, 'UTC')")
            connection.execute("UPDATE personas SET age = 28")
            connection.execute("DELETE FROM personas")
            connection.execute("SELECT persona_now()")
            connection.execute(
                "INSERT INTO audit_events (actor, action, previous_hash, hash)"
                " VALUES ('me', 'tested', repeat('0', 64), repeat('1', 64))"
            )
            connection.execute("INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('q', 't')")
            connection.rollback()

    def test_tables_that_come_later_are_usable_too(self, embedded: Database) -> None:
        as_owner(embedded, "CREATE TABLE later (id bigint GENERATED BY DEFAULT AS IDENTITY, name text)")
        try:
            with embedded.session_scope() as session:
                session.execute(text("INSERT INTO later (name) VALUES ('a')"))
        finally:
            as_owner(embedded, "DROP TABLE later")


class TestCommandLine:
    @pytest.mark.long
    def test_alembic_check_reads_the_programs_own_settings(self, current: Database) -> None:
        environment = {
            **os.environ,
            "PERSONA_DATA_DIR": str(current.settings.data_dir),
            "PERSONA_DATABASE_SCHEMA": current.schema,
        }
        check = subprocess.run(
            [sys.executable, "-m", "alembic", "check"],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "No new upgrade operations detected" in check.stdout, check.stdout + check.stderr
        assert check.returncode == 0
        assert current.is_alive(), "the command stopped a server that is in use"

    @pytest.mark.long
    def test_a_migration_written_by_alembic_needs_neither_models_nor_sqlmodel(self, tmp_path: Path) -> None:
        folder = tmp_path / "alembic"
        (folder / "versions").mkdir(parents=True)
        for name in ("env.py", "script.py.mako"):
            shutil.copy(REPOSITORY / "alembic" / name, folder)
        with throwaway_database(migrated=False) as bare, bare.owner_engine().connect() as connection:
            config = alembic_config(connection, bare.schema)
            config.set_main_option("script_location", str(folder))
            command.revision(config, message="all tables", autogenerate=True, rev_id="a")
        (written,) = (folder / "versions").glob("*.py")
        source = written.read_text()
        compile(source, written.name, "exec")
        assert "import pgvector.sqlalchemy" in source
        assert "pgvector.sqlalchemy.VECTOR(dim=512)" in source
        assert "op.create_table('personas'" in source
        assert "sqlmodel" not in source.lower()
        assert "procrastinate" not in source

    @pytest.mark.long
    def test_offline_mode_is_refused(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head", "--sql"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "Migrations need a connection" in done.stderr


@pytest.mark.long
def test_schemas_are_upgraded_apart(current: Database, empty: Database) -> None:
    upgrade(empty, backup_dir=None, keep=1)
    with empty.session_scope() as session:
        assert session.execute(text("SELECT current_schema()")).scalar() == empty.schema
        session.execute(text("INSERT INTO personas (name, age, zone) VALUES ('lena', 27, 'UTC')"))
    with current.session_scope() as session:
        assert session.execute(text("SELECT count(*) FROM personas")).scalar() == 0


@pytest.mark.long
def test_migrations_go_down_and_up_again(empty: Database) -> None:
    upgrade(empty, backup_dir=None, keep=1)
    run_alembic(empty, "downgrade", "base")
    with empty.connect("owner") as connection:
        left = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s", (empty.schema,)
        ).fetchall()
    assert left == [("alembic_version",)]
    assert schema_state(empty) == "empty"
    upgrade(empty, backup_dir=None, keep=1)
    assert schema_state(empty) == "current"


def test_a_posterior_in_the_longer_form_is_forgotten(empty: Database) -> None:
    upgrade(empty, backup_dir=None, keep=1)
    run_alembic(empty, "downgrade", "0007")
    as_owner(empty, "INSERT INTO contests (kind, posterior) VALUES ('comparison', '\\x00')")
    upgrade(empty, backup_dir=None, keep=1)
    with empty.session_scope() as session:
        assert session.execute(text("SELECT posterior FROM contests")).all() == [(None,)]


def test_counted_names_of_earlier_builds_are_not_for_the_public(empty: Database) -> None:
    upgrade(empty, backup_dir=None, keep=1)
    with empty.session_scope() as session:
        persona = make_persona(session).id
        for name, origin in (("Group 6", "built"), ("Route 66", "built"), ("Group 7", "operator")):
            insert(session, "clusters", persona_id=persona, name=name, origin=origin)
        insert(
            session,
            "analysis_outcomes",
            photo_id=make_photo(session, persona, "a").photo_id,
            kind="safety",
            state="unknown",
            version="none",
        )
    run_alembic(empty, "downgrade", "0012")
    upgrade(empty, backup_dir=None, keep=1)
    with empty.session_scope() as session:
        said = {one.name: spoken_name(one) for one in session.exec(select(Cluster))}
        assert said == {"Group 6": None, "Route 66": "Route 66", "Group 7": "Group 7"}
        assert session.execute(text("SELECT count(*) FROM analysis_outcomes")).scalar_one() == 0


def test_folders_with_percent_signs_can_hold_migrations(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "100%s").mkdir()
    (tmp_path / "100%s" / "_alembic").symlink_to(REPOSITORY / "alembic")
    known = head_revision()
    monkeypatch.setattr(persona_tui, "__file__", str(tmp_path / "100%s" / "__init__.py"))
    assert head_revision() == known


def test_nothing_of_a_test_run_reaches_the_operators_folders() -> None:
    from persona_tui.settings import config_home, data_home

    for folder in (config_home(), data_home()):
        assert not folder.is_relative_to(Path.home() / ".config")
        assert not folder.is_relative_to("/var/lib")
    with reachable_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o711
