"""Sees when the wall clock jumps: set by hand, stepped by NTP, or wrong since the last suspend."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

log = structlog.get_logger("persona_tui.clock")

LOOK_SECONDS = 5.0
NOTICED = timedelta(seconds=60)
"""Smaller steps are NTP's daily work."""


def boot_seconds() -> float:
    """Seconds since the machine started, those in suspend included (R7)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class ClockWatch:
    """Compares two clocks of one machine, one of which can't be set."""

    def __init__(
        self, *, wall: Callable[[], float] = time.time, boot: Callable[[], float] = boot_seconds
    ) -> None:
        """Args:
        wall: seconds of the clock that people set.
        boot: seconds of one that goes on in suspend and is never set.
        """
        self._wall, self._boot = wall, boot
        self._difference = wall() - boot()

    def look(self) -> timedelta | None:
        """How far the wall clock has jumped since the last look, forward or back; None: it has not."""
        difference = self._wall() - self._boot()
        jump = timedelta(seconds=difference - self._difference)
        self._difference = difference
        return jump if abs(jump) > NOTICED else None


async def watch_clock(
    jumped: Callable[[str], None], *, watch: ClockWatch | None = None, pause: float = LOOK_SECONDS
) -> None:
    """Look for jumps until cancelled.

    Args:
        jumped: called with a sentence for the operator.
        pause: seconds between two looks, which a jump does not shorten.
    """
    watch = watch or ClockWatch()
    while True:
        await asyncio.sleep(pause)
        jump = watch.look()
        if jump is None:
            continue
        log.warning("wall clock jumped", seconds=round(jump.total_seconds()))
        way = "forward" if jump > timedelta(0) else "back"
        far = timedelta(seconds=round(abs(jump).total_seconds()))
        jumped(f"The clock jumped {way} by {far} at {datetime.now(UTC):%H:%M} UTC: look at what is due.")


__all__ = ["NOTICED", "ClockWatch", "boot_seconds", "watch_clock"]
