"""A dataset's manifest, version 1: what each picture is, readable without the database."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from persona_tui.errors import InvalidRequest

Role = Literal["train", "held_out", "anchor"]
Subject = Literal["unsaid", "fictional", "real"]
FILE_NAME = "manifest.json"
LARGEST = 64 * 1024 * 1024
"""Bytes of a manifest that are read at most: 3,000 pictures take two."""

_MEND = "`persona-tui dataset status` says what is wrong; an exported copy can be added to a new dataset."


def _stays_inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not path.name:
        raise ValueError(f"{name!r} leads out of the folder")
    return name


Below = Annotated[str, AfterValidator(_stays_inside)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Picture(BaseModel):
    """One picture of a dataset.

    Attributes:
        file: below the folder.
        role: `train` and `anchor` are learnt from, anchors in every version; `held_out` judges and is never
            learnt from.
        parent: SHA-256 of the picture that this one was made of.
        recipe: how it was made: prompt, seed, model; empty for a source.
        depth: 0 a source, 1 edited from one, 2 and more generated.
        control: pictures that an editor is given, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Below
    sha256: Sha256
    caption: str = ""
    role: Role = "train"
    angle: str = ""
    expression: str = ""
    parent: Sha256 | None = None
    recipe: dict[str, Any] = {}
    depth: int = Field(default=0, ge=0)
    scores: dict[str, float] = {}
    control: tuple[Below, ...] = ()


class Manifest(BaseModel):
    """A dataset as its folder tells it.

    Attributes:
        subject: whether somebody real is in the pictures.
        class_word: what the subject is one of, such as person.
        drawn: the subject is drawn, so likeness goes by the whole figure and not by a face.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    name: str
    persona: str
    wheel: Literal["character", "editor"] = "character"
    subject: Subject = "unsaid"
    trigger_word: str = ""
    class_word: str = ""
    drawn: bool = False
    created_at: datetime
    pictures: tuple[Picture, ...] = ()

    def of_role(self, *roles: Role) -> tuple[Picture, ...]:
        """The pictures of these roles, in the manifest's order."""
        return tuple(picture for picture in self.pictures if picture.role in roles)


def as_bytes(manifest: Manifest) -> bytes:
    """The manifest as it is written: equal ones give equal bytes."""
    told = manifest.model_dump(mode="json")
    if not manifest.drawn:
        # Datasets that were made before there was such a word keep their hash.
        del told["drawn"]
    return (json.dumps(told, ensure_ascii=False, indent=1) + "\n").encode()


def sha256_of(data: bytes) -> str:
    """A manifest's content hash: that of its bytes."""
    return hashlib.sha256(data).hexdigest()


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """A dataset folder's manifest and the SHA-256 of its bytes.

    Raises:
        InvalidRequest: there is none, it is no manifest of version 1, or a picture is named twice.
    """
    path = folder / FILE_NAME
    try:
        if path.stat().st_size > LARGEST:
            raise InvalidRequest(f"{path} is too large for a manifest.", hint=_MEND)
        data = path.read_bytes()
    except OSError as problem:
        raise InvalidRequest(
            f"There is no dataset in {folder}: {FILE_NAME} can't be read ({problem.strerror}).",
            title="No dataset there",
            hint="Say where it is now: `persona-tui dataset adopt PERSONA NAME --folder FOLDER`.",
        ) from None
    return parsed(data, str(path)), sha256_of(data)


def parsed(data: bytes, name: str) -> Manifest:
    """A manifest out of its bytes.

    Raises:
        InvalidRequest: naming the first entry that can't be used.
    """
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise InvalidRequest(f"{name} can't be used: {where}: {first['msg']}.", hint=_MEND) from None
    seen: set[str] = set()
    for picture in manifest.pictures:
        if picture.sha256 in seen:
            raise InvalidRequest(f"{name} names {picture.file} twice.", hint="Take one of them out.")
        seen.add(picture.sha256)
    return manifest
