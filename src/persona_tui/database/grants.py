"""What the app's role may do in the embedded database: rows, never tables, and the audit trail only grows."""

from __future__ import annotations

from psycopg import Connection, sql

from persona_tui.database.cluster import APP_ROLE

_NARROWED = {"audit_events": "SELECT, INSERT", "alembic_version": "SELECT"}

_GRANTS = """
GRANT USAGE ON SCHEMA {schema} TO {app};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {app};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {app};
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA {schema} TO {app};
ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app};
ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE, SELECT ON SEQUENCES TO {app};
ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT EXECUTE ON ROUTINES TO {app};
"""


def grant_app_role(connection: Connection, schema: str) -> None:
    """Give the app's role its rights on everything in the schema, present and future, in one transaction.

    On `audit_events` it may read and insert, on `alembic_version` only read (R31).

    Args:
        connection: the owner's.
    """
    names = {"schema": sql.Identifier(schema), "app": sql.Identifier(APP_ROLE)}
    with connection.transaction():
        connection.execute(sql.SQL(_GRANTS).format(**names))
        for table, rights in _NARROWED.items():
            qualified = sql.Identifier(schema, table)
            if connection.execute("SELECT to_regclass(%s)", (f"{schema}.{table}",)).fetchone() == (None,):
                continue
            narrow = "REVOKE ALL ON {table} FROM {app}; GRANT " + rights + " ON {table} TO {app}"
            connection.execute(sql.SQL(narrow).format(table=qualified, app=names["app"]))
