"""Time that is moved on instead of waited for: the database's, the sandbox's and the boot clock together."""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import struct
import threading
from asyncio import to_thread
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psycopg

from persona_tui.services.publishing.hands import boot_seconds

_SECONDS = struct.Struct("d")


class VirtualClock:
    """Real time plus what was added to it; all processes of a stage share the addition through a file."""

    def __init__(self, facts: Mapping[str, Any], conninfo: str) -> None:
        """Args:
        facts: `clock` (a file), `instagram` (the sandbox's address) and `token`.
        conninfo: of the database's owner, who alone may move its clock.
        """
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {facts['token']}"}, trust_env=False, verify=False
        )
        self._address = f"{facts['instagram']}/_sandbox/clock"
        self._connection = psycopg.connect(conninfo, autocommit=True)
        self._lock = threading.Lock()
        self._moving = False
        self._wakes: list[float] = []
        self._file = os.open(facts["clock"], os.O_RDWR)
        self._moved = mmap.mmap(self._file, _SECONDS.size)

    @staticmethod
    def make(path: Path) -> None:
        """The file for a clock that has not been moved."""
        path.write_bytes(_SECONDS.pack(0.0))

    @property
    def moved(self) -> float:
        """Seconds by which it was moved on, by whomever."""
        return float(_SECONDS.unpack(self._moved[: _SECONDS.size])[0])

    def boot(self) -> float:
        """The boot clock, with what was added."""
        return boot_seconds() + self.moved

    def advance(self, seconds: float) -> None:
        """Move all clocks on (with a negative number: back, but for the boot clock)."""
        with self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                self._http.post(self._address, json={"advance": seconds}).raise_for_status()
                self._connection.execute(
                    "UPDATE installation SET clock_offset = clock_offset + make_interval(secs => %s)",
                    [seconds],
                )
                self._moved[: _SECONDS.size] = _SECONDS.pack(self.moved + max(seconds, 0.0))
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    async def sleep(self, seconds: float) -> None:
        """What the product calls to wait: when all that publish in this process wait, time is moved on."""
        wake = self.boot() + seconds
        self._wakes.append(wake)
        try:
            while self.boot() < wake:
                if self._moving or len(self._wakes) < _publishing():
                    await asyncio.sleep(0.001)
                    continue
                self._moving = True
                try:
                    await to_thread(self.advance, max(min(self._wakes) - self.boot(), 0.0))
                finally:
                    self._moving = False
        finally:
            self._wakes.remove(wake)

    def reconnect(self, conninfo: str) -> None:
        """Go on with a database that was away."""
        self._connection.close()
        self._connection = psycopg.connect(conninfo, autocommit=True)

    def reset(self) -> None:
        """Real time again, but for the database's, which a sweep sets back."""
        self._moved[: _SECONDS.size] = _SECONDS.pack(0.0)

    def close(self) -> None:
        """Close file and connections."""
        self._http.close()
        self._connection.close()
        self._moved.close()
        os.close(self._file)


def _publishing() -> int:
    """How many pieces of work are under way on this loop, as `crew.Crew` names them."""
    return sum(task.get_name().startswith("publishing account") for task in asyncio.all_tasks())
