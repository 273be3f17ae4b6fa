"""Files that may be too long for the memory: read in parts, and held against the hash that they must have."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from persona_tui.errors import InvalidRequest

PART = 1 << 20


def parts(source: BinaryIO, sha256: str) -> Iterator[bytes]:
    """A file's bytes, and at their end an error if they were others than those that were hashed before.

    Raises:
        InvalidRequest: what was read has another hash.
    """
    digest = hashlib.sha256()
    while part := source.read(PART):
        digest.update(part)
        yield part
    if digest.hexdigest() != sha256:
        raise InvalidRequest("The file changes while it is read.", hint="Try again when it is finished.")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


__all__ = ["PART", "parts", "sha256_of"]
