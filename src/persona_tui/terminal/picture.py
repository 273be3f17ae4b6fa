"""Where a picture lies in a rectangle of cells, and the pixels that it gets there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image

# Of a cell, where the terminal doesn't tell its size: most fonts are twice as high as wide.
CELL_WIDTH, CELL_HEIGHT = 1, 2


class Box(NamedTuple):
    """A rectangle of cells, counted from 0 at the top left."""

    left: int
    top: int
    columns: int
    rows: int


def fit(
    width: int,
    height: int,
    columns: int,
    rows: int,
    *,
    cell_width: int = CELL_WIDTH,
    cell_height: int = CELL_HEIGHT,
) -> Box:
    """The largest box of the picture's aspect, centred in `columns` x `rows` cells; at least one cell.

    Args:
        width, height: of the picture, in pixels.
        cell_width, cell_height: of a cell, in pixels; only their ratio counts.

    Raises:
        ValueError: a size is not positive.
    """
    if min(width, height, columns, rows, cell_width, cell_height) <= 0:
        raise ValueError("sizes must be positive")
    scale = min(columns * cell_width / width, rows * cell_height / height)
    wide = min(columns, max(1, round(width * scale / cell_width)))
    high = min(rows, max(1, round(height * scale / cell_height)))
    return Box((columns - wide) // 2, (rows - high) // 2, wide, high)


def scaled(image: Image, width: int, height: int) -> Image:
    """The picture as RGB of exactly that size; what is transparent lies on black."""
    from PIL import Image as pillow

    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = pillow.new("RGBA", image.size, (0, 0, 0, 255))
        image = pillow.alpha_composite(ground, image)
    image = image.convert("RGB")
    if image.size == (width, height):
        return image
    return image.resize((width, height), pillow.Resampling.BICUBIC, reducing_gap=2.0)
