"""Backup into one file and restore from it.

The file is a zip with `about.json` (where it comes from), `database.dump` (pg_dump's own format: our schema,
procrastinate's objects included) and `media-manifest.json` (name, size and SHA-256 of each media file; the
pictures themselves stay where they are). Keys and config.toml lie outside the data folder and are not in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import persona_tui
from persona_tui.database.engine import Database
from persona_tui.database.explain import explain_os_error, explain_output
from persona_tui.database.programs import package_programs
from persona_tui.errors import DatabaseError, DuplicateName
from persona_tui.settings import Settings
from persona_tui.text import clean

FORMAT = 1
ABOUT, DUMP, MANIFEST = "about.json", "database.dump", "media-manifest.json"

_CHUNK = 1 << 20
_WHAT = "The backup can't be written"
_LOCK_WAIT = "--lock-wait-timeout=60s"


@dataclass(frozen=True)
class About:
    """Where a backup comes from.

    Attributes:
        format: layout of the file.
        version: of the program that made it.
        revision: of the schema; None for an empty database.
        db_schema: name of the schema that was dumped.
        made_at: UTC, ISO 8601, taken before the dump began.
        incarnation_id: of the installation (R1).
        with_media: whether the manifest was made.
    """

    format: int
    version: str
    revision: str | None
    db_schema: str
    made_at: str
    incarnation_id: str
    with_media: bool


@dataclass(frozen=True)
class MediaFile:
    """A media file: its name relative to the media folder, its size in bytes, its hash."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True)
class BackupReport:
    """A backup that was made. Sizes in bytes."""

    path: Path
    size: int
    about: About
    media_files: int
    media_size: int


def backup(
    db: Database,
    settings: Settings,
    target: Path,
    *,
    with_media: bool = True,
    now: datetime | None = None,
) -> BackupReport:
    """Write the database and the list of media files into one new file, readable by its owner alone.

    Args:
        target: the file, or a folder in which `persona-tui-<time>.zip` is made.
        with_media: hash every media file into the manifest.
        now: UTC.

    Raises:
        DuplicateName: the file exists already.
        StorageError: it can't be written; nothing half-written stays.
        DatabaseError: pg_dump failed.
    """
    moment = now or datetime.now(UTC)
    if target.is_dir():
        target = target / f"persona-tui-{moment:%Y%m%dT%H%M%SZ}.zip"
    if target.exists():
        raise DuplicateName(f"{target} exists already.", hint="Choose another file name.")
    about = _about(db, moment, with_media=with_media)
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _written_whole(target) as file, zipfile.ZipFile(file, "w", allowZip64=True) as archive:
            archive.writestr(ABOUT, json.dumps(asdict(about), indent=2))
            with archive.open(DUMP, "w", force_zip64=True) as member:
                _dump(db, member)
            media = list(media_files(settings.media_dir)) if with_media else []
            manifest = json.dumps([asdict(each) for each in media], indent=0)
            archive.writestr(MANIFEST, manifest, compress_type=zipfile.ZIP_DEFLATED)
        size = target.stat().st_size
    except OSError as problem:
        raise explain_os_error(problem, _WHAT) from None
    return BackupReport(target, size, about, len(media), sum(each.size for each in media))


def media_files(folder: Path) -> Iterator[MediaFile]:
    """Every regular file below the media folder, by name; links are not followed.

    Raises:
        OSError: one can't be read.
    """
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        yield MediaFile(path.relative_to(folder).as_posix(), path.stat().st_size, digest)


def _about(db: Database, moment: datetime, *, with_media: bool) -> About:
    with db.connect("owner", autocommit=True) as connection:

        def first(table: str, column: str) -> str | None:
            if connection.execute("SELECT to_regclass(%s)", (f"{db.schema}.{table}",)).fetchone() == (None,):
                return None
            query = sql.SQL("SELECT {} FROM {}").format(
                sql.Identifier(column), sql.Identifier(db.schema, table)
            )
            row = connection.execute(query).fetchone()
            return str(row[0]) if row else None

        revision = first("alembic_version", "version_num")
        incarnation = first("installation", "incarnation_id") or ""
    made_at = moment.isoformat(timespec="seconds")
    return About(FORMAT, persona_tui.__version__, revision, db.schema, made_at, incarnation, with_media)


@contextmanager
def _written_whole(target: Path) -> Iterator[BinaryIO]:
    """A new file under another name, moved to its own when it is whole and on the disk."""
    descriptor, fresh = tempfile.mkstemp(dir=target.parent, prefix=".backup-")
    try:
        with open(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        Path(fresh).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(fresh).unlink()
        raise


def _dump(db: Database, member: Any) -> None:
    options = ("--format=custom", f"--schema={db.schema}", "--no-owner", "--no-privileges", _LOCK_WAIT)
    with postgres_client(db, "pg_dump", options) as (command, environment), tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=said)
        assert process.stdout is not None
        try:
            while chunk := process.stdout.read(_CHUNK):
                member.write(chunk)
        finally:
            process.stdout.close()
            process.wait()
        if process.returncode != 0:
            raise program_error("The database can't be dumped", said)


@contextmanager
def postgres_client(
    db: Database, program: str, options: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Mapping[str, str]]]:
    """A PostgreSQL client program's command line and environment, connected as the owner.

    The password goes into a file that only we can read, never onto the command line (R26).
    """
    parameters: dict[str, Any] = dict(conninfo_to_dict(db.conninfo("owner")))
    password = parameters.pop("password", None)
    parameters.pop("sslpassword", None)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PERSONA_")} | {"LC_ALL": "C"}
    command = (package_programs().path(program), *options, f"--dbname={make_conninfo(**parameters)}")
    if password is None:
        yield command, environment
        return
    with tempfile.NamedTemporaryFile("w", prefix="persona-tui-", encoding="utf-8") as file:  # mkstemp: 0600
        escaped = str(password).replace("\\", "\\\\").replace(":", "\\:")
        file.write(f"*:*:*:*:{escaped}\n")
        file.flush()
        yield command, environment | {"PGPASSFILE": file.name}


def program_error(what: str, said: Any) -> Exception:
    """The error for a client program that failed; `said` is the file with its standard error."""
    said.seek(0)
    printed = clean(said.read().decode(errors="replace"))
    storage = explain_output(printed, what)
    if storage is not None:
        return storage
    if "server version mismatch" in printed:
        return DatabaseError(
            f"{what}: the server is newer than persona-tui's PostgreSQL programs.",
            hint="Install a newer persona-tui.",
        )
    errors = [line for line in printed.splitlines() if "error" in line.lower()]
    return DatabaseError(f"{what}.", hint=f"PostgreSQL said: {(errors or ['nothing'])[0][:300]}")
