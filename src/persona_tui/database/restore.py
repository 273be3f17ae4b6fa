"""Restore a backup: all of it or nothing, and held from publishing afterwards (R1)."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen

from psycopg import sql

from persona_tui.database.backup import (
    ABOUT,
    DUMP,
    FORMAT,
    MANIFEST,
    About,
    MediaFile,
    backup,
    postgres_client,
    program_error,
)
from persona_tui.database.engine import Database, open_database
from persona_tui.database.explain import explain_os_error
from persona_tui.database.grants import grant_app_role
from persona_tui.database.migrate import leadership_for_maintenance, refuse_newer
from persona_tui.database.programs import package_programs
from persona_tui.database.revision import revision_state
from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.settings import Settings

_WHAT = "The backup can't be restored"
_HEAD = 1 << 16
"""Bytes; the dump's own settings stand in its first kilobyte."""


@dataclass(frozen=True)
class RestoreReport:
    """A restore that was done.

    Attributes:
        about: where the backup came from.
        media_files: how many media files it lists.
        missing_media: keys of those that are not in the media folder, or have another size.
        safety_backup: what was in the database before; None when it was empty.
    """

    about: About
    media_files: int
    missing_media: tuple[str, ...]
    safety_backup: Path | None


def read_about(source: Path) -> About:
    """Say where a backup comes from.

    Raises:
        InvalidRequest: the file is no backup of ours, or a newer program made it.
        StorageError: it can't be read.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            facts = json.loads(archive.read(ABOUT))
            if facts.get("format") == FORMAT and {DUMP, MANIFEST} <= set(archive.namelist()):
                return About(**facts)
    except OSError as problem:
        raise explain_os_error(problem, f"{source} can't be read") from None
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError):
        pass  # not even the layout of ours: the same sentence
    raise InvalidRequest(
        f"{source} is no backup that this persona-tui can read.",
        hint="Backups are made by `persona-tui db backup`.",
    )


def restore(settings: Settings, source: Path, *, into_empty: bool = True) -> RestoreReport:
    """Fill the database that the settings name from a backup; an older schema is left for `migrate.upgrade`.

    In the same transaction publishing is held and the incarnation id made to differ from the one kept
    outside the database, so that nothing of what went out after the backup goes out again (R1).

    Args:
        into_empty: refuse a database that holds tables. False replaces everything in the schema, after a
            backup of it into the data folder.

    Raises:
        InvalidRequest: the file is no backup, or of another schema.
        SchemaMismatch: a newer program made it.
        NotAllowedNow: the database holds tables, or another process works on it.
        StorageError, DatabaseError: it could not be read or restored; the database is as it was.
    """
    about = read_about(source)
    refuse_newer(revision_state(about.revision))
    if about.db_schema != settings.database_schema:
        raise InvalidRequest(
            f"The backup holds the schema {about.db_schema}, the settings name {settings.database_schema}.",
            hint=f"Set PERSONA_DATABASE_SCHEMA={about.db_schema} for the restore.",
        )
    db = open_database(settings)
    try:
        with leadership_for_maintenance(db, timeout=5.0, any_version=True):
            filled = _holds_tables(db)
            if filled and into_empty:
                raise NotAllowedNow(
                    "The database holds tables already.",
                    hint="Restore into an empty database, or ask for them to be replaced.",
                )
            safety = _back_up_first(db) if filled else None
            _run_script(db, source, before=_drops(db) if filled else "", after=_hold(db, about))
            if db.is_embedded:
                with db.connect("owner") as connection:
                    grant_app_role(connection, db.schema)
    finally:
        db.dispose()
    media, missing = _compare_media(source, settings.media_dir)
    return RestoreReport(about, media, missing, safety)


def _back_up_first(db: Database) -> Path:
    folder = db.settings.data_dir / "backups"
    safety = folder / f"before-restore-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.zip"
    return backup(db, db.settings, safety, with_media=False).path


def _holds_tables(db: Database) -> bool:
    tables = "SELECT 1 FROM pg_tables WHERE schemaname = %s LIMIT 1"
    with db.connect("owner", autocommit=True) as connection:
        return connection.execute(tables, (db.schema,)).fetchone() is not None


# What a schema holds, but for members of extensions. Indexes, columns' sequences and tables' row types go
# with their tables; CASCADE takes what depends on each.
_OBJECTS = """
SELECT format('DROP %%s IF EXISTS %%s CASCADE;', kind, name) FROM (
  SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
         WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END AS kind,
         oid::regclass::text AS name, oid, 'pg_class'::regclass AS catalog
    FROM pg_class WHERE relnamespace = %(schema)s::regnamespace AND relkind = ANY ('{r,p,v,m,S,f,c}')
  UNION ALL
  SELECT 'ROUTINE', oid::regprocedure::text, oid, 'pg_proc'::regclass
    FROM pg_proc WHERE pronamespace = %(schema)s::regnamespace
  UNION ALL
  SELECT 'TYPE', oid::regtype::text, oid, 'pg_type'::regclass FROM pg_type
    WHERE typnamespace = %(schema)s::regnamespace AND typtype = ANY ('{e,d,r}')
) found WHERE NOT EXISTS (
  SELECT FROM pg_depend d WHERE d.classid = found.catalog AND d.objid = found.oid
    AND (d.deptype = 'e' OR (d.deptype = 'i' AND kind = 'SEQUENCE')))
