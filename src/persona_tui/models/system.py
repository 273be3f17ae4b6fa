"""The installation itself: who it is, who leads, who is alive."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import CheckConstraint, Index, Interval, text
from sqlmodel import Field

from persona_tui.models.base import Table, bigint, created_at, filled, flag, identity, moment, one_of


class Installation(Table, table=True):
    """The one row that says which installation this database belongs to."""

    __tablename__ = "installation"
    __table_args__ = (
        CheckConstraint("id = 1", name="one_row"),
        one_of("environment", "live", "sandbox"),
        CheckConstraint(
            "environment = 'sandbox' OR clock_offset = interval '0'", name="clock_only_in_sandbox"
        ),
    )

    id: int = identity()
    incarnation_id: str = filled("")
    """Compared at start with the one kept outside the database (R1)."""
    environment: str = filled("live")
    clock_offset: timedelta = Field(
        default=timedelta(0), sa_type=Interval, sa_column_kwargs={"server_default": text("'0'::interval")}
    )
    """Added to the clock by persona_now(); zero outside the sandbox (R7)."""
    publishing_held: bool = flag()
    """After a restore or a copy nothing goes out until the operator confirms."""
    held_reason: str = filled("")
    held_since: datetime | None = moment(default=None)
    publishing_paused: bool = flag()
    """The operator has paused all publishing."""
    leader_epoch: int = bigint(default=0, sa_column_kwargs={"server_default": "0"}, nullable=False)
    """Raised by each process that wins leadership; every claim carries it (R4)."""
    created_at: datetime = created_at()


class Heartbeat(Table, table=True):
    """A process that works on this database."""

    __tablename__ = "heartbeats"
    __table_args__ = (
        one_of("kind", "app", "scheduler", "worker", "command"),
        Index("uq_heartbeats_leader", "leader", unique=True, postgresql_where=text("leader")),
    )

    process_id: str = Field(primary_key=True)
    """'host:boot id:pid:start time'."""
    kind: str
    host: str
    boot_id: str
    pid: int
    version: str
    backend_pid: int | None = None
    """Server process of its leadership connection."""
    leader: bool = flag()
    leader_epoch: int = bigint(default=0, sa_column_kwargs={"server_default": "0"}, nullable=False)
    beat_at: datetime = created_at()
