"""Statements of the hot path, handed to the driver inside a session's transaction.

`session.execute(text(…))` costs four times what the driver itself takes for a small statement. The engine
sends a dozen of them for each picture, so those go this way; everything else stays with the session.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

_PART = 500
_NAME = re.compile(r"(?<![:\w]):(\w+)")


def rows_of(
    session: Session,
    statement: str,
    values: Mapping[str, Any],
    *,
    prepare: bool | None = None,
    binary: bool = False,
) -> list[Any]:
    """Run a statement in the session's transaction and return its rows, as named tuples.

    Args:
        statement: SQL with `:name` for values, as in `text()`; a constant, since it is prepared once.
        values: plain values, sequences as arrays, JSON documents wrapped in `Jsonb`.
        prepare: False plans it anew each time, as settings that change plans need it.
        binary: values come in PostgreSQL's binary form: bytes as they are instead of in hex.

    Raises:
        sqlalchemy.exc.DBAPIError: as `session.execute` raises it.
    """
    with (
        _driver_of(session, statement) as driver,
        driver.cursor(row_factory=namedtuple_row, binary=binary) as cursor,
    ):
        cursor.execute(_in_drivers_words(statement), values, prepare=prepare)
        rows: list[Any] = []
        has_rows = cursor.pgresult is not None and cursor.pgresult.nfields > 0
        # In parts: while the driver makes rows of many, no other thread of this process goes on.
        while has_rows and (part := cursor.fetchmany(_PART)):
            rows += part
        return rows


@contextmanager
def rows_later(
    session: Session, statement: str, values: Mapping[str, Any]
) -> Iterator[Callable[[], list[Any]]]:
    """Send a statement that gives rows, and let the server work on it while the caller computes.

    What is given returns the rows, as named tuples, and waits for them; nothing else may be asked of this
    session until then.

    Args:
        statement: SQL and its values, as for `rows_of`.

    Raises:
        sqlalchemy.exc.DBAPIError: as `session.execute` raises it, when the rows are asked for or at the end.
    """
    with (
        _driver_of(session, statement) as driver,
        driver.pipeline(),
        driver.cursor(row_factory=namedtuple_row) as cursor,
    ):
        cursor.execute(_in_drivers_words(statement), values)
        yield cursor.fetchall


def rows_of_each(session: Session, statements: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[Any]]:
    """Run several statements that all give rows, one after the other, for one wait on the server.

    Each is planned when those before it are done, so that settings they change count.

    Args:
        statements: SQL and its values, as for `rows_of`.

    Raises:
        sqlalchemy.exc.DBAPIError: as `session.execute` raises it; none of them counts then.
    """
    words = "; ".join(statement for statement, _ in statements)
    with _driver_of(session, words) as driver, driver.pipeline():
        cursors = [driver.cursor(row_factory=namedtuple_row) for _ in statements]
        for cursor, (statement, values) in zip(cursors, statements, strict=True):
            cursor.execute(_in_drivers_words(statement), values, prepare=False)
        return [cursor.fetchall() for cursor in cursors]


@contextmanager
def _driver_of(session: Session, statement: str) -> Iterator[psycopg.Connection[Any]]:
    """The session's connection as the driver has it; its errors come as the session's."""
    session.flush()
    connection = session.connection()
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        yield driver
    except psycopg.Error as problem:
        wrapped = DBAPIError.instance(
            statement,
            None,
            problem,
            psycopg.Error,
            dialect=connection.dialect,
            connection_invalidated=driver.closed,
        )
        raise wrapped from problem


@lru_cache(maxsize=256)
def _in_drivers_words(statement: str) -> bytes:
    return _NAME.sub(r"%(\1)s", statement.replace("%", "%%")).encode()
