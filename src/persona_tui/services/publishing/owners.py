"""Whether the process that owns a post has ended: proof, not guesswork (R16)."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from persona_tui.services.leadership import this_process

START_TOLERANCE = 200
"""Hundredths of a second by which a process's start time may read differently after the clock was set."""

IsDead = Callable[[str], bool]


def owner_is_dead(owner: str) -> bool:
    """Whether the process 'host:boot id:pid:start time' is proven to have ended (R16).

    Proof is only possible on its own machine; of any other owner the answer is False, and its lease decides.
    """
    parts = owner.rsplit(":", 3)
    me = this_process()
    if len(parts) != 4 or parts[0] != me.host or not (parts[2] + parts[3]).isdigit():
        return False
    if parts[1] != me.boot_id:
        return True
    try:
        process = psutil.Process(int(parts[2]))
        started = int(process.create_time() * 100)
        return abs(started - int(parts[3])) > START_TOLERANCE or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


__all__ = ["IsDead", "owner_is_dead"]
