"""Watched folders: what comes into them is imported, again and again, by the process that leads."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import InvalidRequest, PersonaError, UnknownName
from persona_tui.services.library.booking import folder_name
from persona_tui.services.library.files import Found, look_into, shown
from persona_tui.services.library.imports import NICENESS, Import, ImportPlan, Kept, SessionScope
from persona_tui.services.media import MediaStore

SETTLED_SECONDS = 3.0
"""A file that was written to more lately is left for the next look: it may be half copied."""


@dataclass(frozen=True)
class WatchedFolder:
    """A folder that is watched.

    Attributes:
        accept: its pictures count at once; otherwise they wait for a look.
    """

    id: int
    persona_id: int
    root: str
    accept: bool
    kept: Kept
    cluster_id: int | None
    looked_at: datetime | None


def watch(
    session: Session,
    persona_id: int,
    folder: Path,
    *,
    accept: bool,
    kept: Kept = "copy",
    cluster_id: int | None = None,
) -> None:
    """Watch a folder, or change how it is watched.

    Raises:
        UnknownName: there is no such folder.
        InvalidRequest: it is a file, or its path is not UTF-8.
    """
    place = folder.expanduser().absolute()
    if not place.exists():
        raise UnknownName(
            f"There is no folder {shown(place)}.", title="Missing folder", hint="Check the path."
        )
    if not place.is_dir():
        raise InvalidRequest(f"{shown(place)} is no folder.", hint="Name the folder that it lies in.")
    if folder_name(place) != str(place):
        raise InvalidRequest(f"The path {shown(place)} is not UTF-8.", hint="Rename the folder.")
    values: dict[str, Any] = {"persona": persona_id, "root": str(place)}
    values |= {"accept": accept, "kept": kept, "cluster": cluster_id}
    if not rows_of(session, _CHANGE, values):
        rows_of(session, _WATCH, values)


def unwatch(session: Session, persona_id: int, folder: Path) -> None:
    """Watch a folder no longer; what came from it stays.

    Raises:
        UnknownName: it is not watched.
    """
    place = folder.expanduser().absolute()
    if not rows_of(session, _UNWATCH, {"persona": persona_id, "root": folder_name(place)}):
        raise UnknownName(
            f"{shown(place)} is not watched.", hint="`persona-tui photos watch PERSONA` shows what is."
        )


def watched(session: Session, persona_id: int | None = None) -> tuple[WatchedFolder, ...]:
    """Watched folders of one persona or of all."""
    return tuple(WatchedFolder(*row) for row in rows_of(session, _WATCHED, {"persona": persona_id}))


@dataclass(frozen=True)
class LeftOut:
    """A file of a watched folder that can't be imported, and why."""

    path: Path
    sentence: str


def left_out(session: Session, folder: WatchedFolder) -> tuple[LeftOut, ...]:
    """Files that could not be imported and lie there still; they are tried again once they change."""
    rows = rows_of(session, _FAILED, {"import": folder.id})
    found = (LeftOut(Path(folder.root) / os.fsdecode(bytes(path)), sentence) for path, sentence in rows)
    return tuple(one for one in found if one.path.exists())


class Watcher:
    """Looks into all watched folders, and imports what is new."""

    def __init__(self, scope: SessionScope, media: MediaStore) -> None:
        self._scope = scope
        self._media = media
        self._stopped = False
        self._under_way: Import | None = None

    def look(self) -> str:
        """Look once. Blocks.

        Returns:
            What is wrong with a folder or a file in it, in a sentence; empty when all is well.
        """
        with self._scope() as session:
            folders = watched(session)
        trouble = ""
        for folder in folders:
            root = Path(folder.root)
            if not root.is_dir():
                trouble = f"The watched folder {shown(root)} is gone."
                continue
            try:
                self._import(folder, root)
            except PersonaError as problem:
                trouble = problem.message
                continue
            with self._scope() as session:
                bad = left_out(session, folder)
            if bad:
                more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
                trouble = (
                    f"{shown(bad[0].path)}{more} of a watched folder can't be imported: {bad[0].sentence}"
                )
        return trouble

    def stop(self) -> None:
        """End a look that is under way, soon; from any thread."""
        self._stopped = True
        if self._under_way is not None:
            self._under_way.stop()

    def _import(self, folder: WatchedFolder, root: Path) -> None:
        plan = ImportPlan(folder.persona_id, root, folder.accept, folder.kept, folder.cluster_id, watch=True)
        self._under_way = Import(
            self._scope, self._media, plan, found=Settled(root), threads=1, niceness=NICENESS
        )
        if self._stopped:
            return
        for _ in self._under_way:
            pass


class Settled:
    """A folder's files that nobody has written to for some seconds; may be gone through several times."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __iter__(self) -> Iterator[Found]:
        latest = (time.time() - SETTLED_SECONDS) * 1e9
        return (found for found in look_into(self._root) if found.problem or found.modified_ns <= latest)


_WATCH = """
INSERT INTO photo_imports (persona_id, root, accept, kept, watch, cluster_id, state)
VALUES (:persona, :root, :accept, :kept, true, :cluster, 'done')
"""
_CHANGE = """
UPDATE photo_imports SET accept = :accept, kept = :kept, cluster_id = :cluster
WHERE persona_id = :persona AND root = :root AND watch RETURNING id
"""
_UNWATCH = "DELETE FROM photo_imports WHERE persona_id = :persona AND root = :root AND watch RETURNING id"
_FAILED = """
SELECT path_bytes, sentence FROM photo_import_files
WHERE import_id = :import AND outcome = 'failed' ORDER BY path_bytes
"""
_WATCHED = """
SELECT id, persona_id, root, accept, kept, cluster_id, looked_at FROM photo_imports
WHERE watch AND (CAST(:persona AS bigint) IS NULL OR persona_id = :persona) ORDER BY id
"""
