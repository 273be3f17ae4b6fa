"""One SQL text for two ways to ask: inside a session, and with the driver alone before there are sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg
    from sqlmodel import Session

Ask = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]
"""Takes SQL with the driver's own placeholders, `%(name)s`, and their values; returns all rows."""


def through_session(session: Session) -> Ask:
    """Ask inside the session's transaction, which sees what it has changed."""

    def ask(query: str, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        session.flush()
        return session.connection().exec_driver_sql(query, dict(values)).all()

    return ask


def through_driver(connection: psycopg.Connection[Any]) -> Ask:
    """Ask with the driver alone."""

    def ask(query: str, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        return connection.execute(query.encode(), values).fetchall()

    return ask
