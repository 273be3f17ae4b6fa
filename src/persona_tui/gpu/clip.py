"""CLIP by open_clip: pictures and words in one space, with weights from a file or once from the model hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.embedding import DIMENSIONS, Vector

ARCHITECTURE = "ViT-B-32"
NAME = f"open_clip {ARCHITECTURE}"
REPOSITORY = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
FILE = "open_clip_model.safetensors"
"""The weights' file in that repository: 605 MB, MIT licence."""
ADDRESS = f"https://huggingface.co/{REPOSITORY}/resolve/main/{FILE}"
CONFIG = "open_clip_config.json"
"""Beside the weights in a folder: another architecture than the usual one."""

_HINT = f"Fetch {ADDRESS} anew."


def download(folder: Path) -> Path:
    """Fetch the weights from the hub into a folder; a fetch that was cut off goes on where it was.

    Raises:
        InvalidRequest: the hub can't be reached, or does not have the file.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(REPOSITORY, FILE, local_dir=folder))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError):
        raise InvalidRequest(
            "CLIP's weights can't be fetched from the model hub.",
            hint=f"Fetch {ADDRESS} and put it at {folder / FILE}.",
        ) from None


class ClipEncoder:
    """An open_clip model: bf16 on a card, fp32 on the CPU."""

    def __init__(self, path: Path) -> None:
        """Load the weights.

        Args:
            path: a .pt or .safetensors file of ViT-B-32, or a folder with an open_clip_config.json.

        Raises:
            InvalidRequest: the file holds no such weights, or its vectors are not 512 long.
        """
        from persona_tui.gpu.torchvision_shim import ensure_torchvision

        ensure_torchvision()
        import open_clip
        import torch

        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._dtype = torch.bfloat16 if self._device == "cuda" else torch.float32
        name, options = _named(path)
        try:
            made = open_clip.create_model_and_transforms(name, **options, require_pretrained=True)
        except Exception as problem:  # torch, safetensors, pickle and open_clip each raise their own
            raise InvalidRequest(
                f"{path} holds no weights of CLIP {ARCHITECTURE} ({type(problem).__name__}).", hint=_HINT
            ) from None
        self._model: Any = made[0].eval().to(self._device, self._dtype)
        self._preprocess: Any = made[2]
        self._tokenize = open_clip.get_tokenizer(name)
        length = self.encode_words(["a picture"]).shape[1]
        if length != DIMENSIONS:
            raise InvalidRequest(
                f"The vectors of {path} are {length} long, and {DIMENSIONS} are kept.",
                hint=f"Use weights of CLIP {ARCHITECTURE}.",
            )

    def prepare(self, picture: Image.Image) -> Any:
        """The model's own resizing, cutting and normalising."""
        return self._preprocess(picture)

    def encode(self, prepared: Sequence[Any]) -> Vector:
        """Picture features."""
        with self._torch.inference_mode():
            batch = self._torch.stack(tuple(prepared)).to(self._device, self._dtype)
            return _floats(self._model.encode_image(batch))

    def encode_words(self, texts: Sequence[str]) -> Vector:
        """Text features; a text beyond 77 tokens is cut."""
        with self._torch.inference_mode():
            return _floats(self._model.encode_text(self._tokenize(list(texts)).to(self._device)))


def _named(path: Path) -> tuple[str, dict[str, Any]]:
    """What open_clip calls the model, and where it finds its weights."""
    if path.is_dir():
        return f"local-dir:{path}", {}
    return ARCHITECTURE, {"pretrained": str(path)}


def _floats(features: Any) -> Vector:
    found: Vector = features.float().cpu().numpy().astype(np.float32)
    return found
