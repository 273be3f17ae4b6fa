"""Pictures side by side, a page at a time, with a cursor on one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from persona_tui.actions import TABLES, bindings
from persona_tui.errors import PersonaError
from persona_tui.screens.clusters_reading import Shot, posted_mark
from persona_tui.widgets.failsafe import Failsafe, shell_of
from persona_tui.widgets.picture import PicturePane

TILE = (26, 18)
"""Columns and rows that a tile is to have, more or less."""


class Tile(Vertical):
    """A picture and its name."""

    DEFAULT_CSS = """
    Tile { width: 1fr; height: 1fr; padding: 0 1; }
    Tile > Static { height: 1; width: 1fr; text-align: center; text-wrap: nowrap; text-overflow: ellipsis; }
    Tile.-cursor { background: $block-cursor-blurred-background; }
    """

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place
        self._sha256 = ""

    def compose(self) -> ComposeResult:
        yield PicturePane("")
        yield Static("", markup=False)

    async def show(self, shot: Shot | None) -> None:
        """Show another picture, or none."""
        self.visible = shot is not None
        if shot is None or shot.sha256 == self._sha256:
            return
        self._sha256 = shot.sha256
        words = Content.assemble(posted_mark(shot), " ", (shot.label, "$dim"))
        self.query_one(Static).update(words)
        media = shell_of(self).core.resources.media
        try:
            path = await asyncio.to_thread(media.thumbnail, shot.media_key, shot.sha256)
        except PersonaError:
            self.query_one(PicturePane).show(None, "the file is gone")
            return
        self.query_one(PicturePane).show(path, shot.label)


class Thumbnails(Failsafe, Widget, can_focus=True):
    """As many tiles as fit; paging shows the others."""

    SCOPES: ClassVar[tuple[str, ...]] = ("grid",)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(TABLES["grid"])]
    DEFAULT_CSS = """
    Thumbnails { layout: grid; width: 1fr; height: 1fr; }
    Thumbnails:focus Tile.-cursor { background: $block-cursor-background; }
    """

    cursor: reactive[int] = reactive(0)
    """Index of the picture under the cursor."""

    @dataclass
    class Highlighted(Message):
        """The cursor was moved to another picture."""

        index: int

    @dataclass
    class Opened(Message):
        """Enter or a click opened a picture."""

        index: int

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shots: Sequence[Shot] = ()
        self._shape = (0, 0)

    @property
    def page(self) -> int:
        """How many pictures are shown at once."""
        return max(self._shape[0] * self._shape[1], 1)

    def show(self, shots: Sequence[Shot], cursor: int) -> None:
        """Replace the pictures."""
        self._shots = shots
        self.set_reactive(Thumbnails.cursor, max(0, min(cursor, len(shots) - 1)))
        self._fill_soon()

    def on_resize(self) -> None:
        width, height = self.size
        shape = (max(round(width / TILE[0]), 1), max(round(height / TILE[1]), 1))
        if shape != self._shape:
            self._shape = shape
            self.styles.grid_size_columns, self.styles.grid_size_rows = shape
            self._fill_soon()

    def _fill_soon(self) -> None:
        if self._shape != (0, 0):
            self.spawn(self._fill, group="fill", exclusive=True, quiet=True)

    async def _fill(self) -> None:
        tiles = list(self.query(Tile))
        if len(tiles) > self.page:
            await self.query(Tile).remove()
            tiles = []
        if len(tiles) < self.page:
            new = [Tile(place) for place in range(len(tiles), self.page)]
            await self.mount_all(new)
            tiles += new
        first = self.cursor - self.cursor % self.page
        self._mark()
        for index, tile in enumerate(tiles, first):
            await tile.show(self._shots[index] if index < len(self._shots) else None)

    def _mark(self) -> None:
        for tile in self.query(Tile):
            tile.set_class(tile.place == self.cursor % self.page, "-cursor")

    # The cursor

    def _go(self, index: int) -> None:
        index = max(0, min(index, len(self._shots) - 1))
        if index == self.cursor:
            return
        turned = index // self.page != self.cursor // self.page
        self.cursor = index
        self._mark()
        if turned:
            self._fill_soon()
        self.post_message(self.Highlighted(index))

    def action_left(self) -> None:
        self._go(self.cursor - 1)

    def action_right(self) -> None:
        self._go(self.cursor + 1)

    def action_up(self) -> None:
        self._go(self.cursor - self._shape[0])

    def action_down(self) -> None:
        self._go(self.cursor + self._shape[0])

    def action_page_up(self) -> None:
        self._go(self.cursor - self.page)

    def action_page_down(self) -> None:
        self._go(self.cursor + self.page)

    def action_first(self) -> None:
        self._go(0)

    def action_last(self) -> None:
        self._go(len(self._shots) - 1)

    def action_open(self) -> None:
        if self._shots:
            self.post_message(self.Opened(self.cursor))

    def on_click(self, event: events.Click) -> None:
        tile = next((node for node in _ancestors(event.widget) if isinstance(node, Tile)), None)
        if tile is None:
            return
        index = self.cursor - self.cursor % self.page + tile.place
        if index == self.cursor and self.has_focus:
            self.action_open()
        self._go(index)


def _ancestors(widget: Widget | None) -> Sequence[object]:
    return widget.ancestors_with_self if widget is not None else ()
