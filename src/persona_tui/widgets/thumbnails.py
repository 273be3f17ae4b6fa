"""Pictures side by side, a page at a time, with a cursor on one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from persona_tui.actions import TABLES, bindings
from persona_tui.errors import PersonaError
from persona_tui.widgets.failsafe import Failsafe, shell_of
from persona_tui.widgets.picture import PicturePane
from persona_tui.widgets.picture_strips import LooseStrip

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


class Tile(PicturePane):
    """A picture with its words below, in one widget: a page of three times as many takes far longer."""

    DEFAULT_CSS = """
    Tile { margin: 0 1; color: $foreground; }
    Tile.-cursor { background: $block-cursor-blurred-background; }
    """

    def __init__(self, place: int) -> None:
        super().__init__("")
        self.place = place
        self.words = Content.empty()
        self._sha256 = ""

    def shows(self, picture: Pictured) -> bool:
        """Whether this very picture is on the screen."""
        return picture.sha256 == self._sha256 and self.loaded

    def fill(self, picture: Pictured | None, words: Content, file: Path | None, *, bare: bool) -> None:
        """Show another picture, or none.

        Args:
            file: its thumbnail; None where it is gone.
            bare: without its words.
        """
        below = 0 if bare else words.plain.count("\n") + 1
        sha256 = picture.sha256 if picture is not None else ""
        if (sha256, below) != (self._sha256, self.below):
            self._sha256, self.below, self.words = sha256, below, words
            self.show(file, _alt(picture, file))
        elif not words.is_same(self.words):
            self.words = words
            self.words_changed()

    @property
    def is_empty(self) -> bool:
        """Whether there is no picture for it; not hidden then, since it would not be told its size later."""
        return not self._sha256

    def foot(self, width: int) -> list[Strip]:
        lines = (line.truncate(width, ellipsis=True).center(width) for line in self.words.split("\n"))
        words = Content("\n").join(lines)
        strips = Visual.to_strips(self, words, width, self.below, self.visual_style, pad=True)
        return [LooseStrip(strip, width) for strip in strips]

    def _say_drawn(self) -> None:
        """Nobody asks for a tile: a page of messages, each through all that lies around it, takes long."""
        self._placed = True


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
    """

    cursor: reactive[int] = reactive(0, repaint=False)
    """Index of the picture under the cursor."""
    alone: reactive[bool] = reactive(False, repaint=False)
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
        tiles = self._tiles
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

    def restart(self) -> None:
        """Other pictures are being read; until `show()` brings them, those that are seen stay."""
        self._pictures = ()
        self.set_reactive(Thumbnails.cursor, 0)

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
        if not self._filling and not self._fill_at_once():
            self._filling = True
            self.spawn(self._fill, group="fill", quiet=True)

    def _fill_at_once(self) -> bool:
        """Show a page whose pictures are ready, or leave one that is being read to `show()`.

        Returns:
            False where something has to be waited for.
        """
        wanted, tiles = self._wanted, self._tiles
        if self._unread(wanted):
            self._outdated = False
            return True
        if len(tiles) < self.page or not self._known(wanted):
            return False
        for picture, tile in zip(wanted, tiles, strict=False):
            file = self._ready[picture.sha256] if picture is not None else None
            if file is not None and not tile.is_ready(file):
                return False
        self._outdated = False
        self._fill_tiles(wanted, tiles)
        return True

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
        wanted, tiles = self._wanted, self._tiles
        if self._unread(wanted):
            return
        if len(tiles) < self.page:
            new = [Tile(place) for place in range(len(tiles), self.page)]
            await self.mount_all(new)
            tiles += new
        if not self._known(wanted):
            await self._find_files(wanted)
        if tiles[0].in_half_blocks and not self._outdated:
            await self._prepare(wanted, tiles)
        if not self._outdated:
            self._fill_tiles(wanted, tiles)

    @property
    def _tiles(self) -> list[Tile]:
        return [child for child in self.children if isinstance(child, Tile)]

    @property
    def _wanted(self) -> list[T | None]:
        """The page's pictures; None where one is not read yet, or behind the last one."""
        count = len(self._pictures)
        return [self._pictures[place] if place < count else None for place in self.shown]

    def _unread(self, wanted: Sequence[T | None]) -> bool:
        """Whether some of the page's pictures are not read yet."""
        return None in wanted[: max(len(self._pictures) - self.shown.start, 0)]

    def _known(self, pictures: Sequence[T | None]) -> bool:
        """Whether it is known where the thumbnails of these pictures lie."""
        return all(picture is None or picture.sha256 in self._ready for picture in pictures)

    def _fill_tiles(self, wanted: Sequence[T | None], tiles: Sequence[Tile]) -> None:
        with self.app.batch_update():
            for tile in tiles:
                tile.display = tile.place < self.page
            self._mark()
            for picture, tile in zip(wanted, tiles, strict=False):
                words = self._words(picture) if picture is not None else Content.empty()
                file = self._ready.get(picture.sha256) if picture is not None else None
                tile.fill(picture, words, file, bare=self.alone)
        self.spawn(self._prepare_next, group="ahead", exclusive=True, quiet=True)

    async def _find_files(self, pictures: Sequence[T | None]) -> None:
        """Note where the thumbnails of these pictures lie; besides the page's only the latest stay known."""
        media = shell_of(self).core.resources.media
        wanted = [picture for picture in pictures if picture is not None]
        found = await asyncio.to_thread(_thumbnails, media, wanted)
        before = {sha256: file for sha256, file in self._ready.items() if sha256 not in found}
        shown = {picture.sha256 for picture in self._wanted if picture is not None}
        late = len(before) + len(found) - 6 * self.page - 6
        kept = {old: file for at, (old, file) in enumerate(before.items()) if at >= late or old in shown}
        self._ready = kept | found

    async def _prepare_next(self) -> None:
        """Make the pictures of the page that comes next ready, and of the one before."""
        count, tiles = len(self._pictures), self._tiles
        for by in (self._ahead * self.page, -self._ahead * self.page):
            places = [place + by for place in self.shown]
            next_ones = [self._pictures[place] if 0 <= place < count else None for place in places]
            if not self._known(next_ones):
                await self._find_files(next_ones)
            await self._prepare(next_ones, tiles)

    async def _prepare(self, pictures: Sequence[T | None], tiles: Sequence[Tile]) -> None:
        """Have these pictures made ready for the tiles."""
        files = [self._ready.get(picture.sha256) if picture is not None else None for picture in pictures]
        pairs = zip(files, tiles, strict=False)
        await asyncio.gather(*(tile.prepare(file) for file, tile in pairs if file is not None))

    def _mark(self) -> None:
        for tile in self._tiles:
            tile.set_class(tile.place == self.cursor % self.page and bool(self._pictures), "-cursor")

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


def _alt(picture: Pictured | None, file: Path | None) -> str:
    if picture is None:
        return ""
    return picture.label if file is not None else "the file is gone"


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
