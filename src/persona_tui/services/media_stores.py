"""Where files lie: a folder, a bucket, or their own places that are only pointed to."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from persona_tui.errors import InvalidRequest, StorageError
from persona_tui.streams import PART, parts, sha256_of


class Store(Protocol):
    """What holds files by key."""

    def write(self, key: str, data: bytes) -> None: ...
    def take(self, key: str, source: BinaryIO, sha256: str) -> None: ...
    def read(self, key: str) -> bytes: ...
    def touch(self, key: str) -> bool: ...
    def remove(self, key: str, unless_since: float) -> bool: ...
    def path(self, key: str) -> Path | None: ...
    def fetch(self, key: str, folder: Path) -> Path: ...


class Folder:
    """Files below one folder; a write is on the disk before it returns."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, key: str, data: bytes) -> None:
        write_durably(self.root / key, data)

    def take(self, key: str, source: BinaryIO, sha256: str) -> None:
        write(self.root / key, parts(source, sha256), durably=True)

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

    def fetch(self, key: str, folder: Path) -> Path:
        path = self.root / key
        if not path.is_file():
            raise StorageError(f"The film {key} is gone from {self.root}.")
        return path


class Bucket:
    """Objects in an S3-compatible bucket."""

    def __init__(self, url: str) -> None:
        from obstore.store import from_url

        self.store = from_url(url)

    def write(self, key: str, data: bytes) -> None:
        try:
            self.store.put(key, data)
        except Exception as problem:  # obstore's errors have no common base and quote URLs
            raise StorageError(f"The bucket did not take a picture ({type(problem).__name__}).") from None

    def take(self, key: str, source: BinaryIO, sha256: str) -> None:
        try:
            self.store.put(key, parts(source, sha256))
        except InvalidRequest:
            raise
        except Exception as problem:  # as above
            raise StorageError(f"The bucket did not take a film ({type(problem).__name__}).") from None

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

    def fetch(self, key: str, folder: Path) -> Path:
        copy = folder / Path(key).name
        try:
            with copy.open("wb") as file:
                for part in self.store.get(key).stream(min_chunk_size=PART):
                    file.write(part)
        except OSError as problem:
            words = problem.strerror or "the bucket did not give it"
            raise StorageError(f"A film can't be copied to {folder.parent}: {words}.") from None
        except Exception as problem:  # as above
            raise StorageError(f"The bucket did not give a film ({type(problem).__name__}).") from None
        return copy


class References:
    """Pictures that stay where they are: links by content, so that a path of any bytes is kept as it is."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def point(self, key: str, source: Path) -> None:
        link = self.root / key
        part = link.with_name(f".part-{secrets.token_hex(8)}")
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            part.symlink_to(source.absolute())
            part.replace(link)
            _sync_folder(link.parent)
        except OSError as problem:
            raise StorageError(f"{link.parent} can't be written: {problem.strerror}.") from None

    def read(self, key: str) -> bytes:
        source = self._source(key)
        with _told_of(source):
            data = source.read_bytes()
        _require_same(source, hashlib.sha256(data).hexdigest(), key)
        return data

    def fetch(self, key: str, folder: Path) -> Path:
        source = self._source(key)
        with _told_of(source):
            digest = sha256_of(source)
        _require_same(source, digest, key)
        return source

    def remove(self, key: str, unless_since: float) -> bool:
        """Forget where it lies; the file itself is not ours to remove."""
        link = self.root / key
        try:
            if link.lstat().st_mtime > unless_since:
                return False
            link.unlink()
        except FileNotFoundError:
            return True
        except OSError as problem:
            raise StorageError(f"{link.parent} can't be written: {problem.strerror}.") from None
        return True

    def path(self, key: str) -> Path | None:
        try:
            return (self.root / key).readlink()
        except OSError:
            return None

    def _source(self, key: str) -> Path:
        source = self.path(key)
        if source is None:
            raise StorageError("It is not known any more where the original lies.", hint="Import it again.")
        return source


@contextmanager
def _told_of(source: Path) -> Iterator[None]:
    """An original that can't be read, in words."""
    try:
        yield
    except OSError as problem:
        raise StorageError(
            f"The original {source.name} can't be read: {problem.strerror}.",
            title="Original is gone",
            hint=f"Put it back into {source.parent}, or import it again.",
        ) from None


def _require_same(source: Path, digest: str, key: str) -> None:
    if digest != Path(key).stem:
        raise StorageError(
            f"The original {source.name} was changed since it was imported.",
            title="Original has changed",
            hint="Import it again: it counts as another picture.",
        )


def write_durably(path: Path, data: bytes) -> None:
    """Write a file so that after a return, and only then, it is there whole, whatever happens.

    Raises:
        StorageError: disk full, read-only, no permission.
    """
    write(path, (data,), durably=True)


def write(path: Path, parts: Iterable[bytes], *, durably: bool) -> None:
    """Write a file whole or not at all; `durably`: it is on the disk before this returns."""
    try:
        _replace(path, parts, durably=durably)
    except OSError as problem:
        raise StorageError(f"{path.parent} can't be written: {problem.strerror}.") from None


def _replace(path: Path, parts: Iterable[bytes], *, durably: bool) -> None:
    part = path.with_name(f".part-{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        file = os.open(part, flags, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(part, flags, 0o600)
    try:
        with os.fdopen(file, "wb") as opened:
            for data in parts:
                opened.write(data)
            opened.flush()
            if durably:
                os.fsync(file)
        part.replace(path)
    except BaseException:
        part.unlink()
        raise
    if durably:
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
