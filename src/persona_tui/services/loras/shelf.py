"""Our own folder of LoRA files: named by what they hold, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from persona_tui.errors import InvalidRequest, StorageError
from persona_tui.settings import Settings
from persona_tui.text import slug

CHUNK = 4 * 1024 * 1024
_PART = ".part-"


@dataclass(frozen=True)
class Copied:
    """A file that was copied under a name of its own, to be given its final one.

    Attributes:
        sha256: of the copied bytes.
        byte_count: how many there are.
    """

    path: Path
    sha256: str
    byte_count: int


def file_name(name: str, version: int, sha256: str) -> str:
    """`<slug>-v<version>-<sha8>.safetensors`: other bytes have another name, so that no cache is stale."""
    return f"{slug(name, 'lora')}-v{version}-{sha256[:8]}.safetensors"


class Shelf:
    """The folder `loras` below `models.dir`, or below the data folder."""

    def __init__(self, settings: Settings) -> None:
        self.folder = (settings.models.dir or settings.data_dir / "models") / "loras"

    def path(self, name: str) -> Path:
        """Where a file of that name lies, or would."""
        return self.folder / name

    def holds(self, name: str) -> bool:
        """Whether the file is there."""
        return self.path(name).is_file()

    @contextmanager
    def taking_in(self, source: Path) -> Iterator[Copied]:
        """Copy a file in and hash what was copied; unless it is `put` by then, it is gone at the end.

        Raises:
            InvalidRequest: the source can't be read.
            StorageError: the folder can't be written.
        """
        copied = copy_durably(source, self.folder)
        try:
            yield copied
        finally:
            copied.path.unlink(missing_ok=True)

    def put(self, copied: Copied, name: str) -> None:
        """Give a copied file its final name."""
        copied.path.replace(self.path(name))
        _sync_folder(self.folder)

    def drop(self, name: str) -> None:
        """Delete a file; one that is gone already is no fault."""
        self.path(name).unlink(missing_ok=True)


def copy_durably(source: Path, folder: Path) -> Copied:
    """Copy a file into a folder under a hidden name; its bytes are on the disk when this returns.

    Raises:
        InvalidRequest: the source can't be read.
        StorageError: the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise StorageError(f"The folder {folder} can't be made: {problem.strerror}.") from None
    target = folder / f"{_PART}{secrets.token_hex(8)}"
    try:
        reader = source.open("rb")
    except OSError as problem:
        raise InvalidRequest(f"{source} can't be read: {problem.strerror}.") from None
    with reader:
        try:
            return hashed(target, iter(partial(reader.read, CHUNK), b""))
        except OSError as problem:
            target.unlink(missing_ok=True)
            raise StorageError(f"{folder} did not take {source.name}: {problem.strerror}.") from None


def hashed(target: Path, pieces: Iterable[bytes]) -> Copied:
    """Write a new file piece by piece; its bytes are on the disk when this returns.

    Raises:
        OSError: it can't be written; what there is of it stays.
    """
    digest, count = hashlib.sha256(), 0
    with target.open("xb") as writer:
        for piece in pieces:
            writer.write(piece)
            digest.update(piece)
            count += len(piece)
        writer.flush()
        os.fsync(writer.fileno())
    return Copied(target, digest.hexdigest(), count)


def place(source: Path, folder: Path) -> bool:
    """Put a file into another program's folder: whole or not at all, and not again when it is there.

    Returns:
        Whether it was copied.

    Raises:
        InvalidRequest: the source can't be read.
        StorageError: the folder is not there, or can't be written.
    """
    target = folder / source.name
    with suppress(OSError):
        if target.stat().st_size == source.stat().st_size:
            return False
    if not folder.is_dir():
        raise StorageError(f"There is no folder {folder}.", hint="Set comfyui.lora_dir to the server's own.")
    copied = copy_durably(source, folder)
    with suppress(OSError):  # shared folders of other systems know no such rights
        copied.path.chmod(0o644)
    try:
        copied.path.replace(target)
    except OSError as problem:
        copied.path.unlink(missing_ok=True)
        raise StorageError(f"{folder} did not take {source.name}: {problem.strerror}.") from None
    _sync_folder(folder)
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
