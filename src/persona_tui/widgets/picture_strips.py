"""Lines that leave room for a picture, or show a row of one that is text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip


class LooseStrip(Strip):
    """A line that does not refer to itself.

    Textual's own do once they were divided into one piece, and then only the garbage collector frees them:
    it would be busy for longer than a frame takes.
    """

    __slots__ = ()

    def divide(self, cuts: Iterable[int]) -> Sequence[Strip]:
        places = list(cuts)
        return [self] if places == [self.cell_length] else super().divide(places)


class HoledStrip(Strip):
    """A line of which some cells are left as they are: a picture lies there, and a space would wipe it away.

    Args:
        segments: the line as it is without the picture, spaces in the hole.
        hole: first column of the hole, and the one after its last.
    """

    __slots__ = ["hole"]

    def __init__(self, segments: Iterable[Segment], cell_length: int, hole: tuple[int, int]) -> None:
        super().__init__(segments, cell_length)
        self.hole = hole

    def _filling(self, _console: Console) -> str:
        return f"\x1b[{self.hole[1] - self.hole[0]}C"

    def _piece(self, segments: Iterable[Segment], start: int, end: int) -> HoledStrip:
        """The cells from `start` to before `end`, of which some are in the hole."""
        first, last = max(self.hole[0], start), min(self.hole[1], end)
        return HoledStrip(segments, end - start, (first - start, last - start))

    def crop(self, start: int, end: int | None = None) -> Strip:
        start = max(0, start)
        end = self.cell_length if end is None else min(end, self.cell_length)
        first, last = max(self.hole[0], start), min(self.hole[1], end)
        piece = super().crop(start, end)
        if piece is self or first >= last:
            return piece
        return self._piece(piece, start, end)

    def divide(self, cuts: Iterable[int]) -> Sequence[Strip]:
        edges = [0, *(cut for cut in cuts if cut <= self.cell_length)]
        return [self.crop(start, end) for start, end in pairwise(edges)]

    def render(self, console: Console) -> str:
        first, last = self.hole
        before = super().crop(0, first).render(console) if first else ""
        after = super().crop(last).render(console) if last < self.cell_length else ""
        return f"{before}{self._filling(console)}{after}"


class TextPictureStrip(HoledStrip):
    """A line in whose hole stands a row of a picture that is text.

    Args:
        style: of the text.
        cells: one for each cell of the hole.
    """

    __slots__ = ["cells", "style"]

    def __init__(
        self,
        segments: Iterable[Segment],
        cell_length: int,
        hole: tuple[int, int],
        style: Style,
        cells: Sequence[str],
    ) -> None:
        super().__init__(segments, cell_length, hole)
        self.style, self.cells = style, cells

    def _filling(self, console: Console) -> str:
        return self.style.render(
            "".join(self.cells), color_system=console._color_system or ColorSystem.TRUECOLOR
        )

    def _piece(self, segments: Iterable[Segment], start: int, end: int) -> HoledStrip:
        first, last = max(self.hole[0], start), min(self.hole[1], end)
        cells = self.cells[first - self.hole[0] : last - self.hole[0]]
        return TextPictureStrip(segments, end - start, (first - start, last - start), self.style, cells)
