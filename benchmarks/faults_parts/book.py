"""Results, one line of JSON for each case: what was played once is not played again when resuming."""

from __future__ import annotations

import json
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.faults_parts.sizes import Row
from benchmarks.faults_parts.stage import ROOT

Play = Callable[..., Row]
"""(stage, **case) → what came of it."""
OpenStage = Callable[[], object]
NOT_OURS: Row = {"hit": False, "boundaries": 0}
"""Said of a case that another process plays; a sweep ends with it."""


@dataclass(frozen=True)
class Share:
    """What one of several processes plays: sweeps and single cases, dealt out by their names.

    Attributes:
        number: of this process, from 0.
        of: how many there are.
    """

    number: int
    of: int

    def holds(self, test: str, case: dict[str, Any]) -> bool:
        """Whether this process plays the case; all points of a sweep are one's."""
        name = _key(test, {name: value for name, value in case.items() if name != "n"})
        return zlib.crc32(name.encode()) % self.of == self.number


class Book:
    """Plays cases and keeps what came of them."""

    def __init__(
        self,
        plays: dict[str, Play],
        path: Path,
        stage: OpenStage,
        *,
        resume: bool,
        share: Share | None = None,
    ) -> None:
        """Args:
        plays: name of a test → its one case.
        path: the results; without `resume` it is begun anew.
        stage: opened when the first case is played.
        share: play these cases alone.
        """
        self._plays = plays
        self._path = path
        self._stage = stage
        self._share = share
        self._commit = commit()
        self.rows: dict[str, Row] = {}
        if resume and path.exists():
            kept = (json.loads(line) for line in path.read_text().splitlines() if line.endswith("}"))
            self.rows = {_key(row["test"], row["case"]): row for row in kept}
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")

    def run(self, test: str, **case: Any) -> Row:
        """The result of a case, played now unless it is in the book."""
        key = _key(test, case)
        if key not in self.rows:
            if self._share is not None and not self._share.holds(test, case):
                return NOT_OURS
            began = time.monotonic()
            result = self._plays[test](self._stage(), **case)
            row = {
                "test": test,
                "case": case,
                "commit": self._commit,
                "wall": round(time.monotonic() - began, 2),
                "result": result,
            }
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            self.rows[key] = row
        found: Row = self.rows[key]["result"]
        return found

    def of(self, test: str) -> Iterator[Row]:
        """All rows of one test."""
        return (row for row in self.rows.values() if row["test"] == test)


def _key(test: str, case: dict[str, Any]) -> str:
    return json.dumps([test, case], sort_keys=True)


def commit() -> str:
    """The commit of the checkout, with a plus when files differ from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--abbrev=10"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"
