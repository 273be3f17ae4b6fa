"""Restore a backup: all of it or nothing, and held from publishing afterwards (R1)."""

from __future__ import annotations

import json
import secrets
import subprocess
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from psycopg import Connection

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
from persona_tui.database.migrate import leadership_for_maintenance, refuse_newer, revision_state
from persona_tui.errors import DatabaseError, InvalidRequest, NotAllowedNow, PersonaError
from persona_tui.settings import Settings

_WHAT = "The backup can't be restored"


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

    Afterwards publishing is held and the incarnation id differs from the one kept outside the database, so
    that nothing of what went out after the backup goes out again (R1).

    Args:
        into_empty: refuse a database that holds tables. False replaces them, after a backup of what they
            hold; when the restore fails, that is put back.

    Raises:
        InvalidRequest: the file is no backup, or of another schema.
        SchemaMismatch: a newer program made it.
        NotAllowedNow: the database holds tables, or another process works on it.
        StorageError, DatabaseError: it could not be read or restored.
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
            safety = _fill(db, source, into_empty=into_empty)
            _hold_publishing(db, about)
        media, missing = _compare_media(source, settings.media_dir)
    finally:
        db.dispose()
    return RestoreReport(about, media, missing, safety)


def _fill(db: Database, source: Path, *, into_empty: bool) -> Path | None:
    if not _holds_tables(db):
        _load(db, source)
        return None
    if into_empty:
        raise NotAllowedNow(
            "The database holds tables already.",
            hint="Restore into an empty database, or ask for them to be replaced.",
        )
    folder = db.settings.data_dir / "backups"
    safety = folder / f"before-restore-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.zip"
    backup(db, db.settings, safety, with_media=False)
    _empty(db)
    try:
        _load(db, source)
    except BaseException:
        _put_back(db, safety)
        raise
    return safety


def _put_back(db: Database, safety: Path) -> None:
    try:
        _load(db, safety)
    except PersonaError as problem:
        raise DatabaseError(
            "The restore failed and what the database held could not be put back.",
            hint=f"It is safe in {safety}: restore that into an empty database. ({problem.message})",
        ) from None


def _holds_tables(db: Database) -> bool:
    tables = "SELECT 1 FROM pg_tables WHERE schemaname = %s LIMIT 1"
    with db.connect("owner", autocommit=True) as connection:
        return connection.execute(tables, (db.schema,)).fetchone() is not None


# What a schema holds, but for members of extensions. Indexes, columns' sequences and tables' row types go
# with their tables; CASCADE takes what depends on each.
_OBJECTS = """
SELECT kind, name FROM (
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


def _empty(db: Database) -> None:
    """Drop everything in the schema, but not the schema itself: an external one may not be ours."""
    with db.connect("owner") as connection:
        connection.execute("SET LOCAL search_path = ''")  # so that names come out qualified
        for kind, name in connection.execute(_OBJECTS, {"schema": db.schema}).fetchall():
            connection.execute(f"DROP {kind} IF EXISTS {name} CASCADE".encode())
        connection.commit()


def _load(db: Database, source: Path) -> None:
    """Run pg_restore in one transaction; the dump is unpacked first, since it is read in its own order."""
    options = ("--single-transaction", "--no-owner", "--no-privileges", "--exit-on-error")
    only_ours = f"--schema={db.schema}"
    try:
        with (
            tempfile.TemporaryDirectory(dir=db.settings.data_dir) as folder,
            zipfile.ZipFile(source) as archive,
        ):
            dump = archive.extract(DUMP, folder)
            with (
                postgres_client(db, "pg_restore", (*options, only_ours)) as (command, environment),
                tempfile.TemporaryFile() as said,
            ):
                done = subprocess.run(
                    (*command, dump), env=environment, stdin=subprocess.DEVNULL, stderr=said, check=False
                )
                if done.returncode != 0:
                    raise program_error(_WHAT, said)
    except OSError as problem:
        raise explain_os_error(problem, _WHAT) from None
    except zipfile.BadZipFile:
        raise InvalidRequest(f"{source} is damaged.", hint="Use another backup.") from None
    if db.is_embedded:
        with db.connect("owner") as connection:
            grant_app_role(connection, db.schema)


def _hold_publishing(db: Database, about: About) -> None:
    """Mark the database as restored. `held_since` is the backup's time: from then on /media is reconciled."""
    with db.connect("owner") as connection:
        if _has_installation(connection, db.schema):
            connection.execute(
                "UPDATE installation SET incarnation_id = %s, publishing_held = true,"
                " held_reason = 'restored', held_since = %s",
                (f"restored-{secrets.token_hex(16)}", datetime.fromisoformat(about.made_at)),
            )
        connection.commit()


def _has_installation(connection: Connection[Any], schema: str) -> bool:
    row = connection.execute("SELECT to_regclass(%s)", (f"{schema}.installation",)).fetchone()
    return row is not None and row[0] is not None


def _compare_media(source: Path, folder: Path) -> tuple[int, tuple[str, ...]]:
    with zipfile.ZipFile(source) as archive:
        listed = [MediaFile(**entry) for entry in json.loads(archive.read(MANIFEST))]
    missing = tuple(each.key for each in listed if not _is_there(folder, each))
    return len(listed), missing


def _is_there(folder: Path, media: MediaFile) -> bool:
    path = folder / media.key
    return path.is_file() and path.stat().st_size == media.size
