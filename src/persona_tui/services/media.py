"""The one store of pictures: content-addressed originals, local thumbnails."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from PIL import Image, ImageOps, UnidentifiedImageError

from persona_tui.errors import InvalidRequest, StorageError
from persona_tui.settings import Settings

THUMBNAIL_SIDE = 768
MAX_PIXELS = 120_000_000
_SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tiff", "MPO": "jpg", "HEIF": "heic"}


@dataclass(frozen=True)
class PictureFacts:
    """What the bytes of a picture say about themselves; width and height after EXIF orientation."""

    format: str
    width: int
    height: int


@dataclass(frozen=True)
class StoredPicture:
    """A picture that is safe in the store."""

    key: str
    sha256: str
    byte_count: int
    facts: PictureFacts


def inspect_picture(data: bytes) -> PictureFacts:
    """Decode a picture's facts, and the whole picture once, so that a broken file is found here.

    Raises:
        InvalidRequest: not a picture, a broken one, or one of over 120 megapixels.
    """
    return _decoded(data)[0]


def _decoded(data: bytes) -> tuple[PictureFacts, Image.Image]:
    """A picture's facts, and its pixels with EXIF orientation still to be applied."""
    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > MAX_PIXELS:
            raise InvalidRequest(
                f"The picture has {image.width}×{image.height} pixels, too many to handle.",
                hint="Make it smaller than 120 megapixels.",
            )
        image.load()
        turned = image.getexif().get(0x0112, 1) in {5, 6, 7, 8}
        width, height = image.size
        size = (height, width) if turned else (width, height)
        return PictureFacts(image.format or "unknown", *size), image
    except InvalidRequest:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise InvalidRequest(
            "That is no picture that can be read.",
            title="Unreadable picture",
            hint="Use JPEG, PNG, WebP or TIFF.",
        ) from None


class _Store(Protocol):
    def write(self, key: str, data: bytes) -> None: ...
    def read(self, key: str) -> bytes: ...
    def touch(self, key: str) -> bool: ...
    def remove(self, key: str, unless_since: float) -> bool: ...
    def path(self, key: str) -> Path | None: ...


