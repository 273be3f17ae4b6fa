"""The part of a picture that goes out: cropped to a shape that Instagram takes, round faces, or padded to it.

Pure functions over Pillow images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from persona_tui.services.publishing.feed_rules import MAX_ASPECT, MIN_ASPECT, MIN_WIDTH

EXPORT_WIDTH = 1080
Fit = Literal["crop", "pad"]
Profile = npt.NDArray[np.float64]

_ANALYSIS_EDGE = 256
_ABOVE_FACE, _AROUND_FACE = 0.4, 0.2
"""Room that a face needs, in shares of its height: for hair above it, and on its other sides."""


@dataclass(frozen=True, slots=True)
class FaceBox:
    """A face, in shares of the upright picture."""

    left: float
    top: float
    width: float
    height: float

    def span(self, axis: int) -> tuple[float, float]:
        """From where to where it reaches with the room that it needs: along the rows (0) or columns (1)."""
        if axis == 0:
            first, last = self.top - _ABOVE_FACE * self.height, self.top + (1 + _AROUND_FACE) * self.height
        else:
            first, last = self.left - _AROUND_FACE * self.width, self.left + (1 + _AROUND_FACE) * self.width
        return max(first, 0.0), min(last, 1.0)


def frame(
    picture: Image.Image,
    aspect: float | None,
    notes: list[str],
    *,
    fit: Fit = "crop",
    faces: Sequence[FaceBox] = (),
) -> Image.Image:
    """The picture in a shape and size that Instagram shows.

    Args:
        picture: upright, RGB.
        aspect: width to height; None keeps the shape where Instagram's feed takes it.
        notes: gets a sentence for each thing that was done.
        fit: what is too wide or too high loses its edges, or gets blurred ones of its own beside it.
        faces: the surest first; a crop keeps all of them, else as many of the first as fit.
    """
    width, height = picture.size
    wanted = aspect or min(max(width / height, MIN_ASPECT), MAX_ASPECT)
    if fit == "pad" and not math.isclose(width / height, wanted, rel_tol=1e-3):
        return _padded(picture, wanted, notes)
    box = crop_box(picture, wanted, faces)
    size = export_size(box[2] - box[0], wanted)
    whole = box == (0.0, 0.0, float(width), float(height))
    if not whole:
        round_them = " round the faces" if faces else ""
        notes.append(f"Cropped {width} × {height} to {wanted:.3g} wide to high{round_them}.")
    if whole and size == picture.size:
        return picture
    if size[0] > math.ceil(box[2] - box[0]):
        notes.append(f"Enlarged to {size[0]} × {size[1]}, the least that Instagram shows.")
    return picture.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def export_size(width: float, aspect: float) -> tuple[int, int]:
    """Whole pixels for a picture that wide, with the aspect never outside Instagram's range."""
    wide = min(max(math.floor(width + 1e-6), MIN_WIDTH), EXPORT_WIDTH)
    least = min(aspect, MIN_ASPECT)  # a story is higher than the feed takes
    high = min(max(round(wide / aspect), math.ceil(wide / MAX_ASPECT)), math.floor(wide / least))
    return wide, high


def crop_box(
    picture: Image.Image, aspect: float, faces: Sequence[FaceBox] = ()
) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the crop with this aspect that keeps most of what there is to see."""
    width, height = picture.size
    if math.isclose(width / height, aspect, rel_tol=1e-9):
        return 0.0, 0.0, float(width), float(height)
    if width / height > aspect:
        kept = height * aspect
        left = _offset(_detail(picture, axis=1), kept / width, _middle, faces, axis=1) * width
        left = min(max(left, 0.0), width - kept)
        return left, 0.0, left + kept, float(height)
    kept = width / aspect
    top = _offset(_detail(picture, axis=0), kept / height, _upper_part, faces, axis=0) * height
    top = min(max(top, 0.0), height - kept)
    return 0.0, top, float(width), top + kept


def _padded(picture: Image.Image, aspect: float, notes: list[str]) -> Image.Image:
    """The whole picture before a blurred, darkened enlargement of itself."""
    width, height = picture.size
    wide, high = export_size(max(width, height * aspect), aspect)
    scale = min(wide / width, high / height)
    inner = (max(round(width * scale), 1), max(round(height * scale), 1))
    cover = crop_box(picture, aspect)
    small = picture.resize((max(wide // 8, 1), max(high // 8, 1)), Image.Resampling.BOX, box=cover)
    blurred = small.filter(ImageFilter.GaussianBlur(6)).point(lambda value: value * 0.7)
    canvas = blurred.resize((wide, high), Image.Resampling.BICUBIC)
    canvas.paste(
        picture.resize(inner, Image.Resampling.LANCZOS, reducing_gap=3.0),
        ((wide - inner[0]) // 2, (high - inner[1]) // 2),
    )
    notes.append(f"Padded {width} × {height} to {aspect:.3g} wide to high.")
    return canvas


def _detail(picture: Image.Image, *, axis: int) -> Profile:
    """Mean strength of edges in each row (axis 0) or column (axis 1) of a reduced grey copy."""
    grey = picture.convert("L")
    grey.thumbnail((_ANALYSIS_EDGE, _ANALYSIS_EDGE), Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.float64)
    strength = np.abs(np.diff(values, axis=0, append=values[-1:, :]))
    strength += np.abs(np.diff(values, axis=1, append=values[:, -1:]))
    return np.asarray(strength.mean(axis=1 - axis) + 1.0)  # 1: a flat picture is cropped by the prior alone


def _middle(places: Profile) -> Profile:
    """How much columns count, 0 left to 1 right: subjects stand near the middle."""
    return np.exp(-0.5 * ((places - 0.5) / 0.3) ** 2)


def _upper_part(places: Profile) -> Profile:
    """How much rows count, 0 top to 1 bottom: a cut head costs more than a cut hem."""
    return np.exp(-0.5 * (np.maximum(places - 0.35, 0.0) / 0.3) ** 2)


def _offset(
    detail: Profile,
    share: float,
    prior: Callable[[Profile], Profile],
    faces: Sequence[FaceBox],
    *,
    axis: int,
) -> float:
    """Where the window of that share of the length begins: 0 to 1 − share.

    It keeps the faces; among the places that do so it is the one that holds most weighted detail.
    """
    weights = detail * prior((np.arange(detail.size) + 0.5) / detail.size)
    window = max(1, min(detail.size, round(share * detail.size)))
    sums = np.convolve(weights, np.ones(window), mode="valid")
    span = _kept_span([face.span(axis) for face in faces], share)
    if span is None:
        return float(np.argmax(sums)) / detail.size
    first, last = span
    if last - first >= share:  # even one face is larger than the window: its middle is what counts
        return (first + last - share) / 2
    lowest, highest = max(last - share, 0.0), min(first, 1.0 - share)
    places = np.arange(sums.size) / detail.size
    allowed = np.flatnonzero((places >= lowest) & (places <= highest))
    if not allowed.size:
        return (lowest + highest) / 2
    return float(places[allowed[np.argmax(sums[allowed])]])


def _kept_span(spans: Sequence[tuple[float, float]], share: float) -> tuple[float, float] | None:
    """From where to where the faces reach that fit into the window together, the first ones first."""
    kept: tuple[float, float] | None = None
    for first, last in spans:
        wider = (first, last) if kept is None else (min(kept[0], first), max(kept[1], last))
        if kept is None or wider[1] - wider[0] <= share:
            kept = wider
    return kept


__all__ = ["EXPORT_WIDTH", "FaceBox", "Fit", "crop_box", "export_size", "frame"]
