"""The process that works on a run: its lock, heartbeat, orders and how it says that it failed."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, TypeVar

from persona_tui.errors import NotAllowedNow, PersonaError
from persona_tui.gpu.host_memory import is_out_of_memory
from persona_tui.gpu.training.durable import DiskFull, remove_parts, write_durably
from persona_tui.gpu.training.folder import Control, RunFolder, Status
from persona_tui.gpu.training.pulse import WAITS_FOR_SPACE, Pulse
from persona_tui.gpu.training.supervisor import FOLLOWER_FILE

T = TypeVar("T")

BEAT_EVERY = 1.0
"""Seconds between heartbeats."""
EXIT_PAUSED, EXIT_STOPPED = 3, 4


class Interrupted(Exception):
    """The operator wants the run to rest.

    Attributes:
        status: what becomes of it: paused or stopped.
    """

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


class Worker:
    """One process at work on one run.

    A full disk makes it wait, never fail: what lies in memory is worth hours. SIGTERM stops it at the next
    boundary between optimizer steps.
    """

    def __init__(self, folder: RunFolder, *, poll: float = 0.5) -> None:
        """Args:
        poll: seconds between two looks for room on a full disk.
        """
        self.folder = folder
        self._poll = poll
        self._stack = ExitStack()
        self._ended = threading.Event()
        self._told_to_stop = False

    def __enter__(self) -> Worker:
        """Take the folder.

        Raises:
            NotAllowedNow: another process works in it.
            FolderGone: it is not there.
            StorageError: it can't be written.
        """
        self.folder.require()
        self._stack.enter_context(self.folder.locked())
        remove_parts(self.folder.path)
        self.pulse = Pulse(self.folder.heartbeat_file)
        self._stack.callback(self.pulse.close)
        beating = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        beating.start()
        self._stack.callback(beating.join)
        self._stack.callback(self._ended.set)
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGTERM, self._stop)
            self._stack.callback(signal.signal, signal.SIGTERM, before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_EVERY):
            with suppress(OSError):
                self.pulse.beat()

    def _stop(self, *_: object) -> None:
        self._told_to_stop = True

    def control(self) -> Control:
        """What is wanted now; a SIGTERM counts as "stop", and so does a consent that has run out."""
        told = self.folder.control()
        ended = told.until is not None and time.time() >= told.until
        return Control("stop", told.steps, told.until) if self._told_to_stop or ended else told

    def obey(self) -> None:
        """Leave, where that is wanted.

        Raises:
            Interrupted: pause or stop is wanted.
        """
        want = self.control().want
        if want != "run":
            raise Interrupted("paused" if want == "pause" else "stopped")

    def insist(self, write: Callable[[], T]) -> T:
        """Write something, however long the disk is full.

        Raises:
            Interrupted: stop or pause is wanted meanwhile; what was to be written is not.
            FolderGone: the folder was moved or removed meanwhile.
            StorageError: it can't be written for another reason.
        """
        waiting = False
        while True:
            self.folder.require()
            try:
                done = write()
            except DiskFull as full:
                if not waiting:
                    sys.stderr.write(f"{full.message}\n")
                waiting = True
                self.pulse.waiting(WAITS_FOR_SPACE)
                self.obey()
                time.sleep(self._poll)
            else:
                if waiting:
                    self.pulse.waiting("training")
                    self.log("space", message="There is room again; it goes on.")
                return done

    def log(self, event: str, **facts: Any) -> None:
        """Append a line to the run's log, however long the disk is full.

        Raises:
            Interrupted, StorageError: as `insist`.
        """
        self.insist(lambda: self.folder.log(event, **facts))


class Parted(Exception):
    """Another process of the run is gone, so this one can't go on: what became of it is seen from outside."""


def run_stage(folder: RunFolder, status: Status, stage: Callable[[Worker], Status]) -> int:
    """Carry out one stage of a run in this process.

    Args:
        status: what the run is at meanwhile.
        stage: the work; gives what the run has become.

    Returns:
        The process's exit code: 0 done, 1 or 2 failed as `PersonaError.exit_code` says, 3 paused, 4 stopped.
    """
    try:
        with Worker(folder) as worker:
            return _carried_out(worker, status, stage)
    except PersonaError as problem:
        # Another process has the folder, or it can't be written: its log is not ours to write.
        sys.stderr.write(f"{problem.message} {problem.hint}\n")
        return problem.exit_code


def run_follower(folder: RunFolder, rank: int, follow: Callable[[RunFolder], int]) -> int:
    """Take a card's share of a run beside the first process, which alone writes, decides and is told to stop.

    Returns:
        The process's exit code.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        return follow(folder)
    except Parted as gone:
        sys.stderr.write(f"{gone}\n")
        return 1
    except Exception as problem:
        if isinstance(problem, (PersonaError, MemoryError)) or _is_out_of_vram(problem):
            told = explained(problem)
            facts = {"message": f"Process {rank + 1}: {told.message}", "hint": told.hint}
            with suppress(PersonaError):
                write_durably(folder.path / FOLLOWER_FILE, json.dumps(facts).encode())
            sys.stderr.write(f"{told.message} {told.hint}\n")
            return told.exit_code
        traceback.print_exc()
        return 1


def _carried_out(worker: Worker, status: Status, stage: Callable[[Worker], Status]) -> int:
    folder = worker.folder
    try:
        worker.insist(lambda: folder.note(status=status, message="", hint=""))
        worker.log("began", stage=status, pid=worker.pulse.pid)
        became = stage(worker)
        worker.insist(lambda: folder.note(status=became))
        worker.log(became)
        return 0
    except Interrupted as wanted:
        folder.require()
        with suppress(DiskFull):
            folder.note(status=wanted.status)
            folder.log(wanted.status)
        return EXIT_PAUSED if wanted.status == "paused" else EXIT_STOPPED
    except Parted as gone:
        # The run stands as one that was killed, and is taken up as such.
        sys.stderr.write(f"{gone}\n")
        return 1
    except Exception as problem:
        folder.require()  # else what failed is that, whatever it was noticed by
        told = explained(problem)
        with suppress(DiskFull):
            folder.note(status="failed", message=told.message, hint=told.hint)
            trace = "" if isinstance(problem, PersonaError) else traceback.format_exc()
            folder.log("failed", message=told.message, hint=told.hint, traceback=trace)
        sys.stderr.write(f"{told.message} {told.hint}\n")
        return told.exit_code


def explained(problem: Exception) -> PersonaError:
    """What a person is told of an exception."""
    if isinstance(problem, PersonaError):
        return problem
    if _is_out_of_vram(problem):
        return NotAllowedNow(
            "The card ran out of memory.",
            title="Out of VRAM",
            hint="Plan it anew with smaller buckets or a stronger quantisation, or free the card.",
        )
    if is_out_of_memory(problem):
        return NotAllowedNow(
            "The machine had no memory left that this process may take.",
            title="Out of RAM",
            hint="End other programs, or raise the limit (`ulimit -v`, the container's), then resume it.",
        )
    return PersonaError(
        f"The training failed ({type(problem).__name__}: {problem}).", hint="The run's log has the details."
    )


def _is_out_of_vram(problem: Exception) -> bool:
    return type(problem).__name__ == "OutOfMemoryError"
