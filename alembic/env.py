"""How Alembic meets the database: a connection given by the program, or the one that the settings name."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection
from sqlmodel.sql.sqltypes import AutoString

from persona_tui.models import metadata


def include_object(_item: Any, name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:
    """Leave alone what is no model of ours: procrastinate's tables and Alembic's own."""
    return not (kind == "table" and (name or "").startswith(("procrastinate_", "alembic_version")))


def render_item(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write column types so that a migration needs neither our models nor SQLModel."""
    if kind != "type":
        return False
    if type(item).__module__.startswith("pgvector."):
        autogen.imports.add("import pgvector.sqlalchemy")
        return f"pgvector.sqlalchemy.{item!r}"
    if isinstance(item, AutoString):
        return f"sa.String(length={item.length})" if item.length else "sa.String()"
    return False


def run(connection: Connection, schema: str) -> None:
    """Run what was asked for, in one transaction."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_object=include_object,
        render_item=render_item,
        compare_type=True,
        compare_server_default=True,
        version_table_schema=schema,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_from_command_line() -> None:
    """Open the database of the settings, as its owner."""
    from persona_tui.database.engine import open_database
    from persona_tui.settings import load_settings

    database = open_database(load_settings())
    try:
        with database.owner_engine().connect() as connection:
            run(connection, database.schema)
    finally:
        database.dispose()


if context.is_offline_mode():
    raise SystemExit("Migrations need a connection: triggers and procrastinate's schema are not plain DDL.")
elif context.config.attributes.get("connection") is not None:
    run(context.config.attributes["connection"], context.config.attributes["schema"])
else:
    run_from_command_line()
