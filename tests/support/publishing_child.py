"""A process that publishes and is killed on the way: `python -m tests.support.publishing_child`.

Reads orders, one JSON object a line, and forks a child for each (R22): the parent holds no connection, no
loop and no thread, so a fork costs no imports. The child runs one round of the publisher and kills itself
with SIGKILL where the order says:

- `{"n": 7}` at the seventh boundary,
- `{"boundary": "commit:after", "when": "SELECT …"}` at the first such boundary at which that is true.

Answers, one JSON object a line: the signal that ended the child (0: none), and the boundaries it reached.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, TextIO

import psycopg

from persona_tui import boundaries
from persona_tui.database.engine import open_database
from persona_tui.logs import configure_logging
from persona_tui.settings import Settings
from tests.support.publishing import world_of


def main() -> None:
    """Carry out orders until the end of stdin."""
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        with tempfile.NamedTemporaryFile() as reached:
            child = os.fork()
            if child == 0:
                _publish(order, Path(reached.name))
            _, status = os.waitpid(child, 0)
            answer = {
                "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
                "exit": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
                "boundaries": Path(reached.name).read_text().split(),
            }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


class _Killer:
    """Notes each boundary, and ends the process at the one that was ordered."""

    def __init__(self, order: dict[str, Any], eye: psycopg.Connection[Any], log: TextIO) -> None:
        self._order = order
        self._eye = eye
        self._log = log
        self._count = 0

    def __call__(self, boundary: str) -> None:
        self._log.write(boundary + "\n")
        self._count += 1
        if self._count == self._order.get("n") or self._is_there(boundary):
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_there(self, boundary: str) -> bool:
        if boundary != self._order.get("boundary"):
            return False
        row = self._eye.execute(self._order["when"]).fetchone()
        return row is not None and bool(row[0])


def _publish(order: dict[str, Any], reached: Path) -> None:
    """One round; never returns."""
    code = 1
    try:
        facts = order["world"]
        configure_logging(Path(facts["folder"]) / "child.log")  # stdout carries the answers
        settings = Settings(
            data_dir=Path(facts["data_dir"]),
            database_schema=facts["database_schema"],
            environment="sandbox",
        )
        database = open_database(settings, start=False)
        world = world_of(database, facts)
        with database.connect(autocommit=True) as eye, reached.open("a", buffering=1) as log:
            boundaries.observe(_Killer(order, eye, log))
            asyncio.run(world.publish())
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
