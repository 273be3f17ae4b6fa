"""The type of a text, picture or workflow that passed the guard: the only thing that clients send."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from persona_tui.seal import Seal, is_the_seal
from persona_tui.streams import sha256_of

T = TypeVar("T", str, bytes, Mapping[str, Any], Path)

Workflow = Mapping[str, Any]
"""A ComfyUI graph in API format: node id → {"class_type", "inputs"}."""


def content_hash(value: str | bytes | Mapping[str, Any] | Path) -> str:
    """SHA-256, in hex, of what goes over the wire: UTF-8 of a text, bytes, a file, canonical JSON."""
    if isinstance(value, Path):
        return sha256_of(value)
    if isinstance(value, bytes):
        data = value
    elif isinstance(value, str):
        data = value.encode()
    else:
        data = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return hashlib.sha256(data).hexdigest()


class Passed(Generic[T]):
    """A value that the guard let through.

    Only services/safety holds the seal, so a function that takes `Passed[str]` can't be handed
    a plain string: mypy refuses it, and so does the constructor at run time.

    Attributes:
        value: the text, the picture's bytes, the workflow, or where a film lies: who reads it holds what was
            read against `sha256`.
        sha256: `content_hash(value)`; the audit event that let it pass carries the same.
    """

    __slots__ = ("sha256", "value")

    value: T
    sha256: str

    def __init__(self, value: T, *, seal: Seal) -> None:
        """Wrap a checked value.

        Raises:
            TypeError: the seal is not the one that services/safety took.
        """
        if not is_the_seal(seal):
            raise TypeError("Passed values are made by services/safety alone")
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "sha256", content_hash(value))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("Passed values don't change")

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("Passed values stay in the process that checked them")

    def __repr__(self) -> str:
        return f"Passed({type(self.value).__name__}, sha256={self.sha256[:12]})"


def require_passed(value: object) -> None:
    """Refuse anything that is no `Passed` value; clients call it on all that they send.

    Raises:
        TypeError: the value did not come through the guard.
    """
    if not isinstance(value, Passed):
        raise TypeError(f"a client was handed {type(value).__name__} instead of a Passed value")
