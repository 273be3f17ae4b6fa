"""SIGHUP and SIGTERM end the program as quitting does, so that it lets go of the database and all else.

A closed terminal, `tmux kill-session` and a broken SSH connection send SIGHUP, which would kill a process
where it stands; the embedded database server would go on without anybody who uses it.
"""

from __future__ import annotations

import os
import signal
import termios
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

ENDINGS = (signal.SIGHUP, signal.SIGTERM)


def unwind_on_signals() -> None:
    """From now on these signals raise SystemExit in the main thread; one that is ignored (nohup) stays so."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in ENDINGS:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _unwind)


def call_on_signals(loop: asyncio.AbstractEventLoop, end: Callable[[int], None]) -> None:
    """Have the loop call `end` with the signal's number, in place of what `unwind_on_signals` does."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in ENDINGS:
        if signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, end, number)


def ignore_signals() -> None:
    """Let nothing interrupt the end that has begun: a closing terminal sends its signal more than once."""
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)


def leave_lost_terminal() -> None:
    """Where the terminal is gone, and touching it fails: read from nothing and write to nothing."""
    try:
        termios.tcgetattr(0)
    except termios.error:
        pass
    else:
        return
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)


def _unwind(number: int, _frame: FrameType | None) -> None:
    ignore_signals()
    raise SystemExit(128 + number)