class _Folder:
    """Files below one folder; a write is on the disk before it returns."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, key: str, data: bytes) -> None:
        write_durably(self.root / key, data)

    def read(self, key: str) -> bytes:
        try:
            return (self.root / key).read_bytes()
        except OSError:
            raise StorageError(f"The picture {key} is gone from {self.root}.") from None

    def touch(self, key: str) -> bool:
        try:
            os.utime(self.root / key)
        except FileNotFoundError:
            return False
        except OSError as problem:
            raise StorageError(f"{self.root} can't be written: {problem.strerror}.") from None
        return True

    def remove(self, key: str, unless_since: float) -> bool:
        path = self.root / key
        try:
            if path.stat().st_mtime > unless_since:
                return False
            path.unlink()
        except FileNotFoundError:
            return True
        except OSError as problem:
            raise StorageError(f"A picture can't be removed from {self.root}: {problem.strerror}.") from None
        return True

    def path(self, key: str) -> Path | None:
        return self.root / key


class _Bucket:
    """Objects in an S3-compatible bucket."""

    def __init__(self, url: str) -> None:
        from obstore.store import from_url

        self.store = from_url(url)

    def write(self, key: str, data: bytes) -> None:
        try:
            self.store.put(key, data)
        except Exception as problem:  # obstore's errors have no common base and quote URLs
            raise StorageError(f"The bucket did not take a picture ({type(problem).__name__}).") from None

    def read(self, key: str) -> bytes:
        try:
            return bytes(self.store.get(key).bytes())
        except Exception as problem:  # as above
            raise StorageError(f"The bucket did not give a picture ({type(problem).__name__}).") from None

    def touch(self, key: str) -> bool:
        return False

    def remove(self, key: str, unless_since: float) -> bool:
        try:
            if self.store.head(key)["last_modified"].timestamp() > unless_since:
                return False
            self.store.delete(key)
        except FileNotFoundError:
            return True
        except Exception as problem:  # as above
            raise StorageError(f"The bucket kept a picture ({type(problem).__name__}).") from None
        return True

    def path(self, key: str) -> Path | None:
        return None


def write_durably(path: Path, data: bytes) -> None:
    """Write a file so that after a return, and only then, it is there whole, whatever happens.

    Raises:
        StorageError: disk full, read-only, no permission.
    """
    _write(path, data, durably=True)


def _write(path: Path, data: bytes, *, durably: bool) -> None:
    try:
        _replace(path, data, durably=durably)
    except OSError as problem:
        raise StorageError(f"{path.parent} can't be written: {problem.strerror}.") from None


def _replace(path: Path, data: bytes, *, durably: bool) -> None:
    part = path.with_name(f".part-{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        file = os.open(part, flags, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(part, flags, 0o600)
    try:
        with os.fdopen(file, "wb", buffering=0) as opened:
            opened.write(data)
            if durably:
                os.fsync(file)
        part.replace(path)
    except BaseException:
        part.unlink()
        raise
    if durably:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class MediaStore:
    """Pictures by content: the key holds the hash, so the same picture is stored once."""

    def __init__(self, settings: Settings) -> None:
        url = settings.media.url
        self._store: _Store
        if url is None:
            self._store = _Folder(settings.media_dir / "originals")
        elif url.startswith("file:"):
            self._store = _Folder(Path(unquote(urlsplit(url).path)))
        else:
            self._store = _Bucket(url)
        self._thumbnails = settings.media_dir / "thumbnails"

    def put(self, data: bytes) -> StoredPicture:
        """Store a picture and its thumbnail.

        Raises:
            InvalidRequest: the bytes are no picture.
            StorageError: the store can't be written.
        """
        facts, image = _decoded(data)
        sha256 = hashlib.sha256(data).hexdigest()
        suffix = _SUFFIXES.get(facts.format, "bin")
        key = f"{sha256[:2]}/{sha256[2:4]}/{sha256}.{suffix}"
        if not self._store.touch(key):
            self._store.write(key, data)
        self._make_thumbnail(sha256, image)
        return StoredPicture(key, sha256, len(data), facts)

    def get(self, key: str) -> bytes:
        """The original's bytes.

        Raises:
            StorageError: it is not there.
        """
        return self._store.read(key)

    def remove(self, key: str, sha256: str, *, unless_since: float) -> bool:
        """Remove a picture and its thumbnail; to remove what is gone is no error.

        Args:
            unless_since: POSIX time; one that was stored, or stored again, after it stays.

        Returns:
            Whether it is gone.

        Raises:
            StorageError: it can't be removed.
        """
        removed = self._store.remove(key, unless_since)
        if removed:
            self._thumbnail_path(sha256).unlink(missing_ok=True)
        return removed

    def path(self, key: str) -> Path | None:
        """Where the original lies on this machine, if it does."""
        return self._store.path(key)

    def thumbnail(self, key: str, sha256: str) -> Path:
        """The thumbnail's path: JPEG, at most 768 px a side; made again when it is missing."""
        path = self._thumbnail_path(sha256)
        if not _is_filled(path):
            self._make_thumbnail(sha256, _decoded(self.get(key))[1])
        return path

    def _thumbnail_path(self, sha256: str) -> Path:
        return self._thumbnails / sha256[:2] / f"{sha256}.jpg"

    def _make_thumbnail(self, sha256: str, image: Image.Image) -> None:
        """Not waited for on the disk: one that a power cut takes, or leaves empty, is made again."""
        path = self._thumbnail_path(sha256)
        if _is_filled(path):
            return
        small = ImageOps.exif_transpose(image).convert("RGB")
        if max(small.size) > THUMBNAIL_SIDE:
            small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        small.save(out, "JPEG", quality=88)
        _write(path, out.getvalue(), durably=False)


def _is_filled(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False
