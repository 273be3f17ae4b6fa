"""The database as the rest of the program sees it: sessions, connections, and errors in words."""

from __future__ import annotations

import hashlib
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Engine, NullPool, create_engine, event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlmodel import Session

from persona_tui.boundaries import reached
from persona_tui.database.embedded import EmbeddedServer
from persona_tui.database.explain import explain_operational_error
from persona_tui.database.link import DatabaseLink, check_connection
from persona_tui.errors import DatabaseUnavailable, PersonaError
from persona_tui.settings import Settings


def _refuse_ended(driver: psycopg.Connection[Any], *_about: object) -> None:
    """Let the pool replace a connection that the server ended while nobody used it.

    The server says nothing to one that waits, except that it ends: then the socket can be read. To look costs
    a thousandth of the round trip of `pool_pre_ping`, which each transaction would make.
    """
    if driver.closed:
        raise DisconnectionError
    waiting = select.poll()
    waiting.register(driver.fileno(), select.POLLIN)
    if waiting.poll(0):
        raise DisconnectionError


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


class Database(DatabaseLink):
    """One database and schema, embedded or external.

    Attributes:
        settings: what it was opened with.
        schema: the schema that holds our tables.
        server: the embedded server; None when the database is external.
        engine: the pooled engine of the app's role.
    """

    def __init__(self, settings: Settings, server: EmbeddedServer | None) -> None:
        """Use `open_database`."""
        super().__init__(settings, server)
        self.engine = create_engine(
            "postgresql+psycopg://",
            creator=self.connect,
            pool_size=5,
            max_overflow=10,
            pool_timeout=10,
        )
        event.listen(self.engine, "checkout", _refuse_ended)

    def owner_engine(self) -> Engine:
        """A fresh engine without a pool, of the role that makes and changes tables."""
        return create_engine(
            "postgresql+psycopg://", creator=lambda: self.connect("owner"), poolclass=NullPool
        )

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
        super().dispose()


def open_database(settings: Settings, *, start: bool = True, link: DatabaseLink | None = None) -> Database:
    """Open the database that the settings name; make the schema and the extension vector where missing.

    Args:
        start: start the embedded server and make what is missing; with False only look (doctor --check).
        link: the database, reached already; it passes into the hands of what is returned.

    Raises:
        DatabaseUnavailable, StorageError: it does not answer or can't be started.
        SettingsError: PERSONA_DATABASE_URL can't be read.
        DatabaseError: too old a server, or no pgvector.
    """
    if link is None:
        return Database.open(settings, start=start)
    return Database(settings, link.server)


__all__ = [
    "Database",
    "check_connection",
    "leader_lock_key",
    "open_database",
]
