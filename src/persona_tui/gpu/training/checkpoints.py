"""Checkpoints: everything that a resume needs, whole or not at all (M3)."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from persona_tui import boundaries
from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training.durable import sync_folder, written
from persona_tui.gpu.training.rollback import Intervention
from persona_tui.gpu.training.run_file import RunFile

_PREFIX = "step-"
_MANIFEST = "manifest.json"
_LORA, _AVERAGE, _OPTIMIZER, _STATE = "lora.safetensors", "ema.safetensors", "optimizer.pt", "state.json"
_LAST = 2
"""Checkpoints that are always kept."""
_LIBRARIES = ("torch", "peft", "diffusers", "bitsandbytes")


@dataclass
class State:
    """Where a run stands between two optimizer steps.

    Attributes:
        recent: losses of the last steps, which the next one is held against.
        best: step → score of the checkpoints worth keeping; more is better.
        phase: of the curriculum.
        optimizer: what it is; adamw where adamw8bit was asked for and is missing.
    """

    step: int = 0
    recent: list[float] = field(default_factory=list)
    best: dict[int, float] = field(default_factory=dict)
    interventions: list[Intervention] = field(default_factory=list)
    phase: str = ""
    optimizer: str = ""

    def as_json(self) -> str:
        """For the checkpoint's state file."""
        told = {**vars(self), "interventions": [one.as_json() for one in self.interventions]}
        return json.dumps(told, sort_keys=True)


def state_of(told: Mapping[str, Any]) -> State:
    """The state that a checkpoint's or run's JSON tells."""
    return State(
        **{
            **told,
            "best": {int(step): float(score) for step, score in told["best"].items()},
            "interventions": [Intervention(**one) for one in told["interventions"]],
        }
    )


@dataclass(frozen=True)
class Kept:
    """A checkpoint that was read.

    Attributes:
        made_with: versions, thread count and card at its making.
    """

    state: State
    lora: dict[str, Tensor]
    average: dict[str, Tensor] | None
    optimizer: dict[str, Any]
    made_with: Mapping[str, Any]


class Broken(Exception):
    """A checkpoint is not what was written."""


def made_with(run: RunFile, device: torch.device, cards: int) -> dict[str, Any]:
    """What else decides the bits of a result: it is equal only where this is equal (M5)."""
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    versions = {name: _version(name) for name in _LIBRARIES}
    return {**versions, "threads": run.threads, "dtype": run.dtype, "card": card, "cards": cards}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def path_of(folder: Path, step: int) -> Path:
    """Where a step's checkpoint lies."""
    return folder / f"{_PREFIX}{step:08d}"


def steps_in(folder: Path) -> list[int]:
    """The steps that have a checkpoint, whether whole or not."""
    names = (path.name.removeprefix(_PREFIX) for path in folder.glob(f"{_PREFIX}*"))
    return sorted(int(name) for name in names if name.isdigit())


def write(
    folder: Path,
    run: RunFile,
    state: State,
    lora: Mapping[str, Tensor],
    average: Mapping[str, Tensor] | None,
    optimizer: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> None:
    """Write a step's checkpoint: files, then the manifest of their hashes, then the folder's name.

    Raises:
        DiskFull, StorageError: it can't be written; nothing of it stays.
    """
    files = {_LORA: save(dict(lora)), _OPTIMIZER: _pickled(optimizer), _STATE: state.as_json().encode()}
    if average is not None:
        files[_AVERAGE] = save(dict(average))
    manifest = {
        "version": 1,
        "step": state.step,
        "learning_hash": run.learning_hash(),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        "made_with": dict(facts),
    }
    target = path_of(folder, state.step)
    part = folder / f".{target.name}.part"
    with written(folder):
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            boundaries.reached("training:checkpoint:before_fsync")
            for name, data in files.items():
                _write_file(part / name, data)
            boundaries.reached("training:checkpoint:before_manifest")
            _write_file(part / _MANIFEST, json.dumps(manifest, indent=1).encode())
            sync_folder(part)
            boundaries.reached("training:checkpoint:before_rename")
            shutil.rmtree(target, ignore_errors=True)
            part.rename(target)
            boundaries.reached("training:checkpoint:after_rename")
            sync_folder(folder)
            boundaries.reached("training:checkpoint:after_fsync")
        except OSError:
            shutil.rmtree(part, ignore_errors=True)
            raise


def _write_file(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _pickled(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def read(path: Path, learning_hash: str) -> Kept:
    """Read a checkpoint.

    Raises:
        Broken: a file is missing, cut off or changed.
        InvalidRequest: it was made under another recipe.
    """
    try:
        manifest = json.loads((path / _MANIFEST).read_bytes())
        data = {name: (path / name).read_bytes() for name in manifest["files"]}
        changed = [n for n, sha in manifest["files"].items() if hashlib.sha256(data[n]).hexdigest() != sha]
        if changed:
            raise Broken(f"{changed[0]} is not what was written")
        average = load(data[_AVERAGE]) if _AVERAGE in data else None
        state = state_of(json.loads(data[_STATE]))
        optimizer = torch.load(io.BytesIO(data[_OPTIMIZER]), map_location="cpu", weights_only=True)
        kept = Kept(state, load(data[_LORA]), average, optimizer, manifest["made_with"])
        told = manifest["learning_hash"]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise Broken(str(problem)) from None
    if told != learning_hash:
        raise InvalidRequest(
            f"{path.name} was made under another recipe than the run's folder now holds.",
            hint="Put the old run.toml back, or plan a new run.",
        )
    return kept


def newest(folder: Path, run: RunFile, tell: Callable[[str], None]) -> Kept | None:
    """The last checkpoint that is whole.

    Args:
        tell: takes a sentence on each that is not; it is set aside.

    Raises:
        InvalidRequest: it was made under another recipe.
    """
    for part in folder.glob(".*.part"):
        shutil.rmtree(part, ignore_errors=True)
    for step in reversed(steps_in(folder)):
        path = path_of(folder, step)
        try:
            return read(path, run.learning_hash())
        except Broken as problem:
            tell(f"The checkpoint of step {step} is broken ({problem}); the one before it is taken.")
            aside = path.with_name(f"broken-{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
    return None


def best_of(scores: Mapping[int, float], keep: int) -> list[int]:
    """The steps with the highest scores, the best first."""
    return sorted(scores, key=lambda step: scores[step], reverse=True)[:keep]


def left_of(steps: Iterable[int], best: Iterable[int]) -> set[int]:
    """Which of these steps pruning leaves: the last two and the best."""
    told = sorted(steps)
    return {*told[-_LAST:], *(step for step in best if step in told)}


def prune(folder: Path, best: Iterable[int]) -> None:
    """Remove all but the last two and the best."""
    steps = steps_in(folder)
    kept = left_of(steps, best)
    for step in steps:
        if step not in kept:
            boundaries.reached("training:checkpoint:before_prune")
            shutil.rmtree(path_of(folder, step), ignore_errors=True)
    boundaries.reached("training:checkpoint:after_prune")
