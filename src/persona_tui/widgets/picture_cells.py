"""Pictures as lines of coloured half blocks, encoded in a thread and kept for a while."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rich.color import Color, ColorSystem, ColorType
from rich.color_triplet import ColorTriplet
from rich.console import Console
from rich.segment import Segment
from rich.style import Style

from persona_tui.widgets.picture_strips import LooseStrip

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from persona_tui.terminal.halfblock import Colour, Row
    from persona_tui.terminal.layer import Wish

KEPT = 32
"""Encoded pictures kept, those used last: some 0.2 MB each in a pane of 80×40 cells, more of smaller ones."""
KEPT_CELLS = KEPT * 80 * 40

Lines = list[tuple["Row", str]]
"""A picture's lines from top to bottom, and what a terminal is sent for each."""


class Shelf:
    """Encoded files, those used last; a file that a pane shows never changes its content."""

    def __init__(self) -> None:
        self._found: OrderedDict[Wish, Lines] = OrderedDict()
        self._cells = 0

    def get(self, wish: Wish) -> Lines | None:
        """The lines, if they are kept."""
        if wish not in self._found:
            return None
        self._found.move_to_end(wish)
        return self._found[wish]

    def put(self, wish: Wish, lines: Lines) -> None:
        """Keep lines, and let go of what was not used for longest."""
        if wish not in self._found:
            self._cells += wish.columns * wish.rows
        self._found[wish] = lines
        while self._cells > KEPT_CELLS and len(self._found) > KEPT:
            oldest, _ = self._found.popitem(last=False)
            self._cells -= oldest.columns * oldest.rows


_shelf = Shelf()


def kept(wish: Wish) -> Lines | None:
    """The lines, if they have been encoded."""
    return _shelf.get(wish)


async def encode(wish: Wish) -> Lines:
    """Decode and encode a picture, and keep the lines of a file; bytes are shown once.

    Raises:
        OSError, ValueError: it can't be read.
    """
    lines = await asyncio.get_running_loop().run_in_executor(_threads(), _encode, wish)
    if isinstance(wish.source, Path):
        _shelf.put(wish, lines)
    return lines


@cache
def _threads() -> Executor:
    """Two, since each takes turns with the loop and makes it wait."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(2, thread_name_prefix="half-blocks")


def _encode(wish: Wish) -> Lines:
    """Takes milliseconds, so it runs in a thread."""
    from persona_tui.terminal import halfblock
    from persona_tui.terminal.layer import Size, view
    from persona_tui.terminal.painter import decoded

    least = None if wish.zoom is not None else Size(2 * wish.columns, 4 * wish.rows)
    image = decoded(wish.source, least)
    if wish.zoom is not None:
        _, part = view(Size(*image.size), Size(1, 2), wish)
        image = image.crop((part.x, part.y, part.right, part.bottom))
    rows = halfblock.encode(image, wish.columns, wish.rows)
    return [(row, halfblock.commands(row)) for row in rows]


class HalfBlockStrip(LooseStrip):
    """A line of a picture in the middle of a pane.

    Thousands of styles would be made for a page of pictures and each of them be rendered; they are only made
    where somebody asks: in front of a dialog, for a terminal of few colours, or for a picture of the screen.

    Args:
        row, commands: the line, and what a terminal is sent for it.
        width: the pane's columns.
        ground: what lies beside the picture.
    """

    __slots__ = ["_commands", "_ground", "_made", "_room", "_row"]

    def __init__(self, row: Row, commands: str, width: int, ground: Style) -> None:
        self._row, self._commands, self._ground = row, commands, ground
        left = (width - row.columns) // 2
        self._room = (left, width - row.columns - left)
        self._made: list[Segment] | None = None
        super().__init__((), width)

    @property
    def _segments(self) -> list[Segment]:
        if self._made is None:
            from persona_tui.terminal.halfblock import UPPER_HALF

            left, right = self._room
            cells = (Segment(UPPER_HALF, _style(*pair)) for pair in self._row.colours())
            self._made = [Segment(" " * left, self._ground), *cells, Segment(" " * right, self._ground)]
        return self._made

    @_segments.setter
    def _segments(self, _segments: list[Segment]) -> None:
        """What the base class sets at first is nothing."""

    def render(self, console: Console) -> str:
        if (console._color_system or ColorSystem.TRUECOLOR) is not ColorSystem.TRUECOLOR:
            return super().render(console)
        left, right = (
            self.render_style(self._ground, " " * room, ColorSystem.TRUECOLOR) if room else ""
            for room in self._room
        )
        return f"{left}{self._commands}{right}"


def _style(foreground: Colour, background: Colour) -> Style:
    return Style.from_color(_colour(foreground), _colour(background))


def _colour(rgb: Colour) -> Color:
    """As `Color.from_rgb` makes it, without the name that nobody reads and that takes longest."""
    return Color("", ColorType.TRUECOLOR, triplet=ColorTriplet(*rgb))
