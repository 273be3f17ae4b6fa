"""The end of the JSON log, read as it grows."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from persona_tui.text import clean

TAIL = 512 * 1024
"""Bytes read of a log that was there before."""
LEVELS = ("debug", "info", "warning", "error", "critical")
_FIRST_FIELDS = frozenset({"timestamp", "level", "event", "logger"})


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the log.

    Attributes:
        number: counts the lines read; identity of the entry.
        time: when it was written, in UTC; None where the line does not say.
        level: in lower case.
        event: what happened.
        logger: who said so.
        details: the other fields.
    """

    number: int
    time: datetime | None
    level: str
    event: str
    logger: str
    details: dict[str, str] = field(default_factory=dict)

    def is_at_least(self, level: str) -> bool:
        """Whether the entry is of this level or a graver one."""
        return _rank(self.level) >= _rank(level)


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)


class LogTail:
    """Reads a rotating log file from its end on; made for one thread at a time.

    Args:
        path: the newest file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode: int | None = None
        self._offset = 0
        self._rest = b""
        self._count = 0

    def read_new(self) -> list[LogEntry]:
        """The entries written since the last call; at first, those in the last 512 KiB.

        A file that was rotated away or cut is read anew from its start.

        Raises:
            OSError: the file is there and can't be read.
        """
        try:
            with self._path.open("rb") as file:
                return self._read(file)
        except FileNotFoundError:
            self._inode = None
            return []

    def _read(self, file: Any) -> list[LogEntry]:

        state = os.fstat(file.fileno())
        if self._inode is None:
            self._offset = max(0, state.st_size - TAIL)
            self._rest = b""
        elif state.st_ino != self._inode or state.st_size < self._offset:
            self._offset, self._rest = 0, b""
        cut = self._inode is None and self._offset > 0
        self._inode = state.st_ino
        file.seek(self._offset)
        data = self._rest + file.read(state.st_size - self._offset)
        self._offset = state.st_size
        *lines, self._rest = data.split(b"\n")
        return [self._entry(line) for line in (lines[1:] if cut else lines) if line.strip()]

    def _entry(self, line: bytes) -> LogEntry:
        self._count += 1
        text = line.decode("utf-8", "replace")
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            return LogEntry(self._count, None, "info", clean(text, keep_lines=False), "")
        return LogEntry(
            self._count,
            _time(found.get("timestamp")),
            str(found.get("level", "info")).lower(),
            clean(str(found.get("event", "")), keep_lines=False),
            clean(str(found.get("logger", "")), keep_lines=False),
            {clean(str(key)): clean(str(value)) for key, value in found.items() if key not in _FIRST_FIELDS},
        )


def _time(written: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(written))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
