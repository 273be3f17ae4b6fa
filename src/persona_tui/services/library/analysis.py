"""What can be measured on a picture without a model; pure, runs in the child pool."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

SIDE = 512
"""Pictures are measured at this longest side, in pixels, so that figures compare."""


@dataclass(frozen=True)
class PictureMeasures:
    """Attributes:
    sharpness: variance of the 4-neighbour Laplacian on the 8-bit grey picture at 512 px.
    exposure: mean grey level, 0 black to 1 white.
    clipped_dark: share of pixels at or below 4 of 255.
    clipped_bright: share of pixels at or above 251 of 255.
    """

    sharpness: float
    exposure: float
    clipped_dark: float
    clipped_bright: float


def measure(data: bytes) -> PictureMeasures:
    """Measure one encoded picture."""
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (SIDE, SIDE))
        grey = ImageOps.exif_transpose(image).convert("RGB").convert("L")
    grey.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    level = np.asarray(grey, dtype=np.float64)
    centre = level[1:-1, 1:-1]
    laplacian = 4 * centre - level[:-2, 1:-1] - level[2:, 1:-1] - level[1:-1, :-2] - level[1:-1, 2:]
    return PictureMeasures(
        sharpness=float(laplacian.var()) if laplacian.size else 0.0,
        exposure=float(level.mean() / 255),
        clipped_dark=float((level <= 4).mean()),
        clipped_bright=float((level >= 251).mean()),
    )
