"""Pictures as lines of coloured half blocks, encoded in a thread and kept for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

if TYPE_CHECKING:
    from persona_tui.terminal.halfblock import Cell, Colour
    from persona_tui.terminal.layer import Wish

KEPT = 32
"""Encoded pictures kept, those used last: about 1 MB each in a pane of 80×40 cells, more of smaller ones."""
KEPT_CELLS = KEPT * 80 * 40

_encoded: OrderedDict[Wish, list[Strip]] = OrderedDict()
"""Encoded files; a file that a pane shows never changes its content."""


def kept(wish: Wish) -> list[Strip] | None:
    """The lines, if they have been encoded."""
    if wish not in _encoded:
        return None
    _encoded.move_to_end(wish)
    return _encoded[wish]


def keep(wish: Wish, strips: list[Strip]) -> None:
    """Keep the lines of a file; bytes are shown once."""
    if not isinstance(wish.source, Path):
        return
    _encoded[wish] = strips
    _encoded.move_to_end(wish)
    cells = sum(wish.columns * wish.rows for wish in _encoded)
    while cells > KEPT_CELLS and len(_encoded) > KEPT:
        oldest, _ = _encoded.popitem(last=False)
        cells -= oldest.columns * oldest.rows


def encode(wish: Wish) -> list[Strip]:
    """Decode and encode; takes tens of milliseconds, so it runs in a thread.

    Raises:
        OSError, ValueError: it can't be read.
    """
    from persona_tui.terminal import halfblock
    from persona_tui.terminal.layer import Size, view
    from persona_tui.terminal.painter import decoded

    least = None if wish.zoom is not None else Size(4 * wish.columns, 8 * wish.rows)
    image = decoded(wish.source, least)
    if wish.zoom is not None:
        _, part = view(Size(*image.size), Size(1, 2), wish)
        image = image.crop((part.x, part.y, part.right, part.bottom))
    cells = halfblock.encode(image, wish.columns, wish.rows)
    return [strip for strip in map(_strip, cells) if strip.cell_length]


def centred(line: Strip, width: int, ground: Style) -> Strip:
    """A line of the picture in the middle of a pane; made at once, for there are hundreds on a page."""
    left = (width - line.cell_length) // 2
    right = width - line.cell_length - left
    if left < 0:
        return line.crop(0, width)
    return Strip([Segment(" " * left, ground), *line, Segment(" " * right, ground)], width)


def _strip(cells: Sequence[Cell]) -> Strip:
    """A line of the picture without what lies beside it, which is the pane's own ground."""
    from rich.color import Color, ColorType
    from rich.color_triplet import ColorTriplet

    def colour(rgb: Colour) -> Color:
        """As `Color.from_rgb` makes it, without the name that nobody reads and that takes longest."""
        return Color("", ColorType.TRUECOLOR, triplet=ColorTriplet(*rgb))

    segments = [
        Segment(cell.char, Style.from_color(colour(cell.fg), colour(cell.bg)))
        for cell in cells
        if cell.fg is not None and cell.bg is not None
    ]
    return Strip(segments, len(segments))
