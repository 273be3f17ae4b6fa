"""The schema's version: what it is, what it should be, and the upgrade between (R5)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

import persona_tui
from persona_tui.database.backup import backup
from persona_tui.database.engine import Database, leader_lock_key
from persona_tui.database.grants import grant_app_role
from persona_tui.database.revision import (
    SchemaState,
    head_revision,
    migrations_folder,
    read_revision,
    revision_state,
)
from persona_tui.errors import DatabaseError, NotAllowedNow, SchemaMismatch

if TYPE_CHECKING:
    # A tenth of a second to import, and needed only when there is something to migrate.
    from alembic.config import Config

HEARTBEAT_AGE = 20
"""Seconds after which a process that gave no heartbeat counts as gone."""

_alembic_lock = threading.Lock()
"""Alembic keeps its context in module globals: one thread at a time."""


@dataclass(frozen=True)
class UpgradeReport:
    """What an upgrade did; both revisions are equal when there was nothing to do."""

    before: str | None
    after: str | None
    backup: Path | None


def alembic_config(connection: Connection | None = None, schema: str = "public") -> Config:
    """Alembic's configuration without an ini file.

    Args:
        connection: the owner's, outside a transaction; alembic/env.py uses it.
    """
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, schema=schema)
    return config


def current_revision(db: Database) -> str | None:
    """The database's revision; None when it holds none of our tables."""
    with db.connect("owner", autocommit=True) as connection:
        return read_revision(connection, db.schema)


def schema_state(db: Database) -> SchemaState:
    """How the database's schema stands to this program; `newer` is any revision that it does not know."""
    return revision_state(current_revision(db))


def refuse_newer(state: SchemaState) -> None:
    """Refuse a schema that this program does not know.

    Raises:
        SchemaMismatch: always, when the state is `newer`.
    """
    if state == "newer":
        raise SchemaMismatch(
            f"A newer persona-tui than {persona_tui.__version__} has changed the database.",
            hint="Install that version, or restore a backup made before the upgrade into an empty database.",
        )


def upgrade(
    db: Database,
    *,
    backup_dir: Path | None,
    keep: int,
    lock_timeout: float = 30.0,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> UpgradeReport:
    """Bring the schema to this program's revision: all of it or nothing.

    A database that holds data is backed up first. Nothing is done, and no lock taken, when it is current.

    Args:
        backup_dir: where the backup goes; None makes none.
        keep: automatic backups kept there.
        lock_timeout: seconds to wait for the leader lock, and for locks on tables.

    Raises:
        SchemaMismatch: the database belongs to a newer program.
        NotAllowedNow: another process leads, or one of another version is alive.
        DatabaseError: a migration failed; nothing has changed.
    """
    state = schema_state(db)
    refuse_newer(state)
    before, head = current_revision(db), head_revision()
    if state == "current":
        return UpgradeReport(before, before, None)
    with leadership_for_maintenance(db, timeout=lock_timeout, done=lambda: schema_state(db) == "current"):
        before = current_revision(db)
        if before == head:
            return UpgradeReport(before, head, None)
        made = None
        if before is not None and backup_dir is not None:
            made = _backup_before(db, backup_dir, before, keep, clock())
        _run_migrations(db, lock_timeout)
        if db.is_embedded:
            with db.connect("owner") as connection:
                grant_app_role(connection, db.schema)
    return UpgradeReport(before, head, made)


@contextmanager
def leadership_for_maintenance(
    db: Database,
    *,
    timeout: float,
    done: Callable[[], bool] = lambda: False,
    any_version: bool = False,
) -> Iterator[None]:
    """Hold the leader lock on a connection of its own, with no other process alive that minds (R5).

    Args:
        timeout: seconds to wait for the lock.
        done: asked while waiting; True ends the wait without the lock, since somebody else did the work.
        any_version: refuse live processes of this version too.

    Raises:
        NotAllowedNow: another process leads or is alive.
    """
    key = leader_lock_key(db.schema)
    with db.connect("owner", autocommit=True) as connection:
        deadline = time.monotonic() + timeout
        while connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone() != (True,):
            if done():
                break
            if time.monotonic() > deadline:
                raise NotAllowedNow(
                    "Another persona-tui process works on this database.",
                    hint="Stop the app, scheduler and workers, then try again.",
                )
            time.sleep(0.1)
        with db.owner_engine().connect() as session:
            refuse_if_live_heartbeats(session, version=None if any_version else persona_tui.__version__)
        yield


def refuse_if_live_heartbeats(
    connection: Connection, *, version: str | None = persona_tui.__version__, process_id: str | None = None
) -> None:
    """Refuse when another process gave a heartbeat in the last 20 s by the database's clock (R5, R7).

    Args:
        version: processes of this version are no hindrance; None: every process is one.
        process_id: the caller's own heartbeat, which never is.

    Raises:
        NotAllowedNow: names the process.
    """
    known = "SELECT to_regclass(format('%I.heartbeats', current_schema())), to_regprocedure('persona_now()')"
    heartbeats, own_clock = connection.execute(text(known)).one()
    if heartbeats is None:
        return
    clock = "persona_now()" if own_clock else "clock_timestamp()"
    row = connection.execute(
        text(
            "SELECT kind, host, pid, version FROM heartbeats"
            f" WHERE beat_at > {clock} - make_interval(secs => :age)"
            " AND version IS DISTINCT FROM :version AND process_id IS DISTINCT FROM :process_id"
            " ORDER BY beat_at DESC LIMIT 1"
        ),
        {"age": HEARTBEAT_AGE, "version": version, "process_id": process_id},
    ).one_or_none()
    if row is not None:
        raise NotAllowedNow(
            f"A {row.kind} of persona-tui {row.version} is running (process {row.pid} on {row.host}).",
            hint=f"Stop it and wait {HEARTBEAT_AGE} seconds, then try again.",
        )


def _run_migrations(db: Database, lock_timeout: float) -> None:
    engine = db.owner_engine()
    from alembic import command

    with _alembic_lock, engine.connect() as connection:
        connection.exec_driver_sql(f"SET lock_timeout = {round(lock_timeout * 1000)}")
        connection.commit()
        try:
            command.upgrade(alembic_config(connection, db.schema), "head")
        except (DBAPIError, psycopg.Error) as problem:
            original = problem.orig if isinstance(problem, DBAPIError) else problem
            primary = original.diag.message_primary if isinstance(original, psycopg.Error) else None
            raise DatabaseError(
                "The upgrade of the database failed and changed nothing.",
                hint=f"The database said: {primary or type(problem).__name__}.",
            ) from None


def _backup_before(db: Database, folder: Path, revision: str, keep: int, now: datetime) -> Path:
    target = folder / f"before-upgrade-{now:%Y%m%dT%H%M%SZ}-{revision}.zip"
    backup(db, db.settings, target, with_media=False, now=now)
    for old in sorted(folder.glob("before-upgrade-*.zip"))[:-keep]:
        old.unlink()
    return target


__all__ = [
    "HEARTBEAT_AGE",
    "SchemaState",
    "UpgradeReport",
    "alembic_config",
    "current_revision",
    "head_revision",
    "leadership_for_maintenance",
    "migrations_folder",
    "refuse_if_live_heartbeats",
    "refuse_newer",
    "schema_state",
    "upgrade",
]
