"""What every table shares: metadata with a naming convention, and the columns that recur."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKeyConstraint, Identity, MetaData, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

PERSONA_NOW = text("persona_now()")


class Table(SQLModel):
    """Base of all tables. Rows never leave a service: services return frozen values."""

    metadata = metadata


def identity() -> Any:
    """The primary key: a bigint that the database counts up."""
    return Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity()])


def bigint(**options: Any) -> Any:
    """A bigint column, mostly a link to another table's id."""
    return Field(sa_type=BigInteger, **options)


def moment(**options: Any) -> Any:
    """A UTC instant."""
    return Field(sa_type=DateTime(timezone=True), **options)


def created_at() -> Any:
    """The instant of the insert, by the database's own clock (R7)."""
    return moment(default=None, nullable=False, sa_column_kwargs={"server_default": PERSONA_NOW})


def document(default: str = "{}") -> Any:
    """A JSONB column that is never null."""
    return Field(
        default_factory=dict if default == "{}" else list,
        sa_type=JSONB,
        nullable=False,
        sa_column_kwargs={"server_default": text(f"'{default}'::jsonb")},
    )


def filled(default: str, **options: Any) -> Any:
    """A text column with a default that the database also knows."""
    return Field(
        default=default, nullable=False, sa_column_kwargs={"server_default": text(f"'{default}'")}, **options
    )


def number(default: int, **options: Any) -> Any:
    """An integer column with a default that the database also knows."""
    return Field(
        default=default, nullable=False, sa_column_kwargs={"server_default": text(str(default))}, **options
    )


def flag(default: bool = False) -> Any:
    """A boolean column with a default that the database also knows."""
    return Field(
        default=default, nullable=False, sa_column_kwargs={"server_default": text(str(default).lower())}
    )


def one_of(column: str, *allowed: str) -> CheckConstraint:
    """The column holds one of these words."""
    words = ", ".join(f"'{word}'" for word in allowed)
    return CheckConstraint(f"{column} IN ({words})", name=f"{column}_known")


def belongs(
    column: str, target: str, *, optional: bool = False, ondelete: str | None = None
) -> tuple[ForeignKeyConstraint | CheckConstraint, ...]:
    """A link to a row of the same persona: (column, persona_id) → target(id, persona_id).

    An optional link also gets CHECK (link IS NULL OR persona_id IS NOT NULL), since a foreign key with a
    null part checks nothing.
    """
    link = ForeignKeyConstraint(
        [column, "persona_id"], [f"{target}.id", f"{target}.persona_id"], ondelete=ondelete
    )
    if not optional:
        return (link,)
    guard = CheckConstraint(
        f"{column} IS NULL OR persona_id IS NOT NULL", name=f"{column.removesuffix('_id')}_has_persona"
    )
    return (link, guard)


def exactly_one(name: str, *columns: str) -> CheckConstraint:
    """Exactly one of the columns is set."""
    return CheckConstraint(f"num_nonnulls({', '.join(columns)}) = 1", name=name)


Moment = datetime
