"""The whole app's core in a process of its own, which ends itself by SIGKILL at a named moment."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass
from typing import Any

import psycopg
from tests.support.day import play_day

from persona_tui import boundaries
from persona_tui.settings import Settings

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Moment:
    """A boundary at which the database's state is such.

    Attributes:
        boundary: name, see `persona_tui.boundaries`.
        when: SQL that gives one boolean.
    """

    boundary: str
    when: str


def play_in_child(settings: Settings, conninfo: str, moment: Moment | None) -> int:
    """Play the day in a child; returns its exit code, −9 when the moment came."""
    child = _processes.Process(target=_main, args=(settings, conninfo, moment))
    child.start()
    child.join(90)
    if child.exitcode is None:
        child.kill()
        raise AssertionError("the day did not end")
    return child.exitcode


def _main(settings: Settings, conninfo: str, moment: Moment | None) -> None:
    if moment is not None:
        _watch(conninfo, moment)
    asyncio.run(play_day(settings))


def _watch(conninfo: str, moment: Moment) -> None:
    lock = threading.Lock()
    connections: list[psycopg.Connection[Any]] = []

    def observe(boundary: str) -> None:
        if boundary != moment.boundary:
            return
        with lock:
            if not connections:
                connections.append(psycopg.connect(conninfo, autocommit=True))
            row = connections[0].execute(moment.when.encode()).fetchone()
            if row is not None and row[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    boundaries.observe(observe)
