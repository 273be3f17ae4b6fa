"""Signs of life for systemd: ready, alive and stopping, one datagram each (sd_notify(3)).

A sign is sent only after a good round of the loop that does the work, so that a program that hangs, or whose
database is away for long, is started again.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress

SIGNS_PER_TIMEOUT = 3
"""systemd's advice is two; one more leaves room for a slow round."""
LONGEST_PAUSE = 20.0


def tell(**facts: str) -> None:
    """Send `READY=1` and the like; without a supervisor, or when it is gone, nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # a socket in Linux's abstract namespace
    message = "\n".join(f"{name}={value}" for name, value in facts.items())
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
        line.setblocking(False)
        line.sendto(message.encode(), address)


def pause() -> float | None:
    """Seconds between two signs; None: the supervisor asks this process for none."""
    try:
        seconds = int(os.environ.get("WATCHDOG_USEC", "")) / 1_000_000
        watched = int(os.environ.get("WATCHDOG_PID", "0")) in {0, os.getpid()}
    except ValueError:
        return None
    return min(seconds / SIGNS_PER_TIMEOUT, LONGEST_PAUSE) if watched and seconds > 0 else None


async def give_signs(last_good: Callable[[], object], status: Callable[[], str]) -> None:
    """Send a sign each time that there was a good round since the last one; never ends.

    Args:
        last_good: something that differs after each good round; None: there was none yet.
        status: one line for `systemctl status`.
    """
    every = pause()
    if every is None:
        return
    told: object = None
    while True:
        good = last_good()
        if good is not None and good != told:
            told = good
            tell(WATCHDOG="1", STATUS=status())
        await asyncio.sleep(every)


__all__ = ["give_signs", "pause", "tell"]
