"""Painting primitives on float pictures: gradients, smooth noise, soft masks, layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from persona_tui.sandbox.comfyui.palette import Colour

Field = npt.NDArray[np.float32]
"""Height × width, or height × width × 3; values 0…1."""
Pixels = npt.NDArray[np.uint8]
"""Height × width × 3, sRGB."""


def colour(value: Colour) -> Field:
    """A colour as an array of three."""
    return np.asarray(value, dtype=np.float32)


def mix(first: Any, second: Any, share: Any) -> Field:
    """`first` where share is 0, `second` where it is 1; all broadcast."""
    return np.asarray(first + (second - first) * share, dtype=np.float32)


def smoothstep(low: float, high: float, value: Any) -> Field:
    """0 below `low`, 1 above `high`, smooth between; `low` may be above `high`."""
    share = np.clip((np.asarray(value, dtype=np.float32) - low) / (high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), dtype=np.float32)


def resized(field: Field, width: int, height: int) -> Field:
    """A single-channel field in another size, bicubic."""
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)


def noise(rng: np.random.Generator, width: int, height: int, cells_x: int, cells_y: int) -> Field:
    """Smooth noise -1…1 with so many cells across and down."""
    grid = rng.uniform(-1, 1, (max(2, cells_y), max(2, cells_x))).astype(np.float32)
    return resized(grid, width, height)


def clouds(
    rng: np.random.Generator, width: int, height: int, cells_x: int, cells_y: int, octaves: int
) -> Field:
    """Fractal noise, about -1…1: each octave twice as fine and half as strong."""
    total = np.zeros((height, width), dtype=np.float32)
    for octave in range(octaves):
        total += noise(rng, width, height, cells_x << octave, cells_y << octave) * np.float32(0.5**octave)
    return total / np.float32(1.6)


def vertical(height: int, *stops: tuple[float, Colour]) -> Field:
    """A gradient from top to bottom, height × 1 × 3; stops are (place 0…1, colour)."""
    places = np.linspace(0, 1, height, dtype=np.float32)
    at = [stop[0] for stop in stops]
    channels = [np.interp(places, at, [stop[1][channel] for stop in stops]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)[:, None, :]


def grid(width: int, height: int) -> tuple[Field, Field]:
    """x (1 × width) and y (height × 1) of the pixel centres, each 0…1."""
    x = (np.arange(width, dtype=np.float32)[None, :] + 0.5) / width
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height
    return x.astype(np.float32), y.astype(np.float32)


def soft(mask: Image.Image, radius: float, width: int, height: int) -> Field:
    """An 8-bit mask, blurred by `radius` of its own pixels, in the size of the picture, 0…1."""
    blurred = mask.filter(ImageFilter.GaussianBlur(radius)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(blurred, dtype=np.float32) / np.float32(255)


def lay(picture: Field, layer: Field, alpha: Field, left: int, top: int) -> None:
    """Lay a layer (h × w × 3) with its alpha (h × w) over the picture in place, clipped at the edges."""
    height, width = alpha.shape
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(picture.shape[1], left + width), min(picture.shape[0], top + height)
    if x0 >= x1 or y0 >= y1:
        return
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    target = picture[y0:y1, x0:x1]
    target += (layer[part] - target) * alpha[part][..., None]


def lay_image(picture: Field, layer: Image.Image, left: int, top: int) -> None:
    """Lay an RGBA image over the picture in place."""
    pixels = np.asarray(layer, dtype=np.float32) / np.float32(255)
    lay(picture, pixels[..., :3], pixels[..., 3], left, top)
