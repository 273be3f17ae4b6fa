"""Pictures side by side, a page at a time, with a cursor on one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

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
from persona_tui.widgets.failsafe import Failsafe, shell_of
from persona_tui.widgets.picture import PicturePane

if TYPE_CHECKING:
    from persona_tui.services.media import MediaStore

TILE = (26, 18)
"""Columns and rows that a tile is to have, more or less."""
WIDEST = 1.25
"""A tile's columns at most, by those that go with its rows: wider ones only set pictures apart."""


class Pictured(Protocol):
    """A picture of the media store; `label` says what it is."""

    @property
    def media_key(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def label(self) -> str: ...


T = TypeVar("T", bound=Pictured)


class Tile(Vertical):
    """A picture and its words."""

    DEFAULT_CSS = """
    Tile { width: 1fr; height: 1fr; padding: 0 1; }
    Tile > Static { height: auto; text-align: center; text-wrap: nowrap; text-overflow: ellipsis; }
    Tile.-cursor { background: $block-cursor-blurred-background; }
    """

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place
        self.words = Content.empty()
        self._sha256 = ""

    def compose(self) -> ComposeResult:
        yield PicturePane("")
        yield Static("", markup=False)

    @property
    def pane(self) -> PicturePane:
        """Its picture."""
        return self.query_one(PicturePane)

    def shows(self, picture: Pictured) -> bool:
        """Whether this very picture is on the screen."""
        return picture.sha256 == self._sha256 and self.pane.loaded

    def show(self, picture: Pictured | None, words: Content, file: Path | None) -> None:
        """Show another picture, or none.

        Args:
            file: its thumbnail; None where it is gone.
        """
        self.visible = picture is not None
        if picture is None:
            return
        if not words.is_same(self.words):
            lines = words.plain.count("\n") != self.words.plain.count("\n") or not self.words
            self.words = words
            self.query_one(Static).update(words, layout=lines)
        if picture.sha256 != self._sha256:
            self._sha256 = picture.sha256
            self.pane.show(file, picture.label if file is not None else "the file is gone")


class Thumbnails(Failsafe, Widget, Generic[T], can_focus=True):
    """As many tiles as fit; paging shows the others, whose pictures are made ready ahead of time.

    Args:
        words: what stands below a picture, on one line or two.
        tile: columns and rows that a tile is to have, more or less.
    """

    SCOPES: ClassVar[tuple[str, ...]] = ("grid",)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(TABLES["grid"])]
    DEFAULT_CSS = """
    Thumbnails { layout: grid; width: 1fr; height: 1fr; align-horizontal: center; }
    Thumbnails:focus Tile.-cursor { background: $block-cursor-background; }
    Thumbnails.-alone Tile.-cursor { background: $background; }
    Thumbnails.-alone Tile > Static { display: none; }
    """

    cursor: reactive[int] = reactive(0)
    """Index of the picture under the cursor."""
    alone: reactive[bool] = reactive(False)
    """One tile takes all the room."""

    @dataclass
    class Highlighted(Message):
        """The cursor was moved to another picture."""

        index: int

    @dataclass
    class Opened(Message):
        """Enter or a click opened a picture."""

        index: int

    def __init__(
        self, words: Callable[[T], Content], *, tile: tuple[int, int] = TILE, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self._words = words
        self._tile = tile
        self._pictures: Sequence[T | None] = ()
        self._shape = (0, 0)
        self._outdated = False
        self._filling = False
        self._ahead = 1
        self._ready: dict[str, Path | None] = {}

    @property
    def page(self) -> int:
        """How many pictures are shown at once."""
        return max(self._shape[0] * self._shape[1], 1)

    @property
    def shown(self) -> range:
        """The places of the page that is shown."""
        first = self.cursor - self.cursor % self.page
        return range(first, first + self.page)

    @property
    def tile(self) -> tuple[int, int]:
        """Columns and rows that a tile is to have, more or less."""
        return self._tile

    @tile.setter
    def tile(self, tile: tuple[int, int]) -> None:
        if tile != self._tile:
            self._tile = tile
            if self.size.area:
                self.on_resize()

    @property
    def drawn(self) -> bool:
        """Whether each tile of the page shows its picture."""
        wanted = [self._pictures[place] for place in self.shown if place < len(self._pictures)]
        tiles = list(self.query(Tile))
        return len(tiles) >= len(wanted) and all(
            picture is not None and tile.shows(picture) for picture, tile in zip(wanted, tiles, strict=False)
        )

    def show(self, pictures: Sequence[T | None], cursor: int) -> None:
        """Replace the pictures. A page waits until none of its own is None: those are still being read."""
        self._pictures = pictures
        self.set_reactive(Thumbnails.cursor, max(0, min(cursor, len(pictures) - 1)))
        if self.size.area:
            self._reshape()
        self._fill_soon()

    def on_resize(self) -> None:
        if self._reshape():
            self._fill_soon()

    def watch_alone(self) -> None:
        self.set_class(self.alone, "-alone")
        if self.size.area and self._reshape():
            self._fill_soon()

    def _reshape(self) -> bool:
        """Choose columns and rows; whether they are other ones than before."""
        shape = (1, 1) if self.alone else self._best_shape(len(self._pictures))
        self.styles.grid_columns = str(self._width(shape))
        if shape == self._shape:
            return False
        self._shape = shape
        self.styles.grid_size_columns, self.styles.grid_size_rows = shape
        return True

    def _width(self, shape: tuple[int, int]) -> int:
        """Columns of each tile, the same for all; what is left lies on both sides of them."""
        (width, height), (columns, rows) = self.size, self._tile
        most = max(width // shape[0], 1)
        return most if self.alone else min(most, round(WIDEST * columns * height / shape[1] / rows))

    def _best_shape(self, count: int) -> tuple[int, int]:
        """As many tiles as fit; larger ones where all pictures have room on one page."""
        (width, height), (columns, rows) = self.size, self._tile
        most = (max(round(width / columns), 1), max(round(height / rows), 1))
        if not 0 < count < most[0] * most[1]:
            return most
        shapes = ((across, -(-count // across)) for across in range(1, count + 1))
        return max(shapes, key=lambda shape: min(width / shape[0] / columns, height / shape[1] / rows))

    def _fill_soon(self) -> None:
        if self._shape == (0, 0):
            return
        self._outdated = True
        if not self._filling:
            self._filling = True
            self.spawn(self._fill, group="fill", quiet=True)

    async def _fill(self) -> None:
        """Fill the tiles until they show what they are to show.

        Never cut off and begun anew: a tile that is taken away while it is being mounted can hang.
        """
        try:
            while self._outdated:
                self._outdated = False
                await self._fill_page()
        finally:
            self._filling = False

    async def _fill_page(self) -> None:
        count = len(self._pictures)
        wanted = [self._pictures[place] if place < count else None for place in self.shown]
        if None in wanted[: max(count - self.shown.start, 0)]:
            return
        tiles = list(self.query(Tile))
        if len(tiles) < self.page:
            new = [Tile(place) for place in range(len(tiles), self.page)]
            await self.mount_all(new)
            tiles += new
        for tile in tiles:
            tile.display = tile.place < self.page
        self._mark()
        if not all(picture is None or picture.sha256 in self._ready for picture in wanted):
            await self._find_files(wanted)
            if self._outdated:
                return
        files = [self._ready.get(picture.sha256) if picture is not None else None for picture in wanted]
        with self.app.batch_update():
            for picture, file, tile in zip(wanted, files, tiles, strict=False):
                words = self._words(picture) if picture is not None else Content.empty()
                tile.show(picture, words, file)
        self.spawn(self._prepare_next, group="ahead", exclusive=True, quiet=True)

    async def _find_files(self, pictures: Sequence[T | None]) -> None:
        """Note where the thumbnails of these pictures lie; of others only the latest are known still."""
        media = shell_of(self).core.resources.media
        wanted = [picture for picture in pictures if picture is not None]
        self._ready |= await asyncio.to_thread(_thumbnails, media, wanted)
        for old in list(self._ready)[: -6 * self.page - 6]:
            del self._ready[old]

    async def _prepare_next(self) -> None:
        """Make the pictures of the page that comes next ready, and of the one before."""
        count, panes = len(self._pictures), self.query(Tile)
        for by in (self._ahead * self.page, -self._ahead * self.page):
            places = [place + by for place in self.shown]
            next_ones = [self._pictures[place] if 0 <= place < count else None for place in places]
            await self._find_files(next_ones)
            for picture, tile in zip(next_ones, panes, strict=False):
                file = self._ready.get(picture.sha256) if picture is not None else None
                if file is not None:
                    await tile.pane.prepare(file)

    def _mark(self) -> None:
        for tile in self.query(Tile):
            tile.set_class(tile.place == self.cursor % self.page, "-cursor")

    # The cursor

    def _go(self, index: int) -> None:
        index = max(0, min(index, len(self._pictures) - 1))
        if index == self.cursor:
            return
        turned = index // self.page != self.cursor // self.page
        self._ahead = 1 if index > self.cursor else -1
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
        self._go(len(self._pictures) - 1)

    def action_open(self) -> None:
        if self._pictures:
            self.post_message(self.Opened(self.cursor))

    def on_click(self, event: events.Click) -> None:
        tile = next((node for node in _ancestors(event.widget) if isinstance(node, Tile)), None)
        if tile is None:
            return
        index = self.cursor - self.cursor % self.page + tile.place
        if index == self.cursor and self.has_focus:
            self.action_open()
        self._go(index)


def _thumbnails(media: MediaStore, pictures: Sequence[Pictured]) -> dict[str, Path | None]:
    """SHA-256 → the thumbnail, made where it is missing; runs in a thread."""
    files: dict[str, Path | None] = {}
    for picture in pictures:
        files[picture.sha256] = None
        with suppress(PersonaError):
            files[picture.sha256] = media.thumbnail(picture.media_key, picture.sha256)
    return files


def _ancestors(widget: Widget | None) -> Sequence[object]:
    return widget.ancestors_with_self if widget is not None else ()
