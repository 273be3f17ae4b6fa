"""From a file to a picture that is safe in the store and ready to be booked; runs on threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO

from PIL import Image

from persona_tui.errors import InvalidRequest
from persona_tui.services.decoding import PictureFacts
from persona_tui.services.films import FilmFacts, middle_frame
from persona_tui.services.library.files import Found, read_steadily, sha256_of, suffix_of, whole
from persona_tui.services.library.near import perceptual_hash
from persona_tui.services.media import Decoded, MediaStore, StoredPicture, decode_picture, encode_poster


@dataclass(frozen=True)
class Ready:
    """A file whose picture is stored.

    Attributes:
        values: columns of its photo, as the database takes them from JSON.
    """

    found: Found
    size: int
    modified_ns: int
    values: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Refused:
    """A file that can't be imported, and why."""

    found: Found
    sentence: str


@dataclass(frozen=True)
class _Film:
    facts: FilmFacts
    frame: Image.Image
    sha256: str
    size: int
    key: str


class Taker:
    """Takes files into the store, as copies or as references."""

    def __init__(self, media: MediaStore, kept: str) -> None:
        self._media = media
        self._kept = kept

    def take(self, found: Found) -> Ready | Refused:
        """Read, check and store one file.

        Raises:
            StorageError: the store can't be written.
        """
        try:
            return self._film(found) if found.is_film else self._picture(found)
        except InvalidRequest as problem:
            return Refused(found, problem.message)
        except OSError as problem:
            return Refused(found, f"The file can't be read: {problem.strerror}.")

    def _picture(self, found: Found) -> Ready:
        read = read_steadily(found.path, lambda file, size: decode_picture(whole(file, size)))
        picture: Decoded = read.value
        if self._kept == "copy":
            stored = self._media.keep(picture)
        else:
            stored = self._media.refer(found.path, picture)
        values = _of_picture(stored, picture.facts, picture.small)
        return Ready(found, read.size, read.modified_ns, values)

    def _film(self, found: Found) -> Ready:
        suffix = suffix_of(found.below)

        def work(file: BinaryIO, size: int) -> _Film:
            facts, frame = middle_frame(found.path)
            sha256 = sha256_of(file)
            if self._kept == "copy":
                key = self._media.keep_file(file, sha256, suffix, frame)
            else:
                key = self._media.refer_file(found.path, sha256, suffix, frame)
            return _Film(facts, frame, sha256, size, key)

        read = read_steadily(found.path, work)
        film = read.value
        poster = self._media.put(encode_poster(film.frame))
        values = {
            "kind": "video",
            "sha256": film.sha256,
            "media_key": film.key,
            "poster_key": poster.key,
            "poster_sha256": poster.sha256,
            "format": film.facts.format,
            "width": film.facts.width,
            "height": film.facts.height,
            "byte_count": film.size,
            "perceptual_hash": perceptual_hash(film.frame),
            "duration_seconds": film.facts.seconds,
            "details": film.facts.details,
        }
        return Ready(found, read.size, read.modified_ns, values)


def _of_picture(stored: StoredPicture, facts: PictureFacts, small: Image.Image) -> dict[str, Any]:
    taken: datetime | None = facts.taken_at
    return {
        "kind": "still",
        "sha256": stored.sha256,
        "media_key": stored.key,
        "format": facts.format,
        "width": facts.width,
        "height": facts.height,
        "byte_count": stored.byte_count,
        "perceptual_hash": perceptual_hash(small),
        "taken_at": taken.isoformat() if taken else None,
        "details": dict(facts.details),
    }
