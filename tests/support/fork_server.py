"""Processes that are killed on the way (R22): orders are read as JSON lines, each is carried out by a fork.

The parent holds no connection, no loop and no thread, so a fork costs no imports. Answers, one JSON object a
line: the signal that ended the child (0: none), its exit code, and what `told` makes of the child's lines.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import psycopg

from persona_tui.database.engine import Database, open_database
from persona_tui.logs import configure_logging
from persona_tui.settings import Settings

Order = dict[str, Any]


def serve(
    carry_out: Callable[[Order, Path], None],
    told: Callable[[list[str]], dict[str, Any]] = lambda lines: {"boundaries": lines},
) -> None:
    """Carry out orders until the end of stdin.

    Args:
        carry_out: given an order and a file for the child's lines, in a fork; never returns.
        told: what the answer says of the child's lines.
    """
    for line in sys.stdin:
        order: Order = json.loads(line)
        with tempfile.NamedTemporaryFile() as reached:
            child = os.fork()
            if child == 0:
                carry_out(order, Path(reached.name))
            _, status = os.waitpid(child, 0)
            answer = {
                "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
                "exit": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
                **told(Path(reached.name).read_text().split()),
            }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


class Killer:
    """Notes each boundary, and ends the process by SIGKILL at the one that was ordered.

    An order names the boundary's number, `n`, or the first one called `boundary` at which the SQL `when` is
    true.
    """

    def __init__(self, order: Order, eye: psycopg.Connection[Any], log: TextIO) -> None:
        """Args:
        eye: a connection of its own to look with.
        log: takes a line for each boundary, unbuffered.
        """
        self._order = order
        self._eye = eye
        self._log = log
        self._count = 0
        self._lock = threading.Lock()

    def __call__(self, boundary: str) -> None:
        with self._lock:
            self._log.write(boundary + "\n")
            self._count += 1
            if self._count == self._order.get("n") or self._is_there(boundary):
                os.kill(os.getpid(), signal.SIGKILL)

    def _is_there(self, boundary: str) -> bool:
        if boundary != self._order.get("boundary"):
            return False
        row = self._eye.execute(self._order["when"]).fetchone()
        return row is not None and bool(row[0])


def database_of(facts: dict[str, Any]) -> Database:
    """The world's database, opened in a child whose stdout carries answers.

    Args:
        facts: of `tests.support.publishing.World.facts`.
    """
    configure_logging(Path(facts["folder"]) / "child.log")
    settings = Settings(
        data_dir=Path(facts["data_dir"]), database_schema=facts["database_schema"], environment="sandbox"
    )
    return open_database(settings, start=False)
