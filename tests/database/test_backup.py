"""Backups: whole or absent, without keys, and held from publishing once restored."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from alembic import command
from sqlalchemy import text

import persona_tui
from persona_tui.database.backup import ABOUT, DUMP, MANIFEST, backup, media_files
from persona_tui.database.engine import Database
from persona_tui.database.migrate import alembic_config, head_revision, schema_state
from persona_tui.database.restore import read_about, restore
from persona_tui.errors import (
    DatabaseError,
    DuplicateName,
    InvalidRequest,
    NotAllowedNow,
    SchemaMismatch,
)
from persona_tui.settings import Settings, config_home
from tests.support.database import throwaway_database

MADE_AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def filled() -> Iterator[Database]:
    """A database with a persona, a job, a vector, an audit event, and two media files."""
    with throwaway_database() as database:
        with database.session_scope() as session:
            session.execute(text("INSERT INTO personas (name, age, zone) VALUES ('lena', 27, 'UTC')"))
            session.execute(
                text("INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('q', 'embed')")
            )
            session.execute(text("UPDATE installation SET incarnation_id = 'first'"))
            session.execute(
                text(
                    "INSERT INTO audit_events (actor, action, previous_hash, hash)"
                    " VALUES ('me', 'tested', repeat('0', 64), repeat('1', 64))"
                )
            )
        media = database.settings.media_dir
        (media / "ab").mkdir(parents=True)
        (media / "ab" / "one.jpg").write_bytes(b"one")
        (media / "two.jpg").write_bytes(b"two!")
        (media / "link.jpg").symlink_to(media / "two.jpg")
        yield database


@pytest.fixture(scope="module")
def made(filled: Database, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of it."""
    return backup(filled, filled.settings, tmp_path_factory.mktemp("backup") / "b.zip", now=MADE_AT).path


@pytest.fixture(scope="module")
def second(filled: Database) -> Iterator[Database]:
    """A second server with an empty database."""
    if not filled.is_embedded:
        pytest.skip("one external database has one schema of a name; test_engine_external restores there")
    with throwaway_database(migrated=False) as database:
        yield database


@pytest.fixture
def elsewhere(second: Database) -> Iterator[Database]:
    """That database, empty."""
    yield second
    with second.owner_engine().connect() as connection:
        command.downgrade(alembic_config(connection, second.schema), "base")
    with second.connect("owner") as owner:
        owner.execute("DROP TABLE IF EXISTS alembic_version")
        owner.execute("DROP FUNCTION IF EXISTS persona_now()")
        owner.commit()


def facts(database: Database) -> dict[str, object]:
    with database.session_scope() as session:
        tables = ("personas", "procrastinate_jobs", "audit_events", "post_transitions")
        counts = {name: session.execute(text(f"SELECT count(*) FROM {name}")).scalar() for name in tables}
        names = session.execute(text("SELECT name FROM personas")).scalars().all()
    return {**counts, "names": names}


