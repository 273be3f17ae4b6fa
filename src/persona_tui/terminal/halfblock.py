"""Pictures of half blocks: two coloured pixels in each cell, in any terminal with colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from persona_tui.terminal.picture import fit, scaled

if TYPE_CHECKING:
    from PIL.Image import Image

Colour = tuple[int, int, int]

UPPER_HALF = "▀"


class Cell(NamedTuple):
    """One character with its two colours, red, green and blue from 0 to 255; None is the terminal's own."""

    char: str
    fg: Colour | None
    bg: Colour | None


_EMPTY = Cell(" ", None, None)


def encode(image: Image, columns: int, rows: int) -> list[list[Cell]]:
    """Draw the picture in its aspect, centred in `columns` x `rows` cells that are twice as high as wide.

    Returns:
        `rows` lists of `columns` cells: an upper half block whose foreground is the upper pixel and
        whose background is the lower one, or an empty cell beside the picture.

    Raises:
        ValueError: a size is not positive.
    """
    import numpy as np

    box = fit(image.width, image.height, columns, rows)
    pixels = np.asarray(scaled(image, box.columns, box.rows * 2))
    flat = list(map(tuple, pixels.reshape(-1, 3).tolist()))
    before = [_EMPTY] * box.left
    after = [_EMPTY] * (columns - box.left - box.columns)
    drawn = []
    for start in range(0, len(flat), 2 * box.columns):
        middle, end = start + box.columns, start + 2 * box.columns
        pairs = zip(flat[start:middle], flat[middle:end], strict=True)
        drawn.append([*before, *(Cell(UPPER_HALF, upper, lower) for upper, lower in pairs), *after])
    above = [[_EMPTY] * columns for _ in range(box.top)]
    below = [[_EMPTY] * columns for _ in range(rows - box.top - box.rows)]
    return above + drawn + below
