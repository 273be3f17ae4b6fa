"""The very files that go out for a post, made before it does, to be looked at."""

from __future__ import annotations

import hashlib
import os
from asyncio import to_thread
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import Session

from persona_tui.errors import StorageError
from persona_tui.services.media import MediaStore
from persona_tui.services.publishing.feed_rules import xmp_of
from persona_tui.services.publishing.hands import Pool
from persona_tui.services.publishing.preparing import Preparer
from persona_tui.services.publishing.staging import Material, SessionScope, read_material
from persona_tui.services.safety.disclosure import read_digital_source_type

KEPT = 60
"""Previews kept in the folder; the oldest go first."""


@dataclass(frozen=True)
class PreviewedFile:
    """A file as Instagram would fetch it.

    Attributes:
        source_type: the IPTC DigitalSourceType that stands in it, read back from its bytes.
        notes: what was done to the original, one short sentence each.
    """

    position: int
    path: Path
    sha256: str
    width: int
    height: int
    byte_count: int
    quality: int
    source_type: str
    notes: tuple[str, ...]


async def preview_post(
    scope: SessionScope, media: MediaStore, pool: Pool, folder: Path, post_id: int
) -> tuple[PreviewedFile, ...]:
    """Prepare a post's stills as the publisher will; its films are left out.

    Args:
        folder: where the files are put.

    Raises:
        InvalidRequest: Instagram would refuse the post as it is, or a picture can't be read.
        StorageError: the folder can't be written.
    """

    def read() -> Material:
        session: Session
        with scope() as session:
            return read_material(session, post_id)

    material = await to_thread(read)
    preparer = Preparer(media, pool, material)
    found = []
    for source in material.sources:
        if source.is_film:
            continue
        picture = await preparer.picture(source)
        sha256 = hashlib.sha256(picture.jpeg).hexdigest()
        path = await to_thread(_keep, folder, sha256, picture.jpeg)
        stated = read_digital_source_type(xmp_of(picture.jpeg) or b"") or ""
        found.append(
            PreviewedFile(
                source.position,
                path,
                sha256,
                picture.width,
                picture.height,
                len(picture.jpeg),
                picture.quality,
                stated.rpartition("/")[2],
                picture.notes,
            )
        )
    return tuple(found)


def _keep(folder: Path, sha256: str, jpeg: bytes) -> Path:
    path = folder / f"{sha256}.jpg"
    part = folder / f"{sha256}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.write_bytes(jpeg)
        part.replace(path)
        _forget_old(sorted(folder.glob("*.jpg"), key=lambda one: one.stat().st_mtime))
    except OSError as problem:
        words = problem.strerror or "no reason given"
        raise StorageError(f"The preview can't be written: {words}.", hint="Free some space.") from None
    return path


def _forget_old(paths: Sequence[Path]) -> None:
    for path in paths[:-KEPT]:
        path.unlink(missing_ok=True)


__all__ = ["PreviewedFile", "preview_post"]