"""


def _drops(db: Database) -> str:
    """SQL that empties the schema but keeps it: in an external database it may not be ours to make."""
    with db.connect("owner") as connection:
        connection.execute("SET LOCAL search_path = ''")  # so that names come out qualified
        return "\n".join(str(row[0]) for row in connection.execute(_OBJECTS, {"schema": db.schema}))


_HOLD = """
DO $$ BEGIN
  IF to_regclass({table}) IS NOT NULL THEN
    UPDATE {installation} SET incarnation_id = {incarnation}, publishing_held = true,
      held_reason = 'restored', held_since = {since};
  END IF;
END $$;
"""


def _hold(db: Database, about: About) -> str:
    """SQL that marks the database as restored; `held_since` is the time of the backup, not of the restore."""
    return (
        sql.SQL(_HOLD)
        .format(
            table=sql.Literal(f"{db.schema}.installation"),
            installation=sql.Identifier(db.schema, "installation"),
            incarnation=sql.Literal(f"restored-{secrets.token_hex(16)}"),
            since=sql.Literal(datetime.fromisoformat(about.made_at)),
        )
        .as_string()
    )


# pg_restore writes this for PostgreSQL 17 and newer whatever the server is, and an older one stops at it.
_TOO_NEW = b"SET transaction_timeout = 0;\n"


def _run_script(db: Database, source: Path, *, before: str, after: str) -> None:
    """Run the dump as SQL through psql in one transaction, together with what goes before and after it.

    COMMIT is sent only once all of the dump has been sent; psql ends without one as soon as anything fails.
    """
    restoring = ("--no-owner", "--no-privileges", f"--schema={db.schema}", "--file=-")
    playing = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1")
    try:
        with (
            tempfile.TemporaryDirectory(dir=db.settings.data_dir) as folder,
            zipfile.ZipFile(source) as archive,
            postgres_client(db, "psql", playing) as (command, environment),
            tempfile.TemporaryFile() as said,
        ):
            dump = archive.extract(DUMP, folder)
            reader = subprocess.Popen(
                (package_programs().path("pg_restore"), *restoring, dump),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
            )
            player = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
            )
            _play(reader, player, before.encode(), after.encode())
            if reader.returncode != 0 or player.returncode != 0:
                raise program_error(_WHAT, said)
    except OSError as problem:
        raise explain_os_error(problem, _WHAT) from None
    except zipfile.BadZipFile:
        raise InvalidRequest(f"{source} is damaged.", hint="Use another backup.") from None


def _play(reader: Popen[bytes], player: Popen[bytes], before: bytes, after: bytes) -> None:
    assert reader.stdout is not None
    assert player.stdin is not None
    with (
        suppress(BrokenPipeError),
        player.stdin,
        reader.stdout,
    ):  # psql has stopped at an error: it says which
        player.stdin.write(b"BEGIN;\n" + before + b"\n")
        player.stdin.write(reader.stdout.read(_HEAD).replace(_TOO_NEW, b"", 1))
        shutil.copyfileobj(reader.stdout, player.stdin, _HEAD)
        if reader.wait() == 0:
            player.stdin.write(after + b"COMMIT;\n")
    reader.wait()
    player.wait()


def _compare_media(source: Path, folder: Path) -> tuple[int, tuple[str, ...]]:
    with zipfile.ZipFile(source) as archive:
        listed = [MediaFile(**entry) for entry in json.loads(archive.read(MANIFEST))]
    missing = tuple(each.key for each in listed if not _is_there(folder, each))
    return len(listed), missing


def _is_there(folder: Path, media: MediaFile) -> bool:
    path = folder / media.key
    return path.is_file() and path.stat().st_size == media.size
