"""DINOv2: vectors that tell figures apart, drawn ones too; from a folder of this machine, never the hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from persona_tui.errors import InvalidRequest

REPOSITORIES = ("facebook/dinov2-large", "facebook/dinov2-base", "facebook/dinov2-small")
"""Apache-2.0; whose weights are taken where the hub's cache has them, the best first."""
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
_KINDS = ("dinov2", "dinov2_with_registers")
_SIDE = 224
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pictures, as the model's makers normalise (facebookresearch/dinov2, data/transforms.py)."""
_EDGE = 1 << 20

Vector = NDArray[np.float32]


def cached_folder() -> Path | None:
    """The folder of the hub's cache with the best of these models; None without one. Asks no network."""
    from huggingface_hub import try_to_load_from_cache

    for repository in REPOSITORIES:
        found = [try_to_load_from_cache(repository, name) for name in (CONFIG, WEIGHTS)]
        if all(isinstance(path, str) for path in found):
            return Path(str(found[0])).parent
    return None


def check_folder(folder: Path) -> None:
    """See that a folder holds a DINOv2, without loading it.

    Raises:
        InvalidRequest: it does not.
    """
    try:
        kind = json.loads((folder / CONFIG).read_text("utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        raise _no_model(folder, f"{CONFIG} can't be read") from None
    if kind not in _KINDS:
        raise _no_model(folder, f"it holds a {kind}")
    if not (folder / WEIGHTS).is_file():
        raise _no_model(folder, f"{WEIGHTS} is missing")


def fingerprint(path: Path) -> str:
    """Eight hexadecimal digits that tell one file of weights from another: of its size, beginning and end.

    Raises:
        OSError: it can't be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.sha256(str(size).encode() + file.read(_EDGE))
        file.seek(max(0, size - _EDGE))
        digest.update(file.read())
    return digest.hexdigest()[:8]


def vectors_of(folder: Path, pictures: Sequence[Image.Image]) -> list[Vector]:
    """Unit vectors of RGB pictures: the model's class token, on the CPU in fp32.

    Raises:
        InvalidRequest: the folder holds no such model.
    """
    import torch

    model = _loaded(folder)
    pixels = torch.from_numpy(np.stack([_prepared(picture) for picture in pictures]))
    with torch.inference_mode():
        found = model(pixel_values=pixels).last_hidden_state[:, 0]
    unit = torch.nn.functional.normalize(found.float(), dim=1)
    return [np.asarray(vector, np.float32) for vector in unit.numpy()]


@lru_cache(maxsize=1)
def _loaded(folder: Path) -> Any:
    from persona_tui.gpu.torchvision_shim import ensure_torchvision

    check_folder(folder)
    ensure_torchvision()
    from transformers import AutoModel

    try:
        return AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    except Exception as problem:  # transformers, safetensors and torch each raise their own
        raise _no_model(folder, f"its weights can't be read ({type(problem).__name__})") from None


def _prepared(picture: Image.Image) -> NDArray[np.float32]:
    """(3, 224, 224): the shorter side is scaled, the middle taken."""
    scale = _SIDE / min(picture.size)
    size = (max(_SIDE, round(picture.width * scale)), max(_SIDE, round(picture.height * scale)))
    copy = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    left, top = (copy.width - _SIDE) // 2, (copy.height - _SIDE) // 2
    pixels = np.asarray(copy.crop((left, top, left + _SIDE, top + _SIDE)), np.float32) / 255
    normal = (pixels - np.asarray(_MEAN, np.float32)) / np.asarray(_DEVIATION, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1), np.float32)


def _no_model(folder: Path, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"{folder} is no DINOv2 model: {why}.",
        hint=f"PERSONA_FACES__DINO names a folder with {CONFIG} and {WEIGHTS}, such as {REPOSITORIES[1]}'s.",
    )
