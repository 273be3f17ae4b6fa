"""Photos: real pictures imported from files; originals are never touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from persona_tui.errors import InvalidRequest, PersonaError, UnknownName
from persona_tui.models.library import Cluster, ClusterCandidate, Photo
from persona_tui.services import events
from persona_tui.services.library import analyses, clusters
from persona_tui.services.library.pictures import PictureRef
from persona_tui.services.media import MediaStore, StoredPicture
from persona_tui.services.safety import audit
from persona_tui.text import clean

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"})

Outcome = Literal["imported", "already there", "failed"]
SessionScope = Callable[[], AbstractContextManager[Session]]


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file."""

    path: Path
    outcome: Outcome
    photo_id: int | None
    sentence: str


@dataclass(frozen=True)
class PhotoView:
    """A photo as it is shown."""

    id: int
    persona_id: int
    original_name: str
    media_key: str
    sha256: str
    width: int
    height: int
    stage: str
    created_at: datetime


def find_files(path: Path) -> tuple[Path, ...]:
    """Pictures at this path: the file itself, or all below the folder, hidden ones left out.

    Raises:
        UnknownName: there is nothing at this path.
        InvalidRequest: no permission, or no picture there.
    """
    if not path.exists():
        raise UnknownName(f"There is no folder {path}.", title="Missing folder", hint="Check the path.")
    try:
        files = [path] if path.is_file() else sorted(path.rglob("*"))
    except OSError as problem:
        raise InvalidRequest(f"{path} can't be read: {problem.strerror}.") from None
    found = tuple(
        file
        for file in files
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not found:
        raise InvalidRequest(
            f"There is no picture in {path}.", hint=f"These are read: {', '.join(sorted(SUFFIXES))}."
        )
    return found


def import_photos(
    scope: SessionScope,
    media: MediaStore,
    persona_id: int,
    files: Sequence[Path],
    *,
    cluster_id: int | None = None,
) -> Iterator[FileOutcome]:
    """Import files one by one, each in a transaction of its own, so that a bad or a last one spoils nothing.

    Run again after a kill it goes on where it was: a picture that is there already is not imported twice.

    Yields:
        Each file's outcome as it is known.
    """
    for file in files:
        try:
            yield _import_one(scope, media, persona_id, file, cluster_id)
        except PersonaError as problem:
            yield FileOutcome(file, "failed", None, problem.message)
        except OSError as problem:
            yield FileOutcome(file, "failed", None, f"The file can't be read: {problem.strerror}.")


def list_photos(
    session: Session, persona_id: int, *, limit: int = 200, offset: int = 0
) -> tuple[PhotoView, ...]:
    """A persona's photos, the newest first."""
    rows = session.exec(
        select(Photo)
        .where(Photo.persona_id == persona_id)
        .order_by(col(Photo.id).desc())
        .limit(limit)
        .offset(offset)
    )
    return tuple(
        PhotoView(
            row.id,
            row.persona_id,
            row.original_name,
            row.media_key,
            row.sha256,
            row.width,
            row.height,
            row.stage,
            row.created_at,
        )
        for row in rows
    )


def _import_one(
    scope: SessionScope, media: MediaStore, persona_id: int, file: Path, cluster_id: int | None
) -> FileOutcome:
    stored = media.put(file.read_bytes())
    with scope() as session:
        is_new = _insert(session, persona_id, file, stored)
        photo = session.exec(
            select(Photo).where(Photo.persona_id == persona_id, Photo.sha256 == stored.sha256)
        ).one()
        if is_new:
            _register(session, photo)
        if cluster_id is not None:
            _join(session, photo, cluster_id)
        outcome: Outcome = "imported" if is_new else "already there"
        return FileOutcome(file, outcome, photo.id, f"{stored.facts.width}×{stored.facts.height}")


def _insert(session: Session, persona_id: int, file: Path, stored: StoredPicture) -> bool:
    """Insert the photo unless it is there, also when two imports run at once."""
    made = session.execute(
        insert(Photo)
        .values(
            persona_id=persona_id,
            sha256=stored.sha256,
            media_key=stored.key,
            original_name=clean(file.name, keep_lines=False),
            format=stored.facts.format,
            width=stored.facts.width,
            height=stored.facts.height,
            byte_count=stored.byte_count,
        )
        .on_conflict_do_nothing()
        .returning(col(Photo.id))
    )
    return made.first() is not None


def _register(session: Session, photo: Photo) -> None:
    analyses.queue(session, PictureRef(photo_id=photo.id))
    audit.append(
        session,
        actor="operator",
        action="photo.import",
        persona_id=photo.persona_id,
        subject=f"photos:{photo.id}",
        content_sha256=photo.sha256,
    )
    events.emit(session, "photo", photo.id)


def _join(session: Session, photo: Photo, cluster_id: int) -> None:
    cluster = session.get(Cluster, cluster_id)
    if cluster is None or cluster.persona_id != photo.persona_id:
        raise UnknownName("The cluster belongs to another persona or is gone.")
    member = session.exec(
        select(ClusterCandidate).where(
            ClusterCandidate.cluster_id == cluster_id, ClusterCandidate.photo_id == photo.id
        )
    ).first()
    if member is None:
        clusters.add_picture(session, cluster_id, photo_id=photo.id)
