"""Sample pictures of a training: a row for each prompt, a column for each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from persona_tui.actions import TABLES, bindings
from persona_tui.errors import StorageError
from persona_tui.widgets.failsafe import Failsafe
from persona_tui.widgets.marks import dim
from persona_tui.widgets.thumbnails import Tile
from persona_tui.widgets.viewer import ViewedPicture

if TYPE_CHECKING:
    from persona_tui.services.training.samples import Sample

TILE = (20, 10)
"""Columns and rows that a picture is to have, more or less, its words included."""


class SampleFiles:
    """What the viewer needs of a store, for pictures that lie where their keys say."""

    def thumbnail(self, media_key: str, sha256: str) -> Path:
        """The picture itself: samples are small.

        Raises:
            StorageError: it is gone.
        """
        path = Path(media_key)
        if not path.is_file():
            raise StorageError("The sample is gone.", hint="Its run's folder was moved or cleared.")
        return path

    def path(self, media_key: str) -> Path:
        """Where it lies."""
        return Path(media_key)

    def get(self, media_key: str) -> bytes:
        """Its bytes.

        Raises:
            StorageError: it is gone.
        """
        return self.thumbnail(media_key, "").read_bytes()


def viewed(sample: Sample) -> ViewedPicture:
    """A sample as viewer and tiles take it; path and time stand for its hash."""
    words = f"step {sample.step}" + (f", {sample.words}" if sample.words else "")
    return ViewedPicture(str(sample.path), f"{sample.path} {sample.made_ns}", words)


class SampleGrid(Failsafe, Widget, can_focus=True):
    """As many pictures as fit, with the newest step on the right until the cursor goes elsewhere."""

    SCOPES: ClassVar[tuple[str, ...]] = ("grid",)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(TABLES["grid"])]
    DEFAULT_CSS = """
    SampleGrid { layout: grid; width: 1fr; height: 1fr; }
    SampleGrid:focus Tile.-cursor { background: $block-cursor-background; }
    """

    @dataclass
    class Opened(Message):
        """Enter or a click opened a sample."""

        sample: Sample

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._samples: Sequence[Sample] = ()
        self._at: dict[tuple[str, int], Sample] = {}
        self._subjects: list[str] = []
        self._steps: list[int] = []
        self._row = self._column = 0
        self._shape = (0, 0)
        self._filling = self._outdated = False

    def show(self, samples: Sequence[Sample]) -> None:
        """Replace the pictures; the cursor stays with its step, and at the newest one where it was there."""
        if samples == self._samples:
            return
        newest = self._column >= len(self._steps) - 1
        before = self._steps[self._column] if self._steps else None
        self._samples = samples
        self._at = {(one.subject, one.step): one for one in samples}
        ranks = {one.subject: one.rank for one in samples}
        self._subjects = sorted(ranks, key=ranks.__getitem__)
        self._steps = sorted({one.step for one in samples})
        self._row = min(self._row, max(len(self._subjects) - 1, 0))
        last = max(len(self._steps) - 1, 0)
        self._column = last if newest or before not in self._steps else self._steps.index(before)
        self._fill_soon()

    @property
    def current(self) -> Sample | None:
        """The picture under the cursor; None where this prompt has none of this step."""
        if not self._steps:
            return None
        return self._at.get((self._subjects[self._row], self._steps[self._column]))

    # Tiles

    def on_resize(self) -> None:
        self._fill_soon()

    def _reshape(self) -> None:
        width, height = self.size
        columns = min(max(width // TILE[0], 1), max(len(self._steps), 1))
        rows = min(max(round(height / TILE[1]), 1), max(len(self._subjects), 1))
        self._shape = (columns, rows)
        self.styles.grid_size_columns, self.styles.grid_size_rows = self._shape

    def _window(self) -> list[tuple[int, int] | None]:
        """Row and column of each tile; the cursor's step is the last one that is seen, or nearly."""
        columns, rows = self._shape
        left = min(max(self._column - columns + 1, 0), max(len(self._steps) - columns, 0))
        top = self._row - self._row % rows
        places: list[tuple[int, int] | None] = []
        for row in range(top, top + rows):
            for column in range(left, left + columns):
                there = row < len(self._subjects) and column < len(self._steps)
                places.append((row, column) if there else None)
        return places

    def _fill_soon(self) -> None:
        self._outdated = True
        if self.size.area and not self._filling:
            self._filling = True
            self.spawn(self._fill, group="fill", quiet=True)

    async def _fill(self) -> None:
        """Fill until nothing has changed meanwhile: a tile that is cut off while it mounts can hang."""
        try:
            while self._outdated:
                self._outdated = False
                self._reshape()
                await self._fill_tiles()
        finally:
            self._filling = False

    async def _fill_tiles(self) -> None:
        places = self._window()
        tiles = [child for child in self.children if isinstance(child, Tile)]
        if len(tiles) < len(places):
            new = [Tile(place) for place in range(len(tiles), len(places))]
            await self.mount_all(new)
            tiles += new
        with self.app.batch_update():
            for tile in tiles:
                tile.display = tile.place < len(places)
            for tile, place in zip(tiles, places, strict=False):
                self._fill_tile(tile, place)

    def _fill_tile(self, tile: Tile, place: tuple[int, int] | None) -> None:
        tile.set_class(place == (self._row, self._column), "-cursor")
        if place is None:
            tile.fill(None, Content.empty(), None, bare=True)
            return
        subject, step = self._subjects[place[0]], self._steps[place[1]]
        sample = self._at.get((subject, step))
        words = Content(f"{step}") + dim(f" {sample.words}" if sample is not None else " none")
        picture = viewed(sample) if sample is not None else None
        tile.fill(picture, words, sample.path if sample is not None else None, bare=False)

    # The cursor

    def _go(self, rows: int, columns: int) -> None:
        row = min(max(self._row + rows, 0), max(len(self._subjects) - 1, 0))
        column = min(max(self._column + columns, 0), max(len(self._steps) - 1, 0))
        if (row, column) != (self._row, self._column):
            self._row, self._column = row, column
            self._fill_soon()

    def action_left(self) -> None:
        self._go(0, -1)

    def action_right(self) -> None:
        self._go(0, 1)

    def action_up(self) -> None:
        self._go(-1, 0)

    def action_down(self) -> None:
        self._go(1, 0)

    def action_page_up(self) -> None:
        self._go(0, -self._shape[0])

    def action_page_down(self) -> None:
        self._go(0, self._shape[0])

    def action_first(self) -> None:
        self._go(0, -len(self._steps))

    def action_last(self) -> None:
        self._go(0, len(self._steps))

    def action_open(self) -> None:
        if self.current is not None:
            self.post_message(self.Opened(self.current))

    def on_click(self, event: events.Click) -> None:
        nodes = event.widget.ancestors_with_self if event.widget is not None else ()
        tile = next((node for node in nodes if isinstance(node, Tile)), None)
        places = self._window()
        place = places[tile.place] if tile is not None and tile.place < len(places) else None
        if place is None:
            return
        if place == (self._row, self._column) and self.has_focus:
            self.action_open()
        self._go(place[0] - self._row, place[1] - self._column)
