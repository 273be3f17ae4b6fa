"""Small runs: a dataset of real photographs cut small, a tiny base model, a recipe of few steps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.manifest import Manifest, Picture, as_bytes, sha256_of
from persona_tui.gpu.training.run_file import RunFile

TRIGGER = "ohwx"
SIDE = 16
MADE = datetime(2026, 11, 29, tzinfo=UTC)


def pictures(count: int) -> list[Image.Image]:
    """Crops of scikit-image's photographs, each another place; every other one is upright."""
    from skimage import data

    sources = [data.astronaut(), data.chelsea(), data.coffee()]
    found = []
    for number in range(count):
        source = sources[number % len(sources)]
        side = 160 + 20 * (number % 3)
        top, left = 20 * number % (source.shape[0] - side), 30 * number % (source.shape[1] - side)
        crop = Image.fromarray(np.ascontiguousarray(source[top : top + side, left : left + side]))
        found.append(crop.resize((2 * SIDE, 3 * SIDE) if number % 2 else (2 * SIDE, 2 * SIDE)))
    return found


def write_dataset(folder: Path, shown: Sequence[Image.Image], **changed: Any) -> str:
    """A dataset's folder with its manifest, every fourth picture held out.

    Args:
        changed: per picture's number, entries of the manifest that differ, such as `p3={"angle": "front"}`;
            `control` takes pictures.

    Returns:
        The manifest's SHA-256.
    """
    folder.mkdir(parents=True)
    entries = []
    for number, picture in enumerate(shown):
        entry = {
            "file": f"{number:03}.png",
            "sha256": _saved(folder / f"{number:03}.png", picture),
            "caption": f"a photo of {TRIGGER}, number {number}",
            "role": "held_out" if number % 4 == 3 else "train",
            "angle": "front" if number % 2 else "profile",
        } | changed.get(f"p{number}", {})
        sources = entry.get("control", [])
        entry["control"] = [f"{number:03}-source{at}.png" for at in range(len(sources))]
        for name, source in zip(entry["control"], sources, strict=True):
            _saved(folder / name, source)
        entries.append(Picture.model_validate(entry))
    manifest = Manifest(
        name="small", persona="nobody", trigger_word=TRIGGER, created_at=MADE, pictures=tuple(entries)
    )
    data = as_bytes(manifest)
    (folder / "manifest.json").write_bytes(data)
    return sha256_of(data)


def _saved(path: Path, picture: Image.Image) -> str:
    picture.save(path)
    return _hash(path)


def small_recipe(base: Path, dataset: Path, dataset_hash: str, **changed: Any) -> RunFile:
    """A recipe of ten steps on a tiny base model."""
    told = {
        "family": "flux1",
        "base": base,
        "dataset": dataset,
        "dataset_hash": dataset_hash,
        "trigger": TRIGGER,
        "rank": 4,
        "alpha": 4,
        "lr": 1e-3,
        "optimizer": "adamw",
        "warmup": 2,
        "steps": 10,
        "buckets": [SIDE],
        "dtype": "fp32",
        "caption_dropout": 0.25,
        "checkpoint_every": 3,
        "evaluate_every": 0,
        "keep": 0,
    }
    return RunFile.model_validate(told | changed)


def small_run(path: Path, recipe: RunFile) -> RunFolder:
    """A run's folder with that recipe."""
    folder = RunFolder(path)
    folder.create(recipe)
    return folder


@dataclass(frozen=True)
class Result:
    """What a finished run has learnt: hashes of the last weights and of their average, and the loss curve."""

    lora: str
    average: str | None
    losses: tuple[tuple[int, float], ...]


def result(folder: RunFolder) -> Result:
    """Of the newest checkpoint and the log."""
    last = max(folder.checkpoints.glob("step-*"))
    average = last / "ema.safetensors"
    return Result(
        _hash(last / "lora.safetensors"),
        _hash(average) if average.exists() else None,
        tuple((told.step, told.loss) for told in folder.losses()),
    )


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
