"""The head of a safetensors file, read without its tensors and without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from persona_tui.errors import InvalidRequest

LARGEST_HEADER = 100_000_000
"""What the format's own library reads at most."""
_PICKLES = frozenset({".ckpt", ".pt", ".pth", ".bin", ".pkl"})
SUFFIX = ".safetensors"

_BROKEN = "Get the file again: it was cut off, or is something else."


@dataclass(frozen=True)
class Header:
    """What a safetensors file says about itself.

    Attributes:
        shapes: name of each tensor → its shape.
        metadata: the file's own notes, by the tool that wrote it.
    """

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str] = field(default_factory=dict)


def require_safetensors(path: Path) -> None:
    """Refuse what is no safetensors file by its name.

    Raises:
        InvalidRequest: a pickle, which could run a program, or another kind of file.
    """
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        raise InvalidRequest(
            f"{path.name} is a pickle, which can run any program when it is opened.",
            title="Unsafe file",
            hint="Convert it to .safetensors first, or get the author's .safetensors file.",
        )
    if suffix != SUFFIX:
        raise InvalidRequest(f"{path.name} is no .safetensors file.", hint="LoRAs are imported from those.")


def read_header(path: Path) -> Header:
    """Read and check a safetensors file's head.

    Raises:
        InvalidRequest: the file is broken, cut off, or can't be read.
    """
    try:
        with path.open("rb") as file:
            return _parsed(file, path.stat().st_size, path.name)
    except OSError as problem:
        raise InvalidRequest(
            f"{path} can't be read: {problem.strerror}.", hint="Check the path and the file's permissions."
        ) from None


def _parsed(file: BinaryIO, size: int, name: str) -> Header:
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length < 2 or length > size - 8 or length > LARGEST_HEADER:
        raise InvalidRequest(f"{name} is no safetensors file: its head does not fit.", hint=_BROKEN)
    try:
        told = json.loads(file.read(length))
    except (ValueError, RecursionError):
        raise InvalidRequest(
            f"{name} is no safetensors file: its head can't be read.", hint=_BROKEN
        ) from None
    if not isinstance(told, dict):
        raise InvalidRequest(f"{name} is no safetensors file: its head is no list.", hint=_BROKEN)
    notes = told.pop("__metadata__", None)
    shapes, end = {}, 0
    for key, entry in told.items():
        shape, last = _tensor(entry, name)
        shapes[key] = shape
        end = max(end, last)
    if end != size - 8 - length:
        raise InvalidRequest(
            f"{name} holds {size - 8 - length} bytes of weights, but its head names {end}.", hint=_BROKEN
        )
    return Header(shapes, _strings(notes))


def _tensor(entry: Any, name: str) -> tuple[tuple[int, ...], int]:
    """A tensor's shape and where its bytes end."""
    match entry:
        case {"dtype": str(), "shape": list() as shape, "data_offsets": [int() as begin, int() as end]}:
            if 0 <= begin <= end and all(isinstance(side, int) and side >= 0 for side in shape):
                return tuple(shape), end
    raise InvalidRequest(f"{name} is no safetensors file: a tensor's entry is broken.", hint=_BROKEN)


def _strings(notes: object) -> dict[str, str]:
    if not isinstance(notes, dict):
        return {}
    return {str(key): value for key, value in notes.items() if isinstance(value, str)}
