"""A dataset's folder as training reads it: its manifest and the pictures that it names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from persona_tui.errors import InvalidRequest

MANIFEST = "manifest.json"
Role = Literal["train", "held_out", "anchor"]


class Picture(BaseModel):
    """One picture of the manifest, as far as training reads it.

    Attributes:
        file: beneath the dataset's folder.
        role: held-out pictures are never learnt from; anchors are.
        control: an edit's source pictures, beneath the dataset's folder.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    caption: str = ""
    role: Role = "train"
    angle: str | None = None
    control: tuple[str, ...] = ()


def read_dataset(folder: Path, manifest_hash: str) -> tuple[Picture, ...]:
    """The pictures of a dataset.

    Args:
        manifest_hash: SHA-256 of the manifest that the run was planned on.

    Raises:
        InvalidRequest: there is no manifest, it is another one, or it can't be used.
    """
    path = folder / MANIFEST
    again = "Make the dataset again and plan the run on it."
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise InvalidRequest(f"{path} can't be read: {problem.strerror}.", hint=again) from None
    if hashlib.sha256(data).hexdigest() != manifest_hash:
        raise InvalidRequest(f"{folder} has changed since the run was planned.", hint="Plan the run again.")
    try:
        told = json.loads(data)
        pictures = tuple(Picture.model_validate(one) for one in told["pictures"])
    except (ValueError, KeyError, TypeError, ValidationError) as problem:
        raise InvalidRequest(f"{path} is no manifest of a dataset ({problem}).", hint=again) from None
    for picture in pictures:
        for name in (picture.file, *picture.control):
            if not (folder / name).resolve().is_relative_to(folder.resolve()):
                raise InvalidRequest(f"{path} names {name}, which lies outside of it.", hint=again)
    return pictures


def read_checked(folder: Path, picture: Picture) -> bytes:
    """A picture's file.

    Raises:
        InvalidRequest: it is gone, or its content is another than the manifest says.
    """
    path = folder / picture.file
    again = "Put the picture back, or make the dataset again."
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise InvalidRequest(f"{path} can't be read: {problem.strerror}.", hint=again) from None
    if hashlib.sha256(data).hexdigest() != picture.sha256:
        raise InvalidRequest(f"{path} has changed since the dataset was made.", hint=again)
    return data
