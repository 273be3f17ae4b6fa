"""A disk without room for one folder, as the kernel tells it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest


def no_room_at_first(patch: pytest.MonkeyPatch, name: str) -> list[str]:
    """Refuse to make a folder of that name, once; the list tells that it was."""
    refused: list[str] = []
    make = Path.mkdir

    def mkdir(path: Path, *given: Any, **options: Any) -> None:
        if path.name == name and not refused:
            refused.append(name)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        make(path, *given, **options)

    patch.setattr(Path, "mkdir", mkdir)
    return refused
