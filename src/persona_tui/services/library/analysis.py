"""What can be measured on a picture without a model; pure, runs in the child pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from persona_tui.gpu.pictures import Batch, Source, Unreadable, batches, opened

VERSION = "measures 2"
SIDE = 512
"""Pictures are measured at this longest side, in pixels, so that figures compare."""
_COLOUR_SIDE = 96
_COLOURS = 5


@dataclass(frozen=True)
class Colour:
    """One of a picture's main colours: `#rrggbb`, and the share of pixels nearest to it, 0 to 1."""

    rgb: str
    share: float


@dataclass(frozen=True)
class PictureMeasures:
    """Attributes:
    sharpness: variance of the 4-neighbour Laplacian on the 8-bit grey picture at 512 px.
    exposure: mean grey level, 0 black to 1 white.
    clipped_dark: share of pixels at or below 4 of 255.
    clipped_bright: share of pixels at or above 251 of 255.
    colours: up to 5 main colours by median cut, the commonest first.
    """

    sharpness: float
    exposure: float
    clipped_dark: float
    clipped_bright: float
    colours: tuple[Colour, ...]


def measure_all(sources: Sequence[Source]) -> list[PictureMeasures | Unreadable]:
    """Measure pictures, in their order."""
    found: list[PictureMeasures | Unreadable] = []
    for batch in batches(sources, _measured):
        found.extend(_in_order(batch))
    return found


def measure(source: Source) -> PictureMeasures:
    """Measure one encoded picture.

    Raises:
        OSError, ValueError, SyntaxError: it can't be decoded.
    """
    return _measured(opened(source))


def _measured(picture: Image.Image) -> PictureMeasures:
    small = picture.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    level = np.asarray(small.convert("L"), dtype=np.float64)
    centre = level[1:-1, 1:-1]
    laplacian = 4 * centre - level[:-2, 1:-1] - level[2:, 1:-1] - level[1:-1, :-2] - level[1:-1, 2:]
    return PictureMeasures(
        sharpness=float(laplacian.var()) if laplacian.size else 0.0,
        exposure=float(level.mean() / 255),
        clipped_dark=float((level <= 4).mean()),
        clipped_bright=float((level >= 251).mean()),
        colours=_colours(small),
    )


def _colours(picture: Image.Image) -> tuple[Colour, ...]:
    tiny = picture.resize((_COLOUR_SIDE, _COLOUR_SIDE), Image.Resampling.BOX)
    few = tiny.quantize(_COLOURS, Image.Quantize.MEDIANCUT)
    palette = np.asarray(few.getpalette(), dtype=np.uint8).reshape(-1, 3)
    counts = np.bincount(np.asarray(few).ravel(), minlength=_COLOURS)
    return tuple(
        Colour("#" + palette[place].tobytes().hex(), float(counts[place] / counts.sum()))
        for place in np.argsort(-counts, kind="stable")
        if counts[place]
    )


def _in_order(batch: Batch[PictureMeasures]) -> list[PictureMeasures | Unreadable]:
    by_place: dict[int, PictureMeasures | Unreadable] = dict(
        zip(batch.places, batch.prepared, strict=True)
    ) | dict(batch.unreadable)
    return [by_place[place] for place in sorted(by_place)]
