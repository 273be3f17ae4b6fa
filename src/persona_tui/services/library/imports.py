"""Importing a folder: files are read on several threads, and booked in small groups as they come.

Each file's outcome is a row, so an import that was killed goes on where it was, and a file whose size and
time are the same as when it was imported is not read again.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Literal

from sqlmodel import Session

from persona_tui.errors import StorageError
from persona_tui.services.library.booking import Booking, FileOutcome, Known
from persona_tui.services.library.files import Found, look_into
from persona_tui.services.library.taking import Ready, Refused, Taker
from persona_tui.services.media import MediaStore

SessionScope = Callable[[], AbstractContextManager[Session]]
Kept = Literal["copy", "reference"]
Done = Ready | Known | Refused

GROUP, GROUP_SECONDS = 128, 0.5
"""So many files are booked together at most, or what came in so many seconds; at first fewer, to show some
at once."""
_LOOKED_UP = 256
_AHEAD = 8
"""Files on their way for each thread: enough to go on while a group is booked. What was read is a few facts;
pixels are held by the threads alone."""
NICENESS = 10
"""For `niceness`, where an app shall stay quick beside it: Linux has a nice value for each thread."""


@dataclass(frozen=True)
class ImportPlan:
    """What is imported, and how.

    Attributes:
        root: a folder with all below it, or one file.
        accept: the pictures count at once; otherwise they are staged and wait for a look.
        kept: the store keeps a copy, or only where the original lies.
        watch: of a watched folder: what failed or was deleted is not tried again while it is the same.
    """

    persona_id: int
    root: Path
    accept: bool
    kept: Kept = "copy"
    cluster_id: int | None = None
    watch: bool = False

    @property
    def folder(self) -> Path:
        """The folder that the rows are kept under, absolute."""
        place = self.root.absolute()
        return place if place.is_dir() else place.parent


class Import:
    """An import under way: iterate over it for the outcomes. Blocks; not for the event loop's thread.

    Closing the iterator stops it, too: what is booked stays, the rest is imported by the next call.
    """

    def __init__(
        self,
        scope: SessionScope,
        media: MediaStore,
        plan: ImportPlan,
        *,
        found: Iterable[Found] | None = None,
        threads: int | None = None,
        niceness: int = 0,
    ) -> None:
        """Args:
        found: files instead of those that the plan's root has.
        threads: that read and decode; None: one for each core, and one for waiting on the disk.
        niceness: of these threads.
        """
        self.total: int | None = None
        """How many files there are, once they are counted."""
        self._scope = scope
        self._plan = plan
        self._found = found
        self._taker = Taker(media, plan.kept)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._threads = threads or cores + 1
        self._niceness = niceness
        self._stopped = threading.Event()

    def __iter__(self) -> Generator[FileOutcome, None, None]:
        """Yield each file's outcome when it is booked.

        Raises:
            UnknownName: the cluster belongs to another persona or is gone.
            StorageError: the store can't be written (disk full); run again, it goes on from there.
        """
        with self._scope() as session:
            booking = Booking.begin(session, self._plan)
        counter = threading.Thread(target=self._count, name="import-count", daemon=True)
        counter.start()
        ended: Literal["done", "stopped"] = "stopped"
        try:
            with closing(self._groups(booking)) as groups:
                for group in groups:
                    with self._scope() as session:
                        outcomes = booking.book(session, group)
                    yield from outcomes
                    if self._stopped.is_set():
                        return
            ended = "done"
        finally:
            self._stopped.set()
            counter.join()
            with self._scope() as session:
                booking.end(session, ended)

    def stop(self) -> None:
        """Stop when what is being read is booked; from any thread."""
        self._stopped.set()

    def _count(self) -> None:
        count = 0
        for _ in self._files():
            count += 1
            if self._stopped.is_set():
                return
        self.total = count

    def _files(self) -> Iterable[Found]:
        return look_into(self._plan.root) if self._found is None else self._found

    def _groups(self, booking: Booking) -> Generator[list[Done], None, None]:
        """Files that are read, in groups that grow; in the end what an error leaves, then the error."""
        group: list[Done] = []
        booked, last = 0, monotonic()
        try:
            for done in self._read_files(booking):
                group.append(done)
                if len(group) >= min(max(booked, 1), GROUP) or monotonic() - last > GROUP_SECONDS:
                    yield group
                    booked, group, last = booked + len(group), [], monotonic()
        except StorageError as problem:
            if group:
                yield group
            raise StorageError(
                problem.message,
                title=problem.title,
                hint=f"{problem.hint} Then import again: it goes on where it stopped.",
            ) from None
        if group:
            yield group

    def _read_files(self, booking: Booking) -> Iterator[Done]:
        """Each file as it was read, in their order; only a few are held at a time."""
        waiting: deque[Done | Future[Done]] = deque()
        readers = ThreadPoolExecutor(self._threads, "import", _be_nice, (self._niceness,))
        try:
            for found, known in self._looked_up(booking):
                waiting.append(known or readers.submit(self._taker.take, found))
                while len(waiting) > _AHEAD * self._threads or (waiting and _is_done(waiting[0])):
                    yield _result(waiting.popleft())
            while waiting:
                yield _result(waiting.popleft())
        finally:
            readers.shutdown(cancel_futures=True)

    def _looked_up(self, booking: Booking) -> Iterator[tuple[Found, Done | None]]:
        """Each file, with what is known of it already."""
        files = iter(self._files())
        while some := list(islice(files, _LOOKED_UP)):
            with self._scope() as session:
                known = booking.known(session, some)
            for found in some:
                if found.problem:
                    yield found, Refused(found, f"{_place(found)} can't be read: {found.problem}.")
                else:
                    yield found, known.get(found.below)


def import_photos(
    scope: SessionScope,
    media: MediaStore,
    persona_id: int,
    files: Iterable[Path],
    *,
    cluster_id: int | None = None,
    accept: bool = True,
) -> Iterator[FileOutcome]:
    """Import these files, whatever folder they lie in; see `Import`."""
    by_folder: dict[Path, list[Found]] = {}
    for file in files:
        for found in look_into(file):
            by_folder.setdefault(file.absolute().parent, []).append(found)
    for folder, found_there in by_folder.items():
        plan = ImportPlan(persona_id, folder, accept, cluster_id=cluster_id)
        yield from Import(scope, media, plan, found=found_there)


def _place(found: Found) -> str:
    return "The folder" if found.path.is_dir() else "The file"


def _is_done(waiting: Done | Future[Done]) -> bool:
    return not isinstance(waiting, Future) or waiting.done()


def _result(waiting: Done | Future[Done]) -> Done:
    return waiting.result() if isinstance(waiting, Future) else waiting


def _be_nice(niceness: int) -> None:
    if niceness and sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
