"""Opening a database with the driver alone: the server, the connection, and whether we may work there.

Nothing here loads SQLAlchemy, so that the first data can be read before it is there.
"""

from __future__ import annotations

from typing import Any, Self

import psycopg
from psycopg import sql

from persona_tui.database.cluster import APP_ROLE
from persona_tui.database.embedded import EmbeddedServer, Role
from persona_tui.database.explain import explain_connection_error
from persona_tui.database.url import external_conninfo, masked, with_schema
from persona_tui.errors import DatabaseError, DatabaseUnavailable
from persona_tui.settings import Settings

OLDEST_SERVER = 15
OLDEST_PGVECTOR = (0, 8)
"""0.7 brought halfvec, 0.8 iterative index scans."""


class DatabaseLink:
    """One database and schema, embedded or external, without a pool.

    Attributes:
        settings: what it was opened with.
        schema: the schema that holds our tables.
        server: the embedded server; None when the database is external.
    """

    def __init__(self, settings: Settings, server: EmbeddedServer | None) -> None:
        """Use `open`."""
        self.settings = settings
        self.schema = settings.database_schema
        self.server = server

    @classmethod
    def open(cls, settings: Settings, *, start: bool = True) -> Self:
        """Reach the database that the settings name; make the schema and the extension vector where missing.

        Args:
            start: start the embedded server and make what is missing; with False only look (doctor --check).

        Raises:
            DatabaseUnavailable, StorageError: it does not answer or can't be started.
            SettingsError: PERSONA_DATABASE_URL can't be read.
            DatabaseError: too old a server, or no pgvector.
        """
        server = None
        if settings.database_url is None:
            if start:
                server = EmbeddedServer.start(settings.data_dir, memory_mb=settings.database_memory_mb)
            else:
                server = EmbeddedServer.attach_only(settings.data_dir)
        link = cls(settings, server)
        try:
            with link.connect("owner", autocommit=True) as connection:
                _require_pgvector(connection, may_make=start)
                if start:
                    _make_schema(connection, link)
        except BaseException:
            link.dispose()
            raise
        return link

    @property
    def is_embedded(self) -> bool:
        """Whether the server came with the program. Only then app and owner are two roles."""
        return self.server is not None

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

    def dispose(self) -> None:
        """Let go of the embedded server."""
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


def _make_schema(connection: psycopg.Connection[Any], link: DatabaseLink) -> None:
    schema = sql.Identifier(link.schema)
    found = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (link.schema,))
    if found.fetchone() is not None:
        return
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (link.schema,))
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
            if link.is_embedded:
                grant = sql.SQL("GRANT USAGE ON SCHEMA {} TO {}")
                connection.execute(grant.format(schema, sql.Identifier(APP_ROLE)))
    except psycopg.errors.UniqueViolation:
        pass  # another process made it at the same instant
    except psycopg.errors.InsufficientPrivilege:
        raise DatabaseError(
            f"The database's user may not make the schema {link.schema}.",
            hint=f"Let an administrator run: CREATE SCHEMA {link.schema} AUTHORIZATION <user>.",
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
