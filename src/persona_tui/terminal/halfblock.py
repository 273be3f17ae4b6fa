"""Pictures of half blocks: two coloured pixels in each cell, in any terminal with colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from persona_tui.terminal.picture import fit, scaled

if TYPE_CHECKING:
    from PIL.Image import Image

Colour = tuple[int, int, int]

UPPER_HALF = "▀"
RESET = "\x1b[0m"


class Row(NamedTuple):
    """A line of cells: red, green and blue of each one's upper pixel, and of each one's lower pixel."""

    upper: bytes
    lower: bytes

    @property
    def columns(self) -> int:
        """How many cells there are."""
        return len(self.upper) // 3

    def colours(self) -> Iterator[tuple[Colour, Colour]]:
        """Each cell's foreground and background."""
        upper, lower = (zip(*[iter(half)] * 3, strict=True) for half in self)
        return zip(upper, lower, strict=True)


def encode(image: Image, columns: int, rows: int) -> list[Row]:
    """Draw the picture in its aspect, as large as it fits into cells that are twice as high as wide.

    Returns:
        Its lines from top to bottom, at most `rows` of at most `columns` cells: an upper half block whose
        foreground is the upper pixel and whose background is the lower one.

    Raises:
        ValueError: a size is not positive.
    """
    box = fit(image.width, image.height, columns, rows)
    pixels = scaled(image, box.columns, box.rows * 2).tobytes()
    width = 3 * box.columns
    lines = [pixels[start : start + width] for start in range(0, len(pixels), width)]
    return [Row(*pair) for pair in zip(lines[::2], lines[1::2], strict=True)]


def commands(row: Row) -> str:
    """What a terminal of 16 million colours is sent for a line."""
    cells = (
        f"\x1b[38;2;{red};{green};{blue};48;2;{low_red};{low_green};{low_blue}m{UPPER_HALF}"
        for (red, green, blue), (low_red, low_green, low_blue) in row.colours()
    )
    return "".join(cells) + RESET
