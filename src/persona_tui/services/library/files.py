"""Files of a folder: found one by one, and read so that one that changes meanwhile is noticed."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from persona_tui import boundaries
from persona_tui.errors import InvalidRequest, UnknownName
from persona_tui.services.media import FILM_SUFFIXES
from persona_tui.text import clean

PICTURE_SUFFIXES = frozenset({"jpg", "jpeg", "png", "webp", "tif", "tiff", "heic", "heif"})
SUFFIXES = PICTURE_SUFFIXES | FILM_SUFFIXES
MAX_BYTES = 256 * 1024 * 1024
"""Larger pictures are refused unread; films may have any length."""
_TRIES = 3
_PAUSE = 0.2  # seconds before a file that changed is read again
_BLOCK = 1 << 20

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """A file that may be imported, or a folder that can't be read.

    Attributes:
        below: its path below the folder, as the file system has it: names need not be UTF-8.
        problem: why it can't be looked at; empty where it can.
    """

    path: Path
    below: bytes
    size: int = 0
    modified_ns: int = 0
    problem: str = ""

    @property
    def is_film(self) -> bool:
        """Whether its name says so."""
        return suffix_of(self.below) in FILM_SUFFIXES


@dataclass(frozen=True)
class Read(Generic[T]):
    """What was made of a file, and the size and time that it had all the while."""

    value: T
    size: int
    modified_ns: int


def suffix_of(name: bytes) -> str:
    """What stands behind the last dot of a name, in small letters."""
    return os.fsdecode(name.rpartition(b".")[2]).lower()


def shown(path: Path | bytes) -> str:
    """A path for people: bytes that are no UTF-8 as \\xNN, without what could command a terminal."""
    raw = path if isinstance(path, bytes) else os.fsencode(path)
    return clean(raw.decode("utf-8", "backslashreplace"), keep_lines=False)


def find_files(path: Path) -> tuple[Path, ...]:
    """All pictures and films at this path; see `look_into`."""
    require_pictures(path)
    return tuple(found.path for found in look_into(path) if not found.problem)


def require_pictures(path: Path) -> None:
    """Refuse a path at which there is nothing to import.

    Raises:
        UnknownName: there is nothing at this path.
        InvalidRequest: no permission, or no picture there.
    """
    if not os.path.lexists(path):
        raise UnknownName(
            f"There is no folder {shown(path)}.", title="Missing folder", hint="Check the path."
        )
    first = next(look_into(path), None)
    if first is None:
        kinds = ", ".join(sorted(SUFFIXES))
        raise InvalidRequest(f"There is no picture in {shown(path)}.", hint=f"These are read: {kinds}.")
    if first.problem and first.path == path:
        raise InvalidRequest(f"{shown(path)} can't be read: {first.problem}.", hint="Check its permissions.")


def look_into(root: Path) -> Iterator[Found]:
    """Pictures and films at this path: the file itself, or all below the folder, each folder by name.

    Hidden ones are left out. Links are followed, but no folder is looked into twice. Folders that can't be
    read are yielded with the reason.
    """
    if not root.is_dir():
        if suffix_of(os.fsencode(root)) in SUFFIXES:
            yield _found(root, os.fsencode(root.name))
        return
    waiting, seen = [(root, b"")], set[tuple[int, int]]()
    while waiting:
        folder, below = waiting.pop()
        try:
            about = folder.stat()
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            with os.scandir(os.fsencode(folder)) as entries:
                listed = sorted((entry.name, _is_folder(entry)) for entry in entries)
        except OSError as problem:
            yield Found(folder, below, problem=problem.strerror or "it can't be read")
            continue
        deeper = []
        for name, is_folder in listed:
            if name.startswith(b"."):
                continue
            path, place = folder / os.fsdecode(name), below + b"/" * bool(below) + name
            if is_folder:
                deeper.append((path, place))
            elif suffix_of(name) in SUFFIXES:
                yield _found(path, place)
        waiting.extend(reversed(deeper))


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _found(path: Path, below: bytes) -> Found:
    try:
        about = path.stat()
    except OSError as problem:
        return Found(path, below, problem=problem.strerror or "it can't be read")
    if not stat.S_ISREG(about.st_mode):
        return Found(path, below, problem="it is no plain file")
    return Found(path, below, about.st_size, about.st_mtime_ns)


def read_steadily(path: Path, work: Callable[[BinaryIO, int], T]) -> Read[T]:
    """Make something of a file that stays the same meanwhile; one that changes is read again, twice.

    Args:
        work: takes the open file and its length in bytes, and stores nothing that must not stay.

    Raises:
        InvalidRequest: it is empty, no plain file, or changes all the time.
        OSError: it can't be read.
    """
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE)
        with _opened(path) as file:
            before = os.fstat(file.fileno())
            try:
                value = work(file, before.st_size)
            except InvalidRequest:
                if not _has_changed(file, before):
                    raise
                continue
            if not _has_changed(file, before):
                return Read(value, before.st_size, before.st_mtime_ns)
    raise InvalidRequest("The file changes while it is read.", hint="Import it again when it is finished.")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    # Not to wait for a writer, should the file have become a pipe since it was found.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb", buffering=0) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise InvalidRequest("It is no plain file.")
        if about.st_size == 0:
            raise InvalidRequest("The file is empty.", hint="Copy it here again.")
        yield file


def _has_changed(file: BinaryIO, before: os.stat_result) -> bool:
    boundaries.reached("file:read")
    after = os.fstat(file.fileno())
    return (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns)


def whole(file: BinaryIO, size: int) -> bytes:
    """A picture's bytes.

    Raises:
        InvalidRequest: it is larger than 256 MB.
    """
    if size > MAX_BYTES:
        raise InvalidRequest(f"The file has {size:,} bytes; {MAX_BYTES:,} is the most for a picture.")
    parts = []
    while part := file.read(max(size, _BLOCK)):
        parts.append(part)
        if sum(map(len, parts)) > MAX_BYTES:
            break
    return parts[0] if len(parts) == 1 else b"".join(parts)


def sha256_of(file: BinaryIO) -> str:
    """The hash of a file of any length, which is at its beginning again afterwards."""
    digest = hashlib.sha256()
    while part := file.read(_BLOCK):
        digest.update(part)
    file.seek(0)
    return digest.hexdigest()
