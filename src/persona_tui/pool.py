"""Long-lived child processes for CPU-heavy work and for libraries that must not run in the app's process."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from persona_tui.errors import PersonaError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

R = TypeVar("R")

_ATTEMPTS = 2
_GRACE = 5.0  # seconds that closing waits for running work, and for a child to end by itself
_LONG = 1 << 16  # bytes from which on an array is not packed with the rest of a message
_CHILD = "import sys; from persona_tui.pool import run_child; run_child(*map(int, sys.argv[1:]))"
_PR_SET_PDEATHSIG = 1
_OOM_SCORE = "500"  # of 1000: when memory runs out the kernel takes the child, not the app or the database


class WorkerDied(PersonaError):
    """The child process ended in the middle of the work, twice: killed, out of memory, or crashed."""

    title = "Worker process died"
    hint = "Free some memory, then try again; Jobs & logs has the details."


class WorkTimeout(PersonaError):
    """The work took longer than it was given; its child process was killed."""

    title = "Work took too long"
    hint = "Try again when the machine is less busy."


class WorkPool:
    """Runs functions in at most `workers` child processes that stay alive between calls.

    A child is started at first use, ignores Ctrl+C, runs at low priority, and dies with this process
    however that ends. What it prints never reaches the terminal. Children are fresh interpreters: a fork
    would copy locks that the app's threads hold, and `multiprocessing` can't spawn one while Textual has
    replaced `sys.stderr`.
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        niceness: int = 10,
        output: Path | None = None,
        idle: float | None = None,
    ) -> None:
        """Args:
        workers: children at most; each is a process with its own copy of whatever it loads.
        niceness: added to the children's nice value.
        output: file that takes what the children print; by default it is thrown away.
        idle: seconds without work after which a child ends and gives its memory back; None keeps it.
        """
        self._all = tuple(_Worker(niceness, output, idle) for _ in range(workers))
        self._idle = list(self._all)
        self._free = asyncio.Semaphore(workers)
        self._closed = False

    async def run(self, function: Callable[..., R], *args: object, timeout: float | None = None) -> R:
        """Call a module-level function in a child and return its result.

        Should the child die, the call is made once more in a new one: the function must be safe to
        run twice. Cancelling the caller lets the work run to its end and drops the result.

        Args:
            function: importable by name; arguments and result are pickled.
            timeout: seconds from the start of the work, or of its child; waiting for a free child
                does not count.

        Raises:
            WorkerDied: the child died twice, or could not be started, or the pool was closed meanwhile.
            WorkTimeout: no result in time; the child has been killed.
            RuntimeError: the pool was closed before.
            Exception: whatever the function raised, with the child's traceback as a note.
        """
        await self._free.acquire()
        if self._closed:
            self._free.release()
            raise RuntimeError("the work pool is closed")
        worker = self._idle.pop()

        def give_back(attempt: asyncio.Task[R]) -> None:
            self._idle.append(worker)
            self._free.release()
            if not attempt.cancelled():
                attempt.exception()  # so that asyncio does not report one whose caller has gone

        attempt = asyncio.create_task(worker.run(function, args, timeout))
        attempt.add_done_callback(give_back)
        return await asyncio.shield(attempt)

    async def aclose(self) -> None:
        """End all children: idle ones at once, busy ones after 5 seconds at most."""
        self._closed = True
        await asyncio.gather(*(asyncio.to_thread(worker.close) for worker in self._all))


class _Job(Generic[R]):
    """One call on its way through a worker's thread."""

    def __init__(self, function: Callable[..., R], args: tuple[object, ...]) -> None:
        self.function = function
        self.args = args
        self.future: Future[R] = Future()
        self.expired = False


class _ChildGone(Exception):
    """The child ended before it replied."""


class _Worker:
    """One child process and the thread that starts it, talks to it, and starts it again when it died.

    PR_SET_PDEATHSIG fires at the end of the *thread* that started the child, so that thread must
    live as long as the child; it also keeps starting and waiting off the event loop. A program that
    ends without closing the pool does not wait for the work.
    """

    def __init__(self, niceness: int, output: Path | None, idle: float | None) -> None:
        self._idle = idle
        self._niceness = niceness
        self._output = output
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="work-pool", daemon=True)
        self._child: _Child | None = None
        self._closing = False

    async def run(self, function: Callable[..., R], args: tuple[object, ...], timeout: float | None) -> R:
        if not self._thread.is_alive() and not self._closing:
            self._thread.start()
        job = _Job(function, args)
        self._jobs.put(job)
        result = asyncio.wrap_future(job.future)
        await asyncio.wait({result}, timeout=timeout)
        if not result.done():
            job.expired = True
            self._kill()
            await asyncio.wait({result})
        return result.result()

    def close(self) -> None:
        self._closing = True
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(_GRACE)
            self._kill()
            self._thread.join()

    def _kill(self) -> None:
        child = self._child
        if child is not None:
            child.process.kill()

    def _serve(self) -> None:
        # A child inherits this mask: no Ctrl+C hits it before it has learned to ignore it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        while (job := self._next_job()) is not None:
            if not job.future.set_running_or_notify_cancel():
                continue
            try:
                job.future.set_result(self._result_of(job))
            except Exception as problem:
                job.future.set_exception(problem)
        self._stop_child()

    def _next_job(self) -> _Job[Any] | None:
        if self._idle is not None and self._child is not None:
            try:
                return self._jobs.get(timeout=self._idle)
            except queue.Empty:
                self._stop_child()
        return self._jobs.get()

    def _result_of(self, job: _Job[R]) -> R:
        name = getattr(job.function, "__name__", "The work")
        for _attempt in range(_ATTEMPTS):
            child = self._living_child(name)
            try:
                if not job.expired:
                    return child.call(job.function, job.args)
            except _ChildGone:
                self._stop_child()
            if job.expired:
                raise WorkTimeout(f"{name} took longer than it was given.")
            if self._closing:
                raise WorkerDied(f"{name} was ended because the program is closing.")
        raise WorkerDied(f"The process that ran {name} died {_ATTEMPTS} times.")

    def _living_child(self, name: str) -> _Child:
        if self._child is None:
            try:
                self._child = _Child(self._niceness, self._output)
            except OSError as problem:
                raise WorkerDied(f"No process could be started for {name}: {problem.strerror}.") from None
        return self._child

    def _stop_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.stop()


