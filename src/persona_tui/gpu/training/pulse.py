"""The heartbeat of a run's process: that it lives, and that it gets on."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from persona_tui.gpu.training.durable import written

WAITS_FOR_SPACE = "waiting for space"
"""What a process is at that keeps what it can't write on a full disk."""
FREE_SOME = "Free some: it goes on by itself."
HEARTBEAT_BYTES = 512
"""A heartbeat is written over the last one in place, which a full disk does not prevent."""


@dataclass(frozen=True)
class Heartbeat:
    """The last sign of a run's process.

    Attributes:
        pid: of the process.
        started: when it began, by the kernel (clock ticks after boot), so that a pid of another is told.
        step: the last optimizer step that was taken.
        at: seconds of Unix time, to be shown.
        beat: seconds since boot; what age is reckoned by, since clocks are set.
        doing: what it is at: "training", "evaluating", "waiting for space" …
        moved: seconds since boot of the last progress.
    """

    pid: int
    started: int
    step: int
    at: float
    beat: float
    doing: str
    moved: float

    def age(self) -> float:
        """Seconds since it was written, on this machine; large after a reboot, too."""
        since = since_boot() - self.beat
        return since if since >= 0 else float("inf")

    def still_for(self) -> float:
        """Seconds without progress; its process may beat all the same. 0 after a reboot."""
        return max(0.0, since_boot() - self.moved)


def no_room(folder: Path) -> str:
    """The sentence for a process that waits for space; `FREE_SOME` is what to do about it."""
    return f"There is no room left on the disk of {folder}."


class Pulse:
    """Writes the heartbeat of this process, in place."""

    def __init__(self, file: Path) -> None:
        """Write the first one.

        Raises:
            DiskFull, StorageError: there is no room for it.
        """
        self.pid = os.getpid()
        self._started = started_at(self.pid)
        with written(file.parent):
            self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._step, self._doing, self._moved = 0, "starting", since_boot()
        with written(file.parent):
            self.beat()

    def moved(self, step: int, doing: str) -> None:
        """Note progress; the next beat tells it."""
        self._step, self._doing, self._moved = step, doing, since_boot()

    def waiting(self, doing: str) -> None:
        """Note what it is at, without progress."""
        self._doing = doing

    def beat(self) -> None:
        """Write it now."""
        told = Heartbeat(
            self.pid, self._started, self._step, time.time(), since_boot(), self._doing, self._moved
        )
        os.pwrite(self._descriptor, json.dumps(asdict(told)).encode().ljust(HEARTBEAT_BYTES), 0)

    def close(self) -> None:
        """Write no more."""
        os.close(self._descriptor)


def since_boot() -> float:
    """Seconds since this machine started, sleep included; nobody sets this clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


def started_at(pid: int) -> int:
    """When a process began, in clock ticks after boot (proc(5), field 22); 0 where that can't be told."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])