def rewritten(source: Path, target: Path, **members: bytes) -> Path:
    """A copy of the backup with members replaced, by their name's first word."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, members.get(name.split(".")[0].split("-")[0], old.read(name)))
    return target


class TestBackup:
    def test_the_file_says_where_it_comes_from_and_lists_media(self, filled: Database, made: Path) -> None:
        with zipfile.ZipFile(made) as archive:
            assert set(archive.namelist()) == {ABOUT, DUMP, MANIFEST}
            assert archive.testzip() is None
            listed = json.loads(archive.read(MANIFEST))
        about = read_about(made)
        assert (about.version, about.revision) == (persona_tui.__version__, head_revision())
        assert (about.made_at, about.incarnation_id) == ("2026-05-04T03:02:01+00:00", "first")
        assert listed == [
            {"key": "ab/one.jpg", "size": 3, "sha256": hashlib.sha256(b"one").hexdigest()},
            {"key": "two.jpg", "size": 4, "sha256": hashlib.sha256(b"two!").hexdigest()},
        ]

    def test_the_report_counts_what_was_saved(self, filled: Database, tmp_path: Path) -> None:
        report = backup(filled, filled.settings, tmp_path, now=MADE_AT)
        assert report.path == tmp_path / "persona-tui-20260504T030201Z.zip"
        assert (report.media_files, report.media_size) == (2, 7)
        assert report.size == report.path.stat().st_size
        assert report.path.stat().st_mode & 0o777 == 0o600
        assert [path.name for path in tmp_path.iterdir()] == [report.path.name]

    def test_an_existing_file_is_never_overwritten(self, filled: Database, made: Path) -> None:
        before = made.read_bytes()
        with pytest.raises(DuplicateName):
            backup(filled, filled.settings, made)
        assert made.read_bytes() == before

    def test_keys_and_configuration_are_not_in_it(self, filled: Database, tmp_path: Path) -> None:
        config_home().mkdir(parents=True, exist_ok=True)
        canary = config_home() / "keys"
        canary.write_text("canary-key-material")
        try:
            report = backup(filled, filled.settings, tmp_path)
        finally:
            canary.unlink()
        with zipfile.ZipFile(report.path) as archive:
            for name in archive.namelist():
                assert b"canary-key-material" not in archive.read(name)

    def test_a_database_that_is_away_leaves_no_file(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PERSONA_DATABASE_URL", "postgresql://user@127.0.0.1:1/persona")
        away = Database(Settings(data_dir=tmp_path / "data"), None)
        with pytest.raises(DatabaseError):
            backup(away, away.settings, tmp_path / "b.zip")
        assert not list(tmp_path.iterdir())

    def test_an_empty_media_folder_has_no_files(self, tmp_path: Path) -> None:
        assert list(media_files(tmp_path / "none")) == []


class TestRestore:
    def test_everything_comes_back_and_the_app_may_work_with_it(
        self, filled: Database, made: Path, elsewhere: Database
    ) -> None:
        report = restore(elsewhere.settings, made)
        assert report.safety_backup is None
        assert facts(elsewhere) == facts(filled)
        assert schema_state(elsewhere) == "current"
        with elsewhere.session_scope() as session:
            session.execute(text("INSERT INTO personas (name, age, zone) VALUES ('mira', 27, 'UTC')"))
            new = session.execute(text("SELECT id FROM personas WHERE name = 'mira'")).scalar()
            assert new == 2, "sequences go on where they were"
        with psycopg.connect(elsewhere.conninfo()) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("UPDATE audit_events SET action = 'x'")

    def test_r01_a_restored_database_publishes_nothing_until_the_operator_confirms(
        self, made: Path, elsewhere: Database
    ) -> None:
        restore(elsewhere.settings, made)
        with elsewhere.session_scope() as session:
            row = session.execute(
                text("SELECT publishing_held, held_reason, held_since, incarnation_id FROM installation")
            ).one()
        assert row[:3] == (True, "restored", MADE_AT)
        assert row[3] != "first"

    def test_media_that_are_missing_or_of_another_size_are_reported(
        self, made: Path, elsewhere: Database
    ) -> None:
        media = elsewhere.settings.media_dir
        media.mkdir(parents=True)
        (media / "two.jpg").write_bytes(b"two!")
        report = restore(elsewhere.settings, made)
        assert (report.media_files, report.missing_media) == (2, ("ab/one.jpg",))

    def test_a_database_with_tables_is_refused_unless_asked(
        self, filled: Database, made: Path, elsewhere: Database
    ) -> None:
        restore(elsewhere.settings, made)
        with elsewhere.session_scope() as session:
            session.execute(text("INSERT INTO personas (name, age, zone) VALUES ('newer', 27, 'UTC')"))
        with pytest.raises(NotAllowedNow, match="holds tables already"):
            restore(elsewhere.settings, made)
        assert facts(elsewhere)["names"] == ["lena", "newer"]

        report = restore(elsewhere.settings, made, into_empty=False)
        assert facts(elsewhere) == facts(filled)
        assert report.safety_backup is not None
        restore(elsewhere.settings, report.safety_backup, into_empty=False)
        assert facts(elsewhere)["names"] == ["lena", "newer"]

    def test_a_restore_that_fails_leaves_the_database_as_it_was(
        self, filled: Database, made: Path, tmp_path: Path
    ) -> None:
        before = facts(filled)
        with zipfile.ZipFile(made) as archive:
            dump = archive.read(DUMP)
        broken = rewritten(made, tmp_path / "broken.zip", database=dump[: len(dump) * 2 // 3])
        with pytest.raises(DatabaseError, match="can't be restored"):
            restore(filled.settings, broken, into_empty=False)
        assert facts(filled) == before
        with filled.session_scope() as session:
            held = session.execute(text("SELECT publishing_held, incarnation_id FROM installation")).one()
        assert tuple(held) == (False, "first")

    def test_a_statement_that_fails_late_leaves_the_database_as_it_was(
        self, filled: Database, made: Path, elsewhere: Database
    ) -> None:
        with elsewhere.connect("owner") as owner:
            owner.execute("CREATE FUNCTION persona_now() RETURNS text LANGUAGE sql AS 'SELECT 1'")
            owner.commit()
        with pytest.raises(DatabaseError, match="can't be restored") as failure:
            restore(elsewhere.settings, made)
        assert "persona_now" in failure.value.hint
        assert schema_state(elsewhere) == "empty"

    @pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x05\x06" + bytes(18)])
    def test_something_else_is_refused(self, settings: Settings, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "x.zip").write_bytes(content)
        with pytest.raises(InvalidRequest, match="is no backup"):
            restore(settings, tmp_path / "x.zip")
        assert not settings.data_dir.exists(), "nothing is started for a file that is none of ours"

    def test_a_backup_of_a_newer_program_is_refused(
        self, settings: Settings, made: Path, tmp_path: Path
    ) -> None:
        about = json.loads(zipfile.ZipFile(made).read(ABOUT))
        newer = rewritten(made, tmp_path / "n.zip", about=json.dumps({**about, "revision": "zzz"}).encode())
        with pytest.raises(SchemaMismatch):
            restore(settings, newer)
        other = rewritten(made, tmp_path / "f.zip", about=json.dumps({**about, "format": 2}).encode())
        with pytest.raises(InvalidRequest):
            restore(settings, other)

    def test_a_backup_of_another_schema_is_refused(self, settings: Settings, made: Path) -> None:
        other = settings.model_copy(update={"database_schema": "other"})
        with pytest.raises(InvalidRequest, match="holds the schema"):
            restore(other, made)

    def test_r05_nothing_is_restored_beside_a_living_process(self, filled: Database, made: Path) -> None:
        with filled.session_scope() as session:
            session.execute(
                text(
                    "INSERT INTO heartbeats (process_id, kind, host, boot_id, pid, version)"
                    f" VALUES ('one', 'app', 'here', 'boot', 1, '{persona_tui.__version__}')"
                )
            )
        with pytest.raises(NotAllowedNow, match="is running"):
            restore(filled.settings, made, into_empty=False)
        with filled.session_scope() as session:
            session.execute(text("DELETE FROM heartbeats"))
