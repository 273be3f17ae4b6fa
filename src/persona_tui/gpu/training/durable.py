"""Files of a run: whole or not at all, on the disk when a function returns, and a full disk told apart."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from persona_tui.errors import StorageError


class DiskFull(StorageError):
    """No room for a file; nothing was written over."""

    title = "Disk is full"
    hint = "Free some space, then try again."


class FolderGone(StorageError):
    """A run's folder was moved or removed while a process works on it; nothing is made in its place."""

    title = "Folder is gone"
    hint = "Say where it is now: `persona-tui train resume ID --folder FOLDER` goes on there."


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file of lines; what is none is left out."""
    try:
        text = path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            told = json.loads(line)
            if isinstance(told, dict):
                yield told


def append_line(path: Path, line: str) -> None:
    """Append a line by one write; after one that was cut off, on a line of its own.

    Raises:
        DiskFull, StorageError: it can't be written.
    """
    with written(path.parent), path.open("ab+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        cut = end > 0 and os.pread(file.fileno(), 1, end - 1) != b"\n"
        data = (b"\n" if cut else b"") + line.encode() + b"\n"
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_durably(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: fsync, rename, fsync of the folder (M3).

    Raises:
        DiskFull, StorageError: it can't be written; what was there stays.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with written(path.parent):
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def make_folder(path: Path, *, within: Path) -> None:
    """Make a folder and those above it, up to one that must be there; one that is there stays.

    Raises:
        DiskFull, StorageError: it can't be made.
    """
    with written(path):
        for part in [*reversed(path.relative_to(within).parents), path.relative_to(within)][1:]:
            (within / part).mkdir(exist_ok=True)


def sync_folder(path: Path) -> None:
    """Put a folder's entries on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def written(folder: Path) -> Iterator[None]:
    """Tell a failed write in a sentence, a full disk apart from the rest.

    Raises:
        DiskFull, StorageError: instead of the OSError within.
    """
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFull(f"There is no room left in {folder}.") from None
        raise StorageError(f"{folder} can't be written: {problem.strerror}.") from None


def remove_parts(folder: Path) -> None:
    """Remove what a killed process left half written."""
    for part in [path for path in folder.glob(".*.part") if path.is_file()]:
        with contextlib.suppress(OSError):
            part.unlink()
