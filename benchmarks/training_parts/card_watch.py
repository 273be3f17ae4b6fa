"""Watches a stage's processes from outside: what the driver says of the card, and the host's memory."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from persona_tui.services.lease import ReadCards

_EVERY = 0.05
"""Seconds between two looks. What torch has taken of a card it keeps, so that little is missed."""


class Running(Protocol):
    """A stage's process."""

    @property
    def pid(self) -> int:
        """Of the process itself."""

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""


@dataclass(frozen=True)
class Watched:
    """What a stage took.

    Attributes:
        code: it exited with; negative: the signal that ended it.
        vram: most bytes of the card.
        told: whether NVML told them of its processes; else they are the card's, less what was taken before.
        ram: most bytes of the host's resident in its processes together.
    """

    code: int
    vram: int
    told: bool
    ram: int
    seconds: float


def watch(
    running: Running, cards: ReadCards, before: int, kill_when: Callable[[], bool] = lambda: False
) -> Watched:
    """Look on until a stage has ended.

    Args:
        before: bytes of the card that were taken before it began.
        kill_when: whether it is to be killed now, by SIGKILL.
    """
    begun, own, whole, ram = time.monotonic(), 0, 0, 0
    while (code := running.poll()) is None:
        tree = _tree(running.pid)
        for card in cards()[:1]:
            own = max(own, sum(one.memory or 0 for one in card.processes if one.pid in tree))
            whole = max(whole, card.memory_used - before)
        ram = max(ram, sum(map(_resident, tree)), *map(_high_water, tree))
        if kill_when():
            os.kill(running.pid, signal.SIGKILL)
        time.sleep(_EVERY)
    return Watched(code, own or whole, own > 0, ram, time.monotonic() - begun)


def _tree(pid: int) -> set[int]:
    with contextlib.suppress(psutil.Error):
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    return {pid}


def _resident(pid: int) -> int:
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _high_water(pid: int) -> int:
    """The most that a process has held since it began; 0 where the system does not tell."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    return 0
