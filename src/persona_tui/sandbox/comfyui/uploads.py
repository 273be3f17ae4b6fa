"""Multipart uploads and the files that they become."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from persona_tui.sandbox.comfyui.files import Folders, is_within


@dataclass(frozen=True)
class Part:
    """One field of a multipart form."""

    data: bytes
    filename: str | None

    @property
    def text(self) -> str:
        """The field as text."""
        return self.data.decode()


class BadUpload(Exception):
    """No picture, no name, or a place outside the folder: 400."""


def parts_of(body: bytes, content_type: str) -> dict[str, Part]:
    """The fields of a multipart/form-data body; none of another body."""
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    if not content_type.startswith("multipart/form-data") or found is None:
        return {}
    parts = {}
    for section in body.split(b"--" + found.group(1).encode())[1:-1]:
        head, _, data = section.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        disposition = head.decode("utf-8", "replace")
        name = re.search(r'[; ]name="([^"]*)"', disposition)
        filename = re.search(r'filename="([^"]*)"', disposition)
        if name is not None:
            parts[name.group(1)] = Part(data.removesuffix(b"\r\n"), filename.group(1) if filename else None)
    return parts


def store(folders: Folders, parts: dict[str, Part]) -> tuple[dict[str, str], Path]:
    """Write the field `image` as ComfyUI does: equal bytes keep their name, other bytes get ` (1)`.

    Raises:
        BadUpload: nothing to store, or the place lies outside.
        ValueError: an unknown folder type.
    """
    kind = parts["type"].text if "type" in parts else "input"
    folder = folders.of_type(kind)
    if folder is None:
        raise ValueError(f"unknown folder type {kind}")
    image = parts.get("image")
    if image is None or not image.filename:
        raise BadUpload
    subfolder = parts["subfolder"].text if "subfolder" in parts else ""
    target = folder / os.path.normpath(subfolder)
    path = target / image.filename
    if not is_within(folder, path):
        raise BadUpload
    target.mkdir(parents=True, exist_ok=True)
    overwrite = "overwrite" in parts and parts["overwrite"].text in {"true", "1"}
    path = path if overwrite else _free_name(path, image.data)
    if overwrite or not path.exists():
        path.write_bytes(image.data)
    return {"name": path.name, "subfolder": subfolder, "type": kind}, path


def _free_name(path: Path, data: bytes) -> Path:
    """The first of `a.png`, `a (1).png` … that is free or holds the same bytes."""
    digest = hashlib.sha256(data).digest()
    candidate, number = path, 0
    while candidate.exists() and hashlib.sha256(candidate.read_bytes()).digest() != digest:
        number += 1
        candidate = path.with_name(f"{path.stem} ({number}){path.suffix}")
    return candidate
