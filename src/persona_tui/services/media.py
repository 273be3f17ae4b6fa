"""The one store of pictures: content-addressed originals, local thumbnails."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from PIL import Image

from persona_tui.errors import StorageError
from persona_tui.services.decoding import PictureFacts, decode
from persona_tui.services.media_stores import Bucket, Folder, References, Store, write, write_durably
from persona_tui.settings import Settings

THUMBNAIL_SIDE = 768
FILM_SUFFIXES = frozenset({"mp4", "mov"})
LEFT_BEHIND = 24 * 3600.0
"""Seconds after which a folder of files on their way belongs to nobody any more."""
_SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tiff", "MPO": "jpg", "HEIF": "heic"}
_REFERENCE = "ref/"


@dataclass(frozen=True)
class StoredPicture:
    """A picture that is safe in the store."""

    key: str
    sha256: str
    byte_count: int
    facts: PictureFacts


@dataclass(frozen=True)
class Decoded:
    """A picture that was decoded and is not stored yet.

    Attributes:
        small: upright, eight-bit sRGB, at most `THUMBNAIL_SIDE` a side.
    """

    data: bytes
    sha256: str
    facts: PictureFacts
    small: Image.Image


def decode_picture(data: bytes) -> Decoded:
    """Decode a picture to its end.

    Raises:
        Unreadable: no picture, a broken one, or one of over 120 megapixels.
    """
    facts, small = decode(data, THUMBNAIL_SIDE)
    return Decoded(data, hashlib.sha256(data).hexdigest(), facts, small)


def encode_poster(frame: Image.Image) -> bytes:
    """A film's frame as the JPEG that stands for it."""
    out = io.BytesIO()
    frame.save(out, "JPEG", quality=92)
    return out.getvalue()


