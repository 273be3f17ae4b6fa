"""Statements of the hot path, handed to the driver inside a session's transaction.

`session.execute(text(…))` costs four times what the driver itself takes for a small statement. The engine
sends a dozen of them for each picture, so those go this way; everything else stays with the session.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
    session.flush()
    connection = session.connection()
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        with driver.cursor(row_factory=namedtuple_row, binary=binary) as cursor:
            cursor.execute(_in_drivers_words(statement), values, prepare=prepare)
            rows: list[Any] = []
            has_rows = cursor.pgresult is not None and cursor.pgresult.nfields > 0
            # In parts: while the driver makes rows of many, no other thread of this process goes on.
            while has_rows and (part := cursor.fetchmany(_PART)):
                rows += part
            return rows
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
