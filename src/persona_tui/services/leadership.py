"""Who leads: one process per database ticks, generates and sweeps; the others stand by (R4).

The advisory lock lives on a connection outside every pool, since a pool hands the same connection out twice
and reconnects silently without the lock. The lock is comfort; fences and leases give safety.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import psutil
import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import text
from sqlmodel import Session

from persona_tui import __version__
from persona_tui.services import events

ProcessKind = Literal["app", "scheduler", "worker", "command"]

STALE_AFTER = 20.0
"""Seconds without a heartbeat after which a leader's backend is ended by a standby."""
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
}


@dataclass(frozen=True)
class Process:
    """This process, in a form that another process can check for being alive."""

    host: str
    boot_id: str
    pid: int
    started: int

    @property
    def id(self) -> str:
        """'host:boot id:pid:start time'."""
        return f"{self.host}:{self.boot_id}:{self.pid}:{self.started}"


@cache
def this_process() -> Process:
    """Who we are."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot_id = str(int(psutil.boot_time()))
    started = int(psutil.Process().create_time() * 100)
    return Process(socket.gethostname(), boot_id, os.getpid(), started)


@dataclass(frozen=True)
class Beat:
    """A process that works on this database."""

    process_id: str
    kind: str
    host: str
    pid: int
    version: str
    leader: bool
    age_seconds: float


class Leadership:
    """One process's try to lead, and its heartbeat.

    All methods block on the database; call them in a thread.
    """

    def __init__(self, conninfo: str, lock_key: int, kind: ProcessKind) -> None:
        self._conninfo = conninfo
        self._key = lock_key
        self._kind = kind
        self._connection: psycopg.Connection[Any] | None = None
        self.process = this_process()
        self.epoch = 0
        """The epoch we lead in; 0 while standing by."""

    @property
    def leads(self) -> bool:
        """Whether we led at the last look."""
        return self.epoch > 0

    def beat(self) -> bool:
        """Write the heartbeat, try to lead or make sure that we still do.

        Returns:
            Whether we lead now.

        Raises:
            psycopg.Error: the database is away; leadership is lost.
        """
        try:
            connection = self._connected()
            if self.leads and not self._holds_lock(connection):
                self.epoch = 0
            if not self.leads:
                self._end_stale_leader(connection)
                if self._kind in {"app", "scheduler"} and self._take_lock(connection):
                    self.epoch = self._raise_epoch(connection)
            self._write(connection)
        except psycopg.Error:
            self._drop()
            raise
        return self.leads

    def still_leads(self) -> bool:
        """Ask the very backend that took the lock whether it still holds it."""
        try:
            return self.leads and self._holds_lock(self._connected())
        except psycopg.Error:
            self._drop()
            return False

    def resign(self) -> None:
        """Give up leading and take the heartbeat away."""
        connection = self._connection
        if connection is not None and not connection.closed:
            with suppress(psycopg.Error):
                connection.execute("DELETE FROM heartbeats WHERE process_id = %s", [self.process.id])
                # A closed connection keeps the lock until its backend has noticed.
                connection.execute("SELECT pg_advisory_unlock_all()")
        self._drop()

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self.epoch = 0
            self._connection = psycopg.connect(make_conninfo(self._conninfo, **_KEEPALIVE), autocommit=True)
        return self._connection

    def _drop(self) -> None:
        self.epoch = 0
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _take_lock(self, connection: psycopg.Connection[Any]) -> bool:
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", [self._key]).fetchone()
        return bool(row and row[0])

    def _holds_lock(self, connection: psycopg.Connection[Any]) -> bool:
        row = connection.execute(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            " AND granted AND (classid::bigint << 32) | objid::bigint = %s)"
            " AND (SELECT leader_epoch FROM installation) = %s",
            [self._key, self.epoch],
        ).fetchone()
        return bool(row and row[0])

    def _raise_epoch(self, connection: psycopg.Connection[Any]) -> int:
        with connection.transaction():
            connection.execute("UPDATE heartbeats SET leader = false WHERE leader")
            row = connection.execute(
                "UPDATE installation SET leader_epoch = leader_epoch + 1 RETURNING leader_epoch"
            ).fetchone()
        assert row is not None
        return int(row[0])

    def _end_stale_leader(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(
            "SELECT pg_terminate_backend(l.pid, 1000) FROM heartbeats h"
            " JOIN pg_locks l ON l.pid = h.backend_pid AND l.locktype = 'advisory'"
            "  AND (l.classid::bigint << 32) | l.objid::bigint = %s"
            " WHERE h.leader AND h.beat_at < clock_timestamp() - make_interval(secs => %s)",
            [self._key, STALE_AFTER],
        )
        connection.execute("DELETE FROM heartbeats WHERE beat_at < clock_timestamp() - interval '10 minutes'")

    def _write(self, connection: psycopg.Connection[Any]) -> None:
        me = self.process
        connection.execute(
            "INSERT INTO heartbeats (process_id, kind, host, boot_id, pid, version, backend_pid, leader,"
            " leader_epoch, beat_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, pg_backend_pid(), %s, %s, clock_timestamp())"
            " ON CONFLICT (process_id) DO UPDATE SET backend_pid = excluded.backend_pid,"
            " leader = excluded.leader, leader_epoch = excluded.leader_epoch, beat_at = excluded.beat_at",
            [me.id, self._kind, me.host, me.boot_id, me.pid, __version__, self.leads, self.epoch],
        )


def list_processes(session: Session) -> tuple[Beat, ...]:
    """Processes that beat within the last minute, the leader first."""
    rows = session.execute(
        text(
            "SELECT process_id, kind, host, pid, version, leader,"
            " extract(epoch FROM clock_timestamp() - beat_at)::float FROM heartbeats"
            " WHERE beat_at > clock_timestamp() - interval '1 minute' ORDER BY leader DESC, process_id"
        )
    )
    return tuple(Beat(*row) for row in rows)


def announce(session: Session) -> None:
    """Tell the screens that leadership may have changed hands."""
    events.emit(session, "leader", 0)
