"""Steps that take much longer than others of their size, and what can be seen of the reason (M10)."""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable
from statistics import median
from typing import Any

import psutil

from persona_tui.gpu.training.buckets import Size

SLOW = 3.0
"""Times the median of the same bucket's steps."""
_LEAST = 8
_REMEMBERED = 64
_QUIET = 60.0
"""Seconds between two explanations."""


class Pace:
    """Watches the seconds of each step. Slowness is told and never rolled back."""

    def __init__(self, reasons: Callable[[], list[str]], now: Callable[[], float] = time.monotonic) -> None:
        """Args:
        reasons: sentences on what may slow a step down at this moment.
        """
        self._reasons = reasons
        self._now = now
        self._taken: dict[Size, deque[float]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))
        self._told = -_QUIET

    def took(self, bucket: Size, seconds: float) -> dict[str, Any] | None:
        """Note a step.

        Returns:
            Facts for the log when it was slow, and none were given within the last minute.
        """
        before = self._taken[bucket]
        usual = median(before) if len(before) >= _LEAST else None
        before.append(seconds)
        if usual is None or seconds < SLOW * usual or self._now() - self._told < _QUIET:
            return None
        self._told = self._now()
        return {
            "seconds": round(seconds, 3),
            "usual": round(usual, 3),
            "bucket": f"{bucket[0]}×{bucket[1]}",
            "reasons": self._reasons() or ["Nothing was seen that explains it."],
        }


class Surroundings:
    """What else happens on this machine: swapping, a busy CPU, the card's own brakes, others on the card."""

    def __init__(self, card: int | None) -> None:
        """Args:
        card: NVML's number of the card; None on the CPU.
        """
        self._card = card
        self._swapped = _swapped_in()

    def reasons(self) -> list[str]:
        """Sentences on what may slow a step down, since the last question."""
        before, self._swapped = self._swapped, _swapped_in()
        found = []
        if self._swapped > before:
            found.append("The machine reads memory back from swap.")
        if os.getloadavg()[0] > 2 * (os.cpu_count() or 1):
            found.append("Other processes keep the CPU busy.")
        if self._card is not None:
            found += _of_card(self._card)
        return found


def _swapped_in() -> int:
    """Bytes read back from swap since boot; 0 where the system does not tell."""
    with contextlib.suppress(OSError, RuntimeError):
        return int(psutil.swap_memory().sin)
    return 0


_BRAKES = (
    ("nvmlClocksEventReasonSwPowerCap", "The card runs at its power limit."),
    ("nvmlClocksEventReasonHwThermalSlowdown", "The card slows down because it is hot."),
    ("nvmlClocksEventReasonSwThermalSlowdown", "The card slows down because it is hot."),
    ("nvmlClocksEventReasonHwPowerBrakeSlowdown", "The power supply tells the card to slow down."),
)
_SPILLED = 0.97
"""Share of the card's memory above which drivers begin to move it to the host's."""


def _others(pids: set[int]) -> list[str]:
    """Whether somebody else computes on the card; in a container the driver has other numbers for all."""
    if os.getpid() in pids:
        others = sorted(pids - {os.getpid()})
        return [f"Another process works on the card (pid {others[0]})."] if others else []
    return ["Another process works on the card."] if len(pids) > 1 else []


def _of_card(index: int) -> list[str]:
    """What the driver says of a card; nothing where it can't be asked."""
    found: list[str] = []
    with contextlib.suppress(Exception):  # no driver, no permission, a card that tells less
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        reasons = pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
        found += [words for name, words in _BRAKES if reasons & getattr(pynvml, name, 0)]
        found += _others({one.pid for one in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)})
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        if memory.used > _SPILLED * memory.total:
            found.append("The card's memory is full; the driver may be moving it to the host's.")
    return list(dict.fromkeys(found))
