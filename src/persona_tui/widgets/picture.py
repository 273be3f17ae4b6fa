"""A picture drawn with half-blocks, which every terminal can show."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.visual import Visual
from textual.widget import Widget

from persona_tui.widgets.failsafe import Failsafe

if TYPE_CHECKING:
    from persona_tui.terminal.halfblock import Cell

Source = Path | bytes
RESIZE_PAUSE = 0.15
"""Seconds without another resize before a picture is encoded anew."""
KEPT = 32
"""Encoded pictures kept, those used last: about 1 MB each in a pane of 80×40 cells."""

_encoded: OrderedDict[tuple[Path, int, int], list[Strip]] = OrderedDict()
"""Encoded files by columns and rows; a file that a pane shows never changes its content."""


class PicturePane(Failsafe, Widget):
    """Shows one picture, whole and undistorted, in the middle of its room.

    Args:
        alt: what the picture shows; stands in its place while it loads, fails or is missing.
    """

    DEFAULT_CSS = """
    PicturePane { width: 1fr; height: 1fr; color: $dim; }
    """

    @dataclass
    class Drawn(Message):
        """The picture is on the screen with the next frame."""

        pane: PicturePane

        @property
        def control(self) -> PicturePane:
            return self.pane

    def __init__(self, alt: str = "no picture", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._alt = alt
        self._source: Source | None = None
        self._broken = False
        self._rows: list[Strip] = []
        self._beside: Style | None = None
        self._resize_timer: Timer | None = None

    def show(self, source: Source | None, alt: str, *, keep: bool = False) -> None:
        """Show another picture, from a file or from its bytes; None takes it away.

        Args:
            keep: leave the picture before on the screen until this one is ready.
        """
        self._source, self._alt, self._broken = source, alt, False
        if source is None or not keep:
            self._rows = []
        self.refresh()
        self._encode_soon()

    async def prepare(self, source: Path) -> None:
        """Encode a file for this pane's size ahead of time, so that `show()` shows it at once.

        What can't be read is told when it is shown.
        """
        columns, rows = self.size
        if columns and rows and (source, columns, rows) not in _encoded:
            with suppress(OSError, ValueError):
                _keep(source, columns, rows, await asyncio.to_thread(_strips, source, columns, rows))

    @property
    def alt(self) -> str:
        """What the picture shows, in words."""
        return self._alt

    @property
    def loaded(self) -> bool:
        """Whether the picture itself is on the screen."""
        return bool(self._rows)

    def on_resize(self) -> None:
        if self._resize_timer is not None:
            self._resize_timer.stop()
        if self._rows:
            self._resize_timer = self.set_timer(RESIZE_PAUSE, self._encode_soon)
        else:
            self._encode_soon()

    def _encode_soon(self) -> None:
        if self._source is None or not self.size.area:
            return
        kept = _kept(self._source, *self.size)
        if kept is not None:
            self.workers.cancel_group(self, "encode")
            self._draw(kept)
        else:
            self.spawn(self._encode, group="encode", exclusive=True, quiet=True)

    async def _encode(self) -> None:
        source, columns, rows = self._source, self.size.width, self.size.height
        if source is None:
            return
        try:
            strips = await asyncio.to_thread(_strips, source, columns, rows)
        except (OSError, ValueError):
            self._broken = True
            self.refresh()
            return
        if isinstance(source, Path):
            _keep(source, columns, rows, strips)
        self._draw(strips)

    def _draw(self, rows: list[Strip]) -> None:
        self._rows = rows
        self.refresh()
        self.post_message(self.Drawn(self))

    def render_lines(self, crop: Region) -> list[Strip]:
        """Painted past Textual's styles and filters: thousands of colours would keep them busy for long."""
        if (
            not self._rows
            or self.app.no_color
            or self.styles.gutter.max_width
            or self.styles.gutter.max_height
        ):
            return super().render_lines(crop)
        lines = [self.render_line(y) for y in crop.line_range]
        return [line.crop(*crop.column_span) for line in lines]

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        if not self._rows:
            return self._words(y, width, height)
        row = y - (height - len(self._rows)) // 2
        if not 0 <= row < len(self._rows):
            return Strip.blank(width, self._ground)
        strip = self._rows[row]
        left = (width - strip.cell_length) // 2
        blank = Strip.blank(left, self._ground)
        return Strip.join([blank, strip]).adjust_cell_length(width, self._ground)

    @property
    def _ground(self) -> Style:
        """What lies beside the picture; asking for it line by line would take longer than painting."""
        if self._beside is None:
            self._beside = self.rich_style
        return self._beside

    def notify_style_update(self) -> None:
        self._beside = None
        super().notify_style_update()

    def _words(self, y: int, width: int, height: int) -> Strip:
        if y != height // 2:
            return Strip.blank(width, self._ground)
        words = self._alt
        if self._source is not None:
            words += " (can't be shown)" if self._broken else " (loading…)"
        content = Content(words).truncate(width, ellipsis=True).center(width)
        return Visual.to_strips(self, content, width, 1, self.visual_style, pad=True)[0]


def _kept(source: Source, columns: int, rows: int) -> list[Strip] | None:
    if not isinstance(source, Path) or (source, columns, rows) not in _encoded:
        return None
    _encoded.move_to_end((source, columns, rows))
    return _encoded[source, columns, rows]


def _keep(source: Path, columns: int, rows: int, strips: list[Strip]) -> None:
    _encoded[source, columns, rows] = strips
    _encoded.move_to_end((source, columns, rows))
    while len(_encoded) > KEPT:
        _encoded.popitem(last=False)


def _strips(source: Source, columns: int, rows: int) -> list[Strip]:
    """Decode and encode; takes tens of milliseconds, so it runs in a thread."""
    from io import BytesIO

    from PIL import Image

    from persona_tui.terminal.halfblock import encode

    with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
        cells = encode(image.convert("RGB"), columns, rows)
    return [strip for strip in map(_strip, cells) if strip.cell_length]


def _strip(cells: Sequence[Cell]) -> Strip:
    """A line of the picture without what lies beside it, which is the pane's own ground."""
    from rich.color import Color

    return Strip(
        [
            Segment(cell.char, Style.from_color(Color.from_rgb(*cell.fg), Color.from_rgb(*cell.bg)))
            for cell in cells
            if cell.fg is not None and cell.bg is not None
        ]
    )