class MediaStore:
    """Pictures by content: the key holds the hash, so the same picture is stored once."""

    def __init__(self, settings: Settings) -> None:
        url = settings.media.url
        self._store: Store
        if url is None:
            self._store = Folder(settings.media_dir / "originals")
        elif url.startswith("file:"):
            self._store = Folder(Path(unquote(urlsplit(url).path)))
        else:
            self._store = Bucket(url)
        self._references = References(settings.media_dir)
        self._workspaces = settings.data_dir / "on-its-way"
        self._thumbnails = settings.media_dir / "thumbnails"

    def put(self, data: bytes) -> StoredPicture:
        """Store a picture and its thumbnail.

        Raises:
            Unreadable: the bytes are no picture.
            StorageError: the store can't be written.
        """
        return self.keep(decode_picture(data))

    def keep(self, picture: Decoded) -> StoredPicture:
        """Store a copy of a decoded picture, and its thumbnail.

        Raises:
            StorageError: the store can't be written.
        """
        key = _key(picture.sha256, _SUFFIXES.get(picture.facts.format, "bin"))
        if not self._store.touch(key):
            self._store.write(key, picture.data)
        self._keep_thumbnail(picture.sha256, picture.small)
        return StoredPicture(key, picture.sha256, len(picture.data), picture.facts)

    def refer(self, source: Path, picture: Decoded) -> StoredPicture:
        """Remember where a decoded picture lies, instead of a copy, and store its thumbnail.

        Raises:
            StorageError: the media folder can't be written.
        """
        key = self.refer_file(source, picture.sha256, _SUFFIXES.get(picture.facts.format, "bin"))
        self._keep_thumbnail(picture.sha256, picture.small)
        return StoredPicture(key, picture.sha256, len(picture.data), picture.facts)

    def keep_file(self, source: BinaryIO, sha256: str, suffix: str, poster: Image.Image) -> str:
        """Store a copy of a file of any length, with a picture for its thumbnail; returns its key.

        Raises:
            InvalidRequest: what was read has another hash: the file changes.
            StorageError: the store can't be written.
        """
        key = _key(sha256, suffix)
        if not self._store.touch(key):
            self._store.take(key, source, sha256)
        self._keep_thumbnail(sha256, poster)
        return key

    def refer_file(self, source: Path, sha256: str, suffix: str, poster: Image.Image | None = None) -> str:
        """As `keep_file`, but only remember where the file lies."""
        key = _REFERENCE + _key(sha256, suffix)
        self._references.point(key, source)
        if poster is not None:
            self._keep_thumbnail(sha256, poster)
        return key

    def get(self, key: str) -> bytes:
        """The original's bytes.

        Raises:
            StorageError: it is not there, or not the same any more where it was not copied.
        """
        return self._of(key).read(key)

    def fetch(self, key: str, folder: Path) -> Path:
        """A film's original as a file: where it lies, or a copy in `folder` if that is not on this machine.

        Raises:
            StorageError: it is not there, or not the same any more where it was not copied.
        """
        return self._of(key).fetch(key, folder)

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder for files on their way, on the disk of the data; it is gone afterwards.

        Raises:
            StorageError: it can't be made.
        """
        try:
            self._workspaces.mkdir(parents=True, exist_ok=True)
            _remove_left_behind(self._workspaces)
            made = tempfile.TemporaryDirectory(dir=self._workspaces, ignore_cleanup_errors=True)
        except OSError as problem:
            raise StorageError(f"{self._workspaces} can't be written: {problem.strerror}.") from None
        with made as name:
            yield Path(name)

    def remove(self, key: str, sha256: str, *, unless_since: float) -> bool:
        """Remove a picture and its thumbnail; to remove what is gone is no error.

        Args:
            unless_since: POSIX time; one that was stored, or stored again, after it stays.

        Returns:
            Whether it is gone.

        Raises:
            StorageError: it can't be removed.
        """
        removed = self._of(key).remove(key, unless_since)
        if removed:
            self._thumbnail_path(sha256).unlink(missing_ok=True)
        return removed

    def path(self, key: str) -> Path | None:
        """Where the original lies on this machine, if it does."""
        return self._of(key).path(key)

    def thumbnail(self, key: str, sha256: str) -> Path:
        """The thumbnail's path: JPEG, at most 768 px a side; made again when it is missing.

        Raises:
            Unreadable, StorageError: the original is broken or gone.
        """
        path = self._thumbnail_path(sha256)
        if not _is_filled(path):
            self._keep_thumbnail(sha256, self._poster(key))
        return path

    def _poster(self, key: str) -> Image.Image:
        if key.rpartition(".")[2] in FILM_SUFFIXES:
            from persona_tui.services.films import middle_frame

            with self.workspace() as folder:
                return middle_frame(self.fetch(key, folder))[1]
        return decode(self.get(key), THUMBNAIL_SIDE)[1]

    def _of(self, key: str) -> Store | References:
        return self._references if key.startswith(_REFERENCE) else self._store

    def _thumbnail_path(self, sha256: str) -> Path:
        return self._thumbnails / sha256[:2] / f"{sha256}.jpg"

    def _keep_thumbnail(self, sha256: str, small: Image.Image) -> None:
        """Not waited for on the disk: one that a power cut takes, or leaves empty, is made again."""
        path = self._thumbnail_path(sha256)
        if _is_filled(path):
            return
        if max(small.size) > THUMBNAIL_SIDE:
            small = small.copy()
            small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        small.save(out, "JPEG", quality=88)
        write(path, (out.getvalue(),), durably=False)


def _remove_left_behind(workspaces: Path) -> None:
    """What a process that was killed could not take away."""
    for folder in workspaces.iterdir():
        if time.time() - folder.stat().st_mtime > LEFT_BEHIND:
            shutil.rmtree(folder, ignore_errors=True)


def _key(sha256: str, suffix: str) -> str:
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}.{suffix}"


def _is_filled(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


__all__ = [
    "Decoded",
    "MediaStore",
    "PictureFacts",
    "StoredPicture",
    "decode_picture",
    "encode_poster",
    "write_durably",
]
