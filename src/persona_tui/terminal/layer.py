"""Where pictures lie on the screen: rectangles in, placements out.

Cells are counted from 0 at the top left. What Textual draws in front of a pane is cut out of its picture,
which is then placed in several parts: terminals differ in what they draw below text (z < 0), not in this.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from persona_tui.terminal import kitty
from persona_tui.terminal.kitty import Source
from persona_tui.terminal.picture import Box, fit

PARTS = 64
"""Placements that one pane has ids for; a picture cut into more shows only so many of its parts."""


class Rect(NamedTuple):
    """A rectangle of cells, or of pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height

    def common(self, other: Rect) -> Rect | None:
        """What lies in both."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        width, height = min(self.right, other.right) - x, min(self.bottom, other.bottom) - y
        return Rect(x, y, width, height) if width > 0 and height > 0 else None


class Size(NamedTuple):
    """In pixels."""

    width: int
    height: int


@dataclass(frozen=True)
class Wish:
    """What a pane wants to show.

    Attributes:
        source: a file, or its bytes.
        columns, rows: the pane's room, in cells.
        zoom: None for the whole picture; else its own pixels, one for one, with this point (shares of its
            width and height) in the middle.
    """

    source: Path | bytes
    columns: int
    rows: int
    zoom: tuple[float, float] | None = None


@dataclass(frozen=True)
class Ready:
    """A picture that can be shown at once.

    Attributes:
        key: says which one; another key is another picture.
        box: where it lies in its pane.
    """

    key: Hashable
    box: Box


@dataclass(frozen=True)
class Scene:
    """A pane on the screen.

    Attributes:
        slot: number of the pane; no two have the same.
        picture: what it shows.
        content: its room, which may lie partly outside the screen.
        clip: the part of the screen that it may draw on.
        fronts: what is drawn in front of it.
    """

    slot: int
    picture: Ready
    content: Rect
    clip: Rect
    fronts: tuple[Rect, ...] = ()

    @property
    def whole(self) -> Rect:
        """Where the picture lies on the screen."""
        box = self.picture.box
        return Rect(self.content.x + box.left, self.content.y + box.top, box.columns, box.rows)

    @property
    def parts(self) -> list[Rect]:
        """What is to be seen of it."""
        seen = self.whole.common(self.clip)
        return without(seen, self.fronts) if seen else []


class Placement(NamedTuple):
    """A part of a stored picture on the screen."""

    area: Rect
    source: Source | None


def without(rect: Rect, holes: Iterable[Rect]) -> list[Rect]:
    """What is left of a rectangle; none of the parts overlap."""
    parts = [rect]
    for hole in holes:
        parts = [piece for part in parts for piece in _cut(part, hole)]
    return parts


def _cut(part: Rect, hole: Rect) -> list[Rect]:
    shared = part.common(hole)
    if shared is None:
        return [part]
    pieces = [
        Rect(part.x, part.y, part.width, shared.y - part.y),
        Rect(part.x, shared.bottom, part.width, part.bottom - shared.bottom),
        Rect(part.x, shared.y, shared.x - part.x, shared.height),
        Rect(shared.right, shared.y, part.right - shared.right, shared.height),
    ]
    return [piece for piece in pieces if piece.width > 0 and piece.height > 0]


def view(own: Size, cell: Size, wish: Wish) -> tuple[Box, Rect]:
    """Where a picture lies in its pane, and which of its own pixels are shown there.

    Args:
        own: the picture's size.
        cell: a cell's size.

    Raises:
        ValueError: a size is not positive.
    """
    columns, rows = wish.columns, wish.rows
    if wish.zoom is None:
        box = fit(*own, columns, rows, cell_width=cell.width, cell_height=cell.height)
        return box, Rect(0, 0, *own)
    wide, high = _whole_cells(own.width, columns, cell.width), _whole_cells(own.height, rows, cell.height)
    width, height = min(own.width, wide * cell.width), min(own.height, high * cell.height)
    x = _centred(wish.zoom[0], own.width, width)
    y = _centred(wish.zoom[1], own.height, height)
    box = Box((columns - wide) // 2, (rows - high) // 2, wide, high)
    return box, Rect(x, y, width, height)


def _whole_cells(pixels: int, room: int, cell: int) -> int:
    """Cells that so many pixels fill; a part of a cell would stretch the picture."""
    return max(1, min(room, pixels // cell))


def _centred(share: float, own: int, shown: int) -> int:
    return min(max(0, round(share * own - shown / 2)), own - shown)


def place_parts(scene: Scene, stored: Size, shown: Rect) -> list[Placement]:
    """The parts of a picture that are to be seen.

    Args:
        stored: size of the picture as the terminal has it.
        shown: the part of it that fills the scene's box, in the same pixels.
    """
    whole = scene.whole
    placements = []
    for part in scene.parts[:PARTS]:
        left, top = _share(part.x - whole.x, whole.width), _share(part.y - whole.y, whole.height)
        right, bottom = _share(part.right - whole.x, whole.width), _share(part.bottom - whole.y, whole.height)
        x, y = shown.x + int(left * shown.width), shown.y + int(top * shown.height)
        width = max(1, shown.x + round(right * shown.width) - x)
        height = max(1, shown.y + round(bottom * shown.height) - y)
        all_of_it = (x, y, width, height) == (0, 0, *stored)
        placements.append(Placement(part, None if all_of_it else Source(x, y, width, height)))
    return placements


def _share(cells: int, of: int) -> float:
    return cells / of


Placed = Mapping[tuple[int, int], Placement]
"""Placements by the ids of image and placement."""


def difference(placed: Placed, wanted: Placed, *, again: bool = False) -> str:
    """The commands that lead from what is on the screen to what should be there; empty when it is there.

    Args:
        again: also place what should be there already.
    """
    commands = [kitty.hide(*ids) for ids in placed if ids not in wanted]
    for (image_id, placement_id), (area, source) in wanted.items():
        if again or placed.get((image_id, placement_id)) != (area, source):
            command = kitty.place(image_id, placement_id, area.width, area.height, source)
            commands.append(f"\x1b[{area.y + 1};{area.x + 1}H{command}")
    return f"\x1b7{''.join(commands)}\x1b8" if commands else ""
