"""What encoding leaves for training: latents, captions and masks by key, and an index of samples (M9)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from persona_tui import boundaries
from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training.buckets import Size
from persona_tui.gpu.training.durable import write_durably
from persona_tui.gpu.training.run_file import RunFile

if TYPE_CHECKING:
    import torch

_INDEX = "index.json"
_KEPT_BYTES = 1 << 30
"""What is held in memory; beyond it files are read at each step, mostly from the system's own cache."""
_AGAIN = "Run `train resume`: what is missing is encoded again."

# What else than these a recipe says leaves the encoded pictures and captions as they are.
_DECIDES = {
    "family", "dataset_hash", "trigger", "class_prompt", "preservation", "buckets", "dtype", "mask_loss",
    "mask_background",
}  # fmt: skip


class Sample(BaseModel):
    """A picture in one bucket, with the keys of what was encoded of it.

    Attributes:
        picture: its SHA-256.
        empty: the empty caption; an editor's still shows the sources.
        class_prompt: the caption with the class's words for the trigger; None without preservation.
        mask: None: every place weighs the same.
    """

    model_config = ConfigDict(frozen=True)

    picture: str
    file: str
    role: str
    angle: str
    bucket: Size
    latents: str
    prompt: str
    empty: str
    class_prompt: str | None = None
    control: tuple[str, ...] = ()
    mask: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Width, height and number of sources: what the samples of a batch have in common."""
        return (*self.bucket, len(self.control))


class Index(BaseModel):
    """All samples of a run.

    Attributes:
        decided_by: hash of what decides the samples; another recipe needs another index.
        files: key → SHA-256 of its file.
        without_face: pictures whose mask found no face.
    """

    model_config = ConfigDict(frozen=True)

    version: int = 1
    decided_by: str
    samples: tuple[Sample, ...]
    files: Mapping[str, str]
    without_face: tuple[str, ...] = ()

    def places(self, roles: Sequence[str], angles: Sequence[str] = ()) -> list[int]:
        """Where the samples of these roles and angles stand; without angles, of all."""
        return [
            place
            for place, sample in enumerate(self.samples)
            if sample.role in roles and (not angles or sample.angle in angles)
        ]


def key_of(kind: str, **facts: Any) -> str:
    """The name of something encoded: a hash of all that its content depends on."""
    told = json.dumps({"kind": kind, **facts}, sort_keys=True, ensure_ascii=False)
    return f"{kind}-{hashlib.sha256(told.encode()).hexdigest()[:40]}"


def decided_by(run: RunFile) -> str:
    """Hash of what in a recipe decides the samples."""
    told = run.model_dump(mode="json", include=_DECIDES)
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def part_hash(folder: Path) -> str:
    """Hash of a component's files: config, weights, vocabulary; reads them all."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.glob("*") if path.is_file()):
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


class Cache:
    """The files in a run's `cache/`. What is in it is whole: each is renamed into place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hashes: dict[str, str] = {}
        self._kept: dict[str, dict[str, torch.Tensor]] = {}
        self._room = _KEPT_BYTES

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"

    def has(self, key: str) -> bool:
        """Whether it was encoded already."""
        return self._file(key).exists()

    def put(self, key: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Keep something that was encoded.

        Raises:
            DiskFull, StorageError: it can't be written.
        """
        from safetensors.torch import save

        data = save({name: tensor.contiguous() for name, tensor in tensors.items()})
        boundaries.reached("training:encode:before_write")
        write_durably(self._file(key), data)
        boundaries.reached("training:encode:after_write")

    def hash_of(self, key: str) -> str:
        """SHA-256 of a key's file.

        Raises:
            InvalidRequest: it is gone.
        """
        try:
            with self._file(key).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as problem:
            raise InvalidRequest(
                f"{self._file(key)} can't be read: {problem.strerror}.", hint=_AGAIN
            ) from None

    def load(self, key: str) -> dict[str, torch.Tensor]:
        """What was kept under a key; compared with the index when it is read for the first time.

        Raises:
            InvalidRequest: it is gone, or its content is not what was encoded.
        """
        from safetensors.torch import load

        if key in self._kept:
            return self._kept[key]
        try:
            data = self._file(key).read_bytes()
        except OSError as problem:
            raise InvalidRequest(
                f"{self._file(key)} can't be read: {problem.strerror}.", hint=_AGAIN
            ) from None
        expected = self._hashes.pop(key, None)
        if expected is not None and hashlib.sha256(data).hexdigest() != expected:
            raise InvalidRequest(
                f"{self._file(key)} is not what was encoded.",
                title="Cache is damaged",
                hint="Delete that file and run `train resume`: it is encoded again.",
            )
        tensors = load(data)
        if len(data) <= self._room:
            self._room -= len(data)
            self._kept[key] = tensors
        return tensors

    def write_index(self, index: Index) -> None:
        """Say that everything is there.

        Raises:
            DiskFull, StorageError: it can't be written.
        """
        write_durably(self._folder / _INDEX, index.model_dump_json().encode())

    def index(self, run: RunFile) -> Index:
        """The samples.

        Raises:
            InvalidRequest: nothing was encoded for this recipe.
        """
        try:
            index = Index.model_validate_json((self._folder / _INDEX).read_bytes())
        except (OSError, ValidationError):
            raise InvalidRequest("Nothing has been encoded for this run yet.", hint=_AGAIN) from None
        if index.decided_by != decided_by(run):
            raise InvalidRequest("What was encoded belongs to another recipe.", hint=_AGAIN)
        self._hashes = dict(index.files)
        return index

    def is_complete(self, run: RunFile) -> bool:
        """Whether encoding has nothing left to do for this recipe."""
        try:
            index = self.index(run)
        except InvalidRequest:
            return False
        return all(self.has(key) for key in index.files)