class _Child:
    """A running child process and the pipe to it."""

    def __init__(self, niceness: int, output: Path | None) -> None:
        import subprocess
        from multiprocessing.connection import Pipe

        self._pipe, theirs = Pipe()
        with theirs, _opened(output) as printed:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(theirs.fileno()), str(os.getpid()), str(niceness)],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                pass_fds=[theirs.fileno()],
            )
        with contextlib.suppress(BrokenPipeError):  # it died at once; the first call will find out
            self._pipe.send(sys.path)

    def call(self, function: Callable[..., R], args: tuple[object, ...]) -> R:
        """Raises: _ChildGone, or what the function raised."""
        try:
            _send(self._pipe, (function, args))
            worked, value = _receive(self._pipe)
        except (EOFError, OSError):
            raise _ChildGone from None
        if not worked:
            raise value
        result: R = value
        return result

    def stop(self) -> None:
        """Let an idle child end by itself, kill one that doesn't, and reap it."""
        import subprocess

        self._pipe.close()
        try:
            self.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[int]:
    """The file that takes what a child prints."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(output or os.devnull, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def run_child(descriptor: int, parent: int, niceness: int) -> None:
    """What a child process does: serve calls until the parent closes the pipe.

    Args:
        descriptor: of the pipe.
        parent: process id.
        niceness: added to this process's nice value.
    """
    from multiprocessing.connection import Connection

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with(parent)
    os.nice(niceness)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    pipe = Connection(descriptor)
    with contextlib.suppress(EOFError, OSError):  # the parent has closed the pipe
        sys.path[:] = pipe.recv()
        while True:
            _serve_one(pipe)


def _serve_one(pipe: Connection) -> None:
    """Take one call, make it, send the outcome.

    Raises:
        EOFError, OSError: the pipe is closed.
    """
    reply: tuple[bool, object]
    try:
        function, args = _receive(pipe)
    except (EOFError, OSError):
        raise
    except Exception as problem:  # the function's module can't be imported here
        reply = (False, _portable(problem))
    else:
        try:
            reply = (True, function(*args))
        except Exception as problem:
            reply = (False, _portable(problem))
    try:
        _send(pipe, reply)
    except OSError:
        raise
    except Exception as problem:
        _send(pipe, (False, RuntimeError(f"what the call gave back can't be pickled: {problem}")))


def _send(pipe: Connection, value: object) -> None:
    """Send a value; long arrays beside it, as they lie in memory: no thread goes on while they are packed."""
    import pickle

    beside: list[memoryview] = []

    def is_short(array: pickle.PickleBuffer) -> bool:
        raw = array.raw()
        if raw.nbytes >= _LONG:
            beside.append(raw)
        return raw.nbytes < _LONG

    packed = pickle.dumps(value, protocol=5, buffer_callback=is_short)
    pipe.send([raw.nbytes for raw in beside])
    pipe.send_bytes(packed)
    for raw in beside:
        pipe.send_bytes(raw)


def _receive(pipe: Connection) -> Any:
    """What `_send` sent.

    Raises:
        EOFError, OSError: the pipe is closed.
    """
    import pickle

    sizes = pipe.recv()
    packed = pipe.recv_bytes()
    beside = [bytearray(size) for size in sizes]
    for room in beside:
        pipe.recv_bytes_into(room)
    return pickle.loads(packed, buffers=beside)  # noqa: S301 - our own child, over our own pipe


def _portable(problem: Exception) -> Exception:
    """The exception, or where it can't be rebuilt a plain one with its words; its traceback as a note."""
    note = f"In the child process:\n{traceback.format_exc()}"
    try:
        copy.copy(problem)
    except Exception:
        problem = RuntimeError(f"{type(problem).__name__}: {problem}")
    problem.add_note(note)
    return problem


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, even by SIGKILL."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before this was in force
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
