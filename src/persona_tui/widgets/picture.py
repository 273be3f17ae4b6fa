"""A picture, drawn by the terminal where it can and with half blocks where it can't."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.color import Color
from rich.style import Style
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.visual import Visual

from persona_tui.terminal.layer import Ready, Wish
from persona_tui.terminal.textual_bridge import PictureFrames, Pictures, PictureWidget
from persona_tui.widgets import picture_cells
from persona_tui.widgets.failsafe import Failsafe
from persona_tui.widgets.picture_cells import KEPT, HalfBlockStrip
from persona_tui.widgets.picture_strips import HoledStrip, TextPictureStrip

if TYPE_CHECKING:
    from persona_tui.terminal.painter import Painter

__all__ = ["KEPT", "PicturePane", "Source"]

Source = Path | bytes
RESIZE_PAUSE = 0.15
"""Seconds without another resize before a picture is encoded anew."""
REFINE_PAUSE = 1.5
"""Seconds that a picture is looked at before it is drawn again in more colours."""


class PicturePane(Failsafe, PictureWidget):
    """Shows one picture, whole and undistorted, in the middle of its room.

    Args:
        alt: what the picture shows; stands in its place while it loads, fails or is missing.
    """

    DEFAULT_CSS = """
    PicturePane { width: 1fr; height: 1fr; color: $dim; }
    """

    @dataclass
    class Drawn(Message):
        """The picture is on the screen: the terminal has drawn it, or paints it with the next frame."""

        pane: PicturePane

        @property
        def control(self) -> PicturePane:
            return self.pane

    def __init__(self, alt: str = "no picture", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._alt = alt
        self._source: Source | None = None
        self._zoom: tuple[float, float] | None = None
        self._broken = False
        self._rows: picture_cells.Lines = []
        self._painted: tuple[tuple[int, int], list[Strip]] | None = None
        self._placed = False
        self._beside: Style | None = None
        self._resize_timer: Timer | None = None
        self._refine_timer: Timer | None = None
        self.below = 0
        """Rows at the pane's foot that the picture leaves free."""
        self.alike: Sequence[PicturePane] = ()
        """Panes of pictures to compare with: the smallest room of all gives the scale, since rooms that share
        an odd number of columns differ by one."""

    def show(self, source: Source | None, alt: str, *, keep: bool = False) -> None:
        """Show another picture, from a file or from its bytes; None takes it away.

        Args:
            keep: leave the picture before on the screen until this one is ready.
        """
        self._source, self._alt, self._broken, self._placed = source, alt, False, False
        self._painted = None
        if source is None:
            self.workers.cancel_group(self, "encode")
            self._clear()
        elif not self._show_ready() and not keep:
            self._clear()
        self._load_soon()

    def _clear(self) -> None:
        self._rows, self.picture, self._painted = [], None, None
        self.refresh()

    async def prepare(self, source: Path) -> None:
        """Make a picture ready for this pane's size ahead of time, so that `show()` shows it at once.

        Returns when it is ready, or when there is no room. What can't be read is told when it is shown.
        """
        wish = self._wish(source, None)
        if wish is None:
            return
        with suppress(OSError, ValueError):
            if self._painter is not None:
                await self._painter.fetch(wish, ahead=True)
            elif picture_cells.kept(wish) is None:
                await picture_cells.encode(wish)

    def is_ready(self, source: Path) -> bool:
        """Whether `show()` would show this picture at once."""
        wish, painter = self._wish(source, None), self._painter
        if wish is None:
            return False
        return (picture_cells.kept(wish) if painter is None else painter.ready(wish)) is not None

    @property
    def in_half_blocks(self) -> bool:
        """Whether the terminal draws no pictures here."""
        return self._painter is None

    @property
    def zoom(self) -> tuple[float, float] | None:
        """None shows the whole picture; else its own pixels, with this point in the middle of the pane.

        The point is shares (0 to 1) of the picture's width and height. Near an edge the picture ends at the
        pane's.
        """
        return self._zoom

    @zoom.setter
    def zoom(self, point: tuple[float, float] | None) -> None:
        self._zoom = point and (min(max(point[0], 0.0), 1.0), min(max(point[1], 0.0), 1.0))
        self._load_soon()

    @property
    def alt(self) -> str:
        """What the picture shows, in words."""
        return self._alt

    @property
    def loaded(self) -> bool:
        """Whether the picture itself is on the screen."""
        return self._placed

    # Which picture, and how

    @property
    def _pictures(self) -> Pictures | None:
        """The terminal's pictures, unless it can't draw any here."""
        app = self.app
        if not isinstance(app, PictureFrames) or app.pictures is None or not app.pictures.usable:
            return None
        painter = app.pictures.painter
        framed = self.styles.gutter.max_width or self.styles.gutter.max_height or app.no_color
        return None if framed and (painter.in_cells or painter.as_text) else app.pictures

    @property
    def _painter(self) -> Painter | None:
        pictures = self._pictures
        return pictures.painter if pictures is not None else None

    def _wish(self, source: Source | None, zoom: tuple[float, float] | None) -> Wish | None:
        if source is None or min(self._room) <= 0:
            return None
        rooms = [pane._room for pane in (self, *self.alike) if min(pane._room) > 0]
        return Wish(source, min(columns for columns, _ in rooms), min(rows for _, rows in rooms), zoom)

    @property
    def _room(self) -> tuple[int, int]:
        columns, rows = self.size
        rows -= self.below
        painter = self._painter
        if painter is not None and painter.in_cells and self.region.bottom >= self.app.size.height:
            rows -= 1  # a picture that ends in the last row makes most terminals scroll
        return columns, rows

    def on_mount(self) -> None:
        if isinstance(self.app, PictureFrames) and self.app.pictures is not None:
            self.app.pictures.add(self)

    def on_unmount(self) -> None:
        if isinstance(self.app, PictureFrames) and self.app.pictures is not None:
            self.app.pictures.remove(self)

    def on_resize(self) -> None:
        if self._resize_timer is not None:
            self._resize_timer.stop()
        if self._rows or self.picture is not None:
            self._resize_timer = self.set_timer(RESIZE_PAUSE, self._load_soon)
        else:
            self._load_soon()

    def _load_soon(self) -> None:
        if not self._show_ready() and self._wish(self._source, self._zoom) is not None:
            self.spawn(self._load, group="encode", exclusive=True, quiet=True)

    def _show_ready(self) -> bool:
        """Show the picture, if that takes no time."""
        wish = self._wish(self._source, self._zoom)
        if wish is None:
            return False
        painter = self._painter
        if painter is None:
            rows = picture_cells.kept(wish)
            if rows is not None:
                self._paint(rows)
            ready = rows is not None
        else:
            picture = painter.ready(wish)
            if picture is not None:
                self._draw(picture)
            ready = picture is not None
        if ready:
            self.workers.cancel_group(self, "encode")
        return ready

    async def _load(self) -> None:
        wish, painter = self._wish(self._source, self._zoom), self._painter
        if wish is None:
            return
        try:
            gap = painter.stopgap(wish) if painter is not None else None
            if gap is not None:
                self._draw(gap)
            elif painter is None or self.picture is None:
                self._paint(await picture_cells.encode(wish))
            picture = await painter.fetch(wish) if painter is not None else None
        except (OSError, ValueError):
            self._broken = True
            self._clear()
            return
        if picture is not None:
            self._draw(picture)

    def _paint(self, rows: picture_cells.Lines) -> None:
        """With half blocks; where the terminal draws pictures, until it has this one."""
        self._rows, self.picture, self._painted = rows, None, None
        self.refresh()
        if self._pictures is None:
            self._say_drawn()

    def _draw(self, picture: Ready) -> None:
        """By the terminal, at the end of the next frame."""
        pictures = self._pictures
        assert pictures is not None
        self._placed = False
        if self._refine_timer is not None:
            self._refine_timer.stop()  # it may be of an earlier showing of this very picture
        by_cells = pictures.painter.in_cells or pictures.painter.as_text
        same_cells = self.picture is not None and not self._rows and not by_cells
        self._rows, self.picture, self._painted = [], picture, None
        pictures.expect(self)
        if not same_cells:
            self.refresh()

    def picture_shown(self, picture: Ready) -> None:
        if self.picture is None or picture.key != self.picture.key or self._placed:
            return
        self._say_drawn()
        if self._painter is not None and self._painter.in_cells:
            self._refine_timer = self.set_timer(REFINE_PAUSE, partial(self._refine_soon, picture))

    def _say_drawn(self) -> None:
        self._placed = True
        self.post_message(self.Drawn(self))

    def _refine_soon(self, picture: Ready) -> None:
        if self.picture is picture:
            self.spawn(partial(self._refine, picture), group="encode", exclusive=True, quiet=True)

    async def _refine(self, picture: Ready) -> None:
        wish, painter = self._wish(self._source, self._zoom), self._painter
        if wish is None or painter is None:
            return
        with suppress(OSError, ValueError):
            finer = await painter.refine(wish)
            if finer is not None and self.picture is picture and self._pictures is not None:
                self.picture = finer
                self._pictures.expect(self)

    def picture_lost(self) -> None:
        self._painted = None
        self.refresh()
        self._load_soon()

    # Painting

    def render_lines(self, crop: Region) -> list[Strip]:
        """Painted past Textual's styles and filters: thousands of colours would keep them busy for long."""
        if (
            not (self._rows or self.picture is not None)
            or self.app.no_color
            or self.styles.gutter.max_width
            or self.styles.gutter.max_height
        ):
            return super().render_lines(crop)
        lines = self._all_lines(*self.size)[crop.y : crop.bottom]
        return [line.crop(*crop.column_span) for line in lines]

    def render_line(self, y: int) -> Strip:
        return self._all_lines(*self.size)[y]

    def _all_lines(self, width: int, height: int) -> list[Strip]:
        """The pane's lines from top to bottom, made anew where it is to show something else."""
        if self._painted is None or self._painted[0] != (width, height):
            lines = self._lines(width, height - self.below)
            self._painted = ((width, height), [*lines, *(self.foot(width) if self.below else ())])
        return self._painted[1]

    def foot(self, width: int) -> list[Strip]:
        """The rows that the picture leaves free, `below` of them; a subclass says what stands there."""
        return [Strip.blank(width, self._ground)] * self.below

    def words_changed(self) -> None:
        """Have the foot painted anew."""
        self._painted = None
        self.refresh()

    def _lines(self, width: int, height: int) -> list[Strip]:
        """The picture with the room around it."""
        if self.picture is not None:
            return [self._pictured(y, width, self.picture) for y in range(height)]
        if not self._rows:
            return [self._words(y, width, height) for y in range(height)]
        return self._half_blocks(width, height)

    def _half_blocks(self, width: int, height: int) -> list[Strip]:
        """Cut where the pane has become smaller since."""
        above, blank = (height - len(self._rows)) // 2, Strip.blank(width, self._ground)
        lines = [
            HalfBlockStrip(row, commands, max(width, row.columns), self._ground).crop(0, width)
            for row, commands in self._rows[max(-above, 0) :][:height]
        ]
        return [*[blank] * above, *lines, *[blank] * (height - max(above, 0) - len(lines))]

    def _pictured(self, y: int, width: int, picture: Ready) -> Strip:
        """A blank line that does not touch a picture which lies in the cells, or shows one that is text."""
        blank, box = Strip.blank(width, self._ground), picture.box
        hole, painter = (box.left, min(box.left + box.columns, width)), self._painter
        if painter is None or not box.top <= y < box.top + box.rows or hole[0] >= hole[1]:
            return blank
        if painter.in_cells:
            return HoledStrip(blank, width, hole)
        if (text := painter.text(picture, y - box.top)) is None:
            return blank
        style = self._ground + Style(color=Color.from_ansi(text[0]))
        return TextPictureStrip(blank, width, hole, style, text[1][: hole[1] - hole[0]])

    @property
    def _ground(self) -> Style:
        """What lies beside the picture; asking for it line by line would take longer than painting."""
        if self._beside is None:
            self._beside = self.rich_style
        return self._beside

    def notify_style_update(self) -> None:
        self._beside = self._painted = None
        super().notify_style_update()

    def _words(self, y: int, width: int, height: int) -> Strip:
        if y != height // 2:
            return Strip.blank(width, self._ground)
        words = self._alt
        if self._source is not None:
            words += " (can't be shown)" if self._broken else " (loading…)"
        content = Content(words).truncate(width, ellipsis=True).center(width)
        return Visual.to_strips(self, content, width, 1, self.visual_style, pad=True)[0]
