"""Which version a schema has, and how that stands to this program; read with the driver alone."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import sql

import persona_tui
from persona_tui.errors import DatabaseError

SchemaState = Literal["empty", "current", "older", "newer"]

_FACTS = re.compile(r"^(revision|down_revision) = (\S+)$", re.MULTILINE)


def migrations_folder() -> Path:
    """Alembic's folder: inside the installed package, or the repository's."""
    package = Path(persona_tui.__file__).parent
    installed = package / "_alembic"
    return installed if installed.is_dir() else package.parents[1] / "alembic"


@cache
def known_revisions() -> tuple[str, ...]:
    """All revisions that this program knows, oldest first: read off the files' heads, without Alembic.

    Raises:
        DatabaseError: the migrations are missing or do not form one line.
    """
    after: dict[str | None, str] = {}
    for path in migrations_folder().glob("versions/*.py"):
        facts = dict(_FACTS.findall(path.read_text()))
        after[facts["down_revision"].strip("\"'") if facts["down_revision"] != "None" else None] = facts[
            "revision"
        ].strip("\"'")
    line: list[str] = []
    while (following := after.pop(line[-1] if line else None, None)) is not None:
        line.append(following)
    if after or not line:
        raise DatabaseError("The program's migrations are incomplete.", hint="Install persona-tui again.")
    return tuple(line)


def head_revision() -> str:
    """The revision that this program's code was written for."""
    return known_revisions()[-1]


def read_revision(connection: psycopg.Connection[Any], schema: str) -> str | None:
    """The revision of a schema; None when it holds none of our tables."""
    found = connection.execute("SELECT to_regclass(%s)", (f"{schema}.alembic_version",)).fetchone()
    if found == (None,):
        return None
    table = sql.Identifier(schema, "alembic_version")
    row = connection.execute(sql.SQL("SELECT version_num FROM {}").format(table)).fetchone()
    return str(row[0]) if row else None


def revision_state(revision: str | None) -> SchemaState:
    """How a database's (or a backup's) revision stands to this program's."""
    if revision is None:
        return "empty"
    if revision == head_revision():
        return "current"
    return "older" if revision in known_revisions() else "newer"
