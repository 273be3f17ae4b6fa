"""The database as the rest of the program sees it: sessions, connections, and errors in words."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlmodel import Session

from persona_tui.boundaries import reached
from persona_tui.database.cluster import APP_ROLE
from persona_tui.database.embedded import EmbeddedServer, Role
from persona_tui.database.explain import explain_connection_error, explain_operational_error
from persona_tui.database.url import external_conninfo, masked, with_schema
from persona_tui.errors import DatabaseError, DatabaseUnavailable, PersonaError
from persona_tui.settings import Settings

OLDEST_SERVER = 15
OLDEST_PGVECTOR = (0, 8)
"""0.7 brought halfvec, 0.8 iterative index scans."""


class _Session(Session):
    """A session whose commits are numbered boundaries (R22)."""

    def commit(self) -> None:
        reached("commit:before")
        super().commit()
        reached("commit:after")


def leader_lock_key(schema: str) -> int:
    """The advisory lock that the one leading process of a schema holds, and a migration takes (R4, R5).

    Returns:
        A signed 64-bit integer for pg_advisory_lock.
    """
    digest = hashlib.sha256(f"persona-tui leader of {schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


class Database:
    """One database and schema, embedded or external.

    Attributes:
        settings: what it was opened with.
        schema: the schema that holds our tables.
        server: the embedded server; None when the database is external.
        engine: the pooled engine of the app's role.
    """

    def __init__(self, settings: Settings, server: EmbeddedServer | None) -> None:
        """Use `open_database`."""
        self.settings = settings
        self.schema = settings.database_schema
        self.server = server
        self.engine = create_engine(
            "postgresql+psycopg://",
            creator=self.connect,
            pool_pre_ping=True,
            pool_size=5,
            max_overflow=10,
            pool_timeout=10,
        )

    @property
    def is_embedded(self) -> bool:
        """Whether the server came with the program. Only then app and owner are two roles."""
        return self.server is not None

    def owner_engine(self) -> Engine:
        """A fresh engine without a pool, of the role that makes and changes tables."""
        return create_engine(
            "postgresql+psycopg://", creator=lambda: self.connect("owner"), poolclass=NullPool
        )

    def conninfo(self, role: Role = "app", dbname: str | None = None) -> str:
        """How libpq connects, for psycopg itself (LISTEN, leadership, procrastinate); holds the password.

        Args:
            role: differs only for an embedded database.
            dbname: another database of the same server.
        """
        if self.server is not None:
            bare = self.server.conninfo(role, dbname) if dbname else self.server.conninfo(role)
        else:
            url = self.settings.database_url
            assert url is not None
            bare = external_conninfo(url.get_secret_value(), dbname)
        return with_schema(bare, self.schema)

    def masked_url(self) -> str:
        """The address with the password masked."""
        return masked(self.conninfo())

    def connect(self, role: Role = "app", *, autocommit: bool = False) -> psycopg.Connection[Any]:
        """Open a connection of one's own, outside every pool.

        Raises:
            DatabaseUnavailable: says in words why, without URL and password.
            DatabaseError: the server is too old or does not grant READ COMMITTED.
        """
        try:
            connection = psycopg.connect(self.conninfo(role), autocommit=autocommit)
        except (psycopg.Error, UnicodeError) as problem:  # UnicodeError: a host that can't be a name
            raise self._without_url(explain_connection_error(problem)) from None
        try:
            check_connection(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def session_scope(self) -> Iterator[Session]:
        """A session that commits when the block ends well and rolls back when it raises.

        Raises:
            DatabaseUnavailable: the connection could not be made or was lost, maybe after the commit.
            StorageError: the database's disk is full.
            DatabaseError: locks were in the way.
        """
        with self._in_words(), _Session(self.engine) as session:
            try:
                yield session
                session.commit()
            except BaseException:
                # Said aloud, since closing alone tells no listener: the guard records refusals then.
                session.rollback()
                raise

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError) as problem:
            raise explain_operational_error(problem) from None
        except DBAPIError as problem:
            if not problem.connection_invalidated:
                raise
            raise explain_operational_error(problem) from None

    def is_alive(self) -> bool:
        """Ask the database for a sign of life."""
        try:
            with self._in_words(), self.engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except PersonaError:
            return False
        return True

    def wait_until_back(self, timeout: float) -> None:
        """Wait until the database answers; an embedded server that died is started again.

        Args:
            timeout: seconds.

        Raises:
            DatabaseUnavailable: it stayed away.
        """
        deadline = time.monotonic() + timeout
        while not self.is_alive():
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise DatabaseUnavailable(f"The database stayed away for {timeout:.0f} seconds.")
            if self.server is not None and self.server.is_held:
                self.server.revive(timeout=remaining)
            else:
                time.sleep(min(0.25, remaining))

    def dispose(self) -> None:
        """Close the pool and let go of the embedded server."""
        self.engine.dispose()
        if self.server is not None:
            self.server.close()

    def _without_url(self, problem: DatabaseUnavailable) -> DatabaseUnavailable:
        return DatabaseUnavailable(problem.message) if self.is_embedded else problem


def check_connection(connection: psycopg.Connection[Any]) -> None:
    """Refuse a server or a connection that our transactions were not written for.

    Raises:
        DatabaseError: older than PostgreSQL 15, or not READ COMMITTED.
    """
    version = connection.info.server_version // 10_000
    if version < OLDEST_SERVER:
        raise DatabaseError(
            f"The database server is PostgreSQL {version}; {OLDEST_SERVER} or newer is needed.",
            hint="Upgrade the server or unset PERSONA_DATABASE_URL to use the embedded one.",
        )
    row = connection.execute("SHOW transaction_isolation").fetchone()
    connection.rollback()
    if row is None or row[0] != "read committed":
        raise DatabaseError(
            "The database does not grant READ COMMITTED transactions.",
            hint="Remove default_transaction_isolation from the options in PERSONA_DATABASE_URL.",
        )


def open_database(settings: Settings, *, start: bool = True) -> Database:
    """Open the database that the settings name; make the schema and the extension vector where missing.

    Args:
        start: start the embedded server and make what is missing; with False only look (doctor --check).

    Raises:
        DatabaseUnavailable, StorageError: it does not answer or can't be started.
        SettingsError: PERSONA_DATABASE_URL can't be read.
        DatabaseError: too old a server, or no pgvector.
    """
    server = None
    if settings.database_url is None:
        opener = EmbeddedServer.start if start else EmbeddedServer.attach_only
        server = opener(settings.data_dir)
    database = Database(settings, server)
    try:
        with database.connect("owner", autocommit=True) as connection:
            _require_pgvector(connection, may_make=start)
            if start:
                _make_schema(connection, database)
    except BaseException:
        database.dispose()
        raise
    return database


def _make_schema(connection: psycopg.Connection[Any], database: Database) -> None:
    schema = sql.Identifier(database.schema)
    found = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (database.schema,))
    if found.fetchone() is not None:
        return
    try:
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
        if database.is_embedded:
            grant = sql.SQL("GRANT USAGE ON SCHEMA {} TO {}")
            connection.execute(grant.format(schema, sql.Identifier(APP_ROLE)))
    except psycopg.errors.UniqueViolation:
        pass  # another process made it at the same instant
    except psycopg.errors.InsufficientPrivilege:
        raise DatabaseError(
            f"The database's user may not make the schema {database.schema}.",
            hint=f"Let an administrator run: CREATE SCHEMA {database.schema} AUTHORIZATION <user>.",
        ) from None


def _require_pgvector(connection: psycopg.Connection[Any], *, may_make: bool) -> None:
    installed = _pgvector(connection)
    if installed is None and may_make:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile):
            raise DatabaseError(
                "The database server has no pgvector.",
                hint="Install pgvector on the server, e.g. the package postgresql-17-pgvector.",
            ) from None
        except psycopg.errors.InsufficientPrivilege:
            raise DatabaseError(
                "The database lacks the extension vector and its user may not make it.",
                hint="Let an administrator run in that database: CREATE EXTENSION vector.",
            ) from None
        except psycopg.errors.UniqueViolation:
            pass  # another process made it at the same instant
        installed = _pgvector(connection)
    if installed is None:
        raise DatabaseError("The database lacks the extension vector.", hint="Run `persona-tui db upgrade`.")
    version, visible = installed
    if not visible:
        raise DatabaseError(
            "pgvector lies in a schema that persona-tui does not look into.",
            hint="Let an administrator run: ALTER EXTENSION vector SET SCHEMA public.",
        )
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_PGVECTOR:
        raise DatabaseError(
            f"The database has pgvector {version}; 0.8 or newer is needed.",
            hint="Upgrade pgvector on the server and run: ALTER EXTENSION vector UPDATE.",
        )


def _pgvector(connection: psycopg.Connection[Any]) -> tuple[str, bool] | None:
    """Version of the extension in this database, and whether its types are found without naming a schema."""
    row = connection.execute(
        "SELECT extversion, to_regtype('vector') IS NOT NULL FROM pg_extension WHERE extname = 'vector'"
    ).fetchone()
    return (str(row[0]), bool(row[1])) if row else None
