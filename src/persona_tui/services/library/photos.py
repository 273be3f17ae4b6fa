"""Photos: real pictures imported from files; originals are never touched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from persona_tui.models.library import Photo
from persona_tui.services.library.booking import FileOutcome
from persona_tui.services.library.files import find_files
from persona_tui.services.library.imports import import_photos


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
    kind: str
    caption: str
    reject_reason: str
    deleted_at: datetime | None

    @property
    def standing(self) -> str:
        """Whether it counts, in a word or two."""
        if self.deleted_at is not None:
            return "deleted"
        return f"{self.stage}: {self.reject_reason}" if self.reject_reason else self.stage


def list_photos(
    session: Session, persona_id: int, *, stage: str | None = None, limit: int = 200, offset: int = 0
) -> tuple[PhotoView, ...]:
    """A persona's photos, the newest first.

    Args:
        stage: only those that are `staged`, `accepted`, `rejected`, or `deleted`; None: all but deleted ones.
    """
    query = select(Photo).where(Photo.persona_id == persona_id)
    if stage == "deleted":
        query = query.where(col(Photo.deleted_at).is_not(None))
    else:
        query = query.where(col(Photo.deleted_at).is_(None))
        query = query if stage is None else query.where(Photo.stage == stage)
    rows = session.exec(query.order_by(col(Photo.id).desc()).limit(limit).offset(offset))
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
            row.kind,
            row.caption,
            row.reject_reason,
            row.deleted_at,
        )
        for row in rows
    )


__all__ = ["FileOutcome", "PhotoView", "find_files", "import_photos", "list_photos"]
