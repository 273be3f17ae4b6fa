"""Pictures by sixel and OSC 1337: sent whole each time, so they are encoded ahead and kept as strings."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, NamedTuple

from persona_tui.terminal import iterm2, sixel
from persona_tui.terminal.cursor import at
from persona_tui.terminal.layer import Ready, Rect, Scene, Size, Wish, view
from persona_tui.terminal.painter import Painter, decoded

QUICK, FINE = 64, 256
"""Colours of a sixel picture: at first, and once it has been looked at for a while."""
KEPT = 64 * 2**20
"""Characters of encoded pictures kept, those used last: about a hundred of half a screen each."""


@dataclass(frozen=True)
class Drawing(Ready):
    """A picture as the strings that draw its parts, each from a cell of the picture's box on."""

    parts: tuple[Part, ...]


class Part(NamedTuple):
    """One string, and its cell in the picture's box, from 0."""

    column: int
    row: int
    commands: str


class StreamPainter(Painter):
    """Draws pictures into the cells.

    Args:
        protocol: how they are drawn.
        cell: size of a cell.
        largest: pixels of the largest sixel picture that the terminal keeps; None: any.
        kept: characters of encoded pictures that are kept.
    """

    in_cells: ClassVar[bool] = True

    def __init__(
        self,
        protocol: Literal["sixel", "iterm2"],
        cell: Size,
        largest: Size | None = None,
        kept: int = KEPT,
    ) -> None:
        self.cell = cell
        self._protocol: Literal["sixel", "iterm2"] = protocol
        self._largest = largest
        self._kept = kept
        self._drawings: OrderedDict[tuple[Wish, Size, int], Drawing] = OrderedDict()
        self._encoding: dict[tuple[Wish, Size], asyncio.Task[Drawing]] = {}
        self._turns = asyncio.Lock()
        self._drawn: dict[int, tuple[Hashable, Rect]] = {}
        self._blank: dict[int, tuple[Hashable, tuple[Rect, ...]]] = {}

    def ready(self, wish: Wish) -> Drawing | None:
        for colours in (FINE, QUICK):
            if drawing := self._drawings.get((wish, self.cell, colours)):
                self._drawings.move_to_end((wish, self.cell, colours))
                return drawing
        return None

    async def fetch(self, wish: Wish, *, ahead: bool = False) -> Drawing | None:
        if drawing := self.ready(wish):
            return drawing
        task = self._encoding.get((wish, self.cell))
        if task is None:
            task = asyncio.create_task(self._encode(wish, QUICK, ahead=ahead), name="encode a picture")
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._encoding[wish, self.cell] = task
        return await asyncio.shield(task)

    async def refine(self, wish: Wish) -> Drawing | None:
        if self._protocol != "sixel" or (wish, self.cell, FINE) in self._drawings:
            return None
        return await self._encode(wish, FINE, ahead=True)

    async def _encode(self, wish: Wish, colours: int, *, ahead: bool) -> Drawing:
        cell = self.cell
        work = partial(drawn, self._protocol, cell, wish, colours, self._largest)
        try:
            if ahead:  # one after the other: what is to be seen now does not wait behind them
                async with self._turns:
                    drawing = await asyncio.to_thread(work)
            else:
                drawing = await asyncio.to_thread(work)
        finally:
            self._encoding.pop((wish, cell), None)
        self._drawings[wish, cell, colours] = drawing
        size = sum(_length(kept) for kept in self._drawings.values())
        while size > self._kept and len(self._drawings) > 1:
            size -= _length(self._drawings.popitem(last=False)[1])
        return drawing

    def holds(self, picture: Ready) -> bool:
        return isinstance(picture, Drawing)

    def paint(self, scenes: Sequence[Scene]) -> str:
        commands = []
        drawn: dict[int, tuple[Hashable, Rect]] = {}
        blank: dict[int, tuple[Hashable, tuple[Rect, ...]]] = {}
        for scene in scenes:
            picture, whole = scene.picture, scene.whole
            state = (picture.key, whole)
            if isinstance(picture, Drawing) and scene.parts == [whole]:
                drawn[scene.slot] = state
                if self._drawn.get(scene.slot) != state:
                    commands += [
                        at(whole.y + part.row, whole.x + part.column, part.commands) for part in picture.parts
                    ]
            else:
                # Textual leaves these cells alone, and what lies in front would be drawn over.
                parts = tuple(scene.parts)
                blank[scene.slot] = (picture.key, parts)
                if self._drawn.get(scene.slot) != state and self._blank.get(scene.slot) != blank[scene.slot]:
                    commands += [_erase(part) for part in parts]
        self._drawn, self._blank = drawn, blank
        return "".join(commands)

    def shown(self, scene: Scene) -> bool:
        return scene.slot in self._drawn

    def repaint(self) -> None:
        self._drawn, self._blank = {}, {}

    def close(self) -> str:
        self.repaint()
        return ""

    def open(self) -> None:
        self.repaint()


def _length(drawing: Drawing) -> int:
    return sum(len(part.commands) for part in drawing.parts)


def _erase(part: Rect) -> str:
    lines = (f"\x1b[{y + 1};{part.x + 1}H\x1b[{part.width}X" for y in range(part.y, part.bottom))
    return f"\x1b7{''.join(lines)}\x1b8"


def drawn(
    protocol: Literal["sixel", "iterm2"], cell: Size, wish: Wish, colours: int, largest: Size | None = None
) -> Drawing:
    """Read a picture and encode it for its pane; takes a tenth of a second.

    Args:
        largest: pixels of the largest sixel picture that is kept; a larger one comes in parts of whole cells.
    """
    image = decoded(wish.source)
    box, part = view(Size(*image.size), cell, wish)
    if wish.zoom is not None:
        image = image.crop((part.x, part.y, part.right, part.bottom))
    width, height = box.columns * cell.width, box.rows * cell.height
    if protocol == "sixel":
        tile_width = _whole_cells(width, cell.width, largest.width if largest else width)
        tile_height = _whole_cells(height, cell.height, largest.height if largest else height)
        tiles = sixel.encode_tiles(image, width, height, tile_width, tile_height, colours=colours)
        parts = [Part(tile.left // cell.width, tile.top // cell.height, tile.commands) for tile in tiles]
    else:
        parts = [Part(0, 0, iterm2.encode(image, box.columns, box.rows, width=width, height=height))]
    return Drawing((wish.source, wish.zoom, box, colours), box, tuple(parts))


def _whole_cells(pixels: int, cell: int, most: int) -> int:
    """As many whole cells of these pixels as are allowed, in pixels; one at least."""
    return min(pixels, max(most // cell, 1) * cell)
