"""Who uses the embedded server: flocked files, so that a dead process can't be counted (R3)."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from persona_tui.errors import DatabaseUnavailable

_POLL = 0.02


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def server_lock(path: Path, *, timeout: float) -> Iterator[None]:
    """Be the only one, among all processes and threads, that starts or stops this server.

    The kernel drops the lock of a killed process.

    Args:
        timeout: seconds to wait for another that starts or stops it.

    Raises:
        DatabaseUnavailable: another one held it all that time.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + timeout
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    "Another process has been starting or stopping the database for too long.",
                    hint="End other persona-tui processes of this data folder, then try again.",
                )
            time.sleep(_POLL)
        yield
    finally:
        os.close(descriptor)


class Holder:
    """One use of the server. Taken, counted and released under the server's lock only."""

    def __init__(self, folder: Path) -> None:
        """Begin to use the server."""
        self._path = folder / secrets.token_hex(8)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def release(self) -> None:
        """End it. The unlock is explicit, since a forked child may still hold the file open."""
        self._path.unlink(missing_ok=True)
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)


def count_holders(folder: Path) -> int:
    """How many uses there are; files that nobody locks any more are removed."""
    alive = 0
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDWR)
        try:
            if _try_lock(descriptor):
                with suppress(FileNotFoundError):
                    path.unlink()
            else:
                alive += 1
        finally:
            os.close(descriptor)
    return alive
