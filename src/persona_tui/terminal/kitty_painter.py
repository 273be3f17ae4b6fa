"""Pictures by the kitty protocol: the terminal holds them, and showing one takes fifty bytes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from persona_tui.terminal import kitty
from persona_tui.terminal.fences import Fences
from persona_tui.terminal.image_store import BUDGET, CHANNELS, Encoded, ImageStore, Stored
from persona_tui.terminal.layer import (
    PARTS,
    Placement,
    Ready,
    Rect,
    Scene,
    Size,
    Wish,
    difference,
    place_parts,
    view,
)
from persona_tui.terminal.painter import Painter, decoded

SIDES = (256, 512, 1024)
"""Longest sides, in pixels, at which pictures are sent: the least that fills the pane."""
OWN_SIZE = 0
"""Stands for the picture's own size, in all its colours."""


@dataclass(frozen=True)
class Held(Ready):
    """A picture that the terminal holds.

    Attributes:
        image_id: the terminal's name for it.
        size: as the terminal has it.
        shown: the part of it that fills the box.
    """

    image_id: int
    size: Size
    shown: Rect


class KittyPainter(Painter):
    """Direct placements above the text.

    Args:
        write: puts a string on its way to the terminal, whole.
        fences: of the same terminal.
        cell: size of a cell.
        budget: bytes of decoded pictures that the terminal may hold.
    """

    def __init__(
        self, write: Callable[[str], None], fences: Fences, cell: Size, budget: int = BUDGET
    ) -> None:
        self.cell = cell
        self._placed: dict[tuple[int, int], Placement] = {}
        self._doubted = False
        self._budget = budget
        self.store = ImageStore(write, fences, self._on_screen, budget)

    def _on_screen(self, image_id: int) -> bool:
        return any(placed == image_id for placed, _ in self._placed)

    def ready(self, wish: Wish) -> Held | None:
        return self._held(wish, ahead=False)

    def _held(self, wish: Wish, *, ahead: bool) -> Held | None:
        stored = self.store.ready(self._key(wish), ahead=ahead)
        return self._seen(wish, stored) if stored else None

    def stopgap(self, wish: Wish) -> Held | None:
        """The same picture in fewer pixels or colours, until the right one has come."""
        for side in reversed(SIDES):
            if stored := self.store.ready((wish.source, side), ahead=True):
                return self._seen(wish, stored)
        return None

    async def fetch(self, wish: Wish, *, ahead: bool = False) -> Held | None:
        stored = await self.store.fetch(self._key(wish), self._encoder(wish), ahead=ahead)
        return self._seen(wish, stored) if stored else None

    def _key(self, wish: Wish) -> Hashable:
        return wish.source, self._side(wish)

    def _encoder(self, wish: Wish) -> Callable[[], Encoded]:
        return partial(encoded, wish.source, self._side(wish), self._budget // 4)

    def _side(self, wish: Wish) -> int:
        if wish.zoom is not None:
            return OWN_SIZE
        longest = max(wish.columns * self.cell.width, wish.rows * self.cell.height)
        return next((side for side in SIDES if side >= longest), SIDES[-1])

    def _seen(self, wish: Wish, stored: Stored) -> Held:
        box, own = view(stored.own, self.cell, wish)
        across, down = stored.size.width / stored.own.width, stored.size.height / stored.own.height
        x, y = int(own.x * across), int(own.y * down)
        width = max(1, min(stored.size.width - x, round(own.width * across)))
        height = max(1, min(stored.size.height - y, round(own.height * down)))
        key: Hashable = (wish.source, wish.zoom, stored.image_id)
        return Held(key, box, stored.image_id, stored.size, Rect(x, y, width, height))

    def holds(self, picture: Ready) -> bool:
        return isinstance(picture, Held) and self.store.has(picture.image_id)

    def paint(self, scenes: Sequence[Scene]) -> str:
        wanted = {}
        for scene in scenes:
            picture = scene.picture
            if isinstance(picture, Held) and self.store.has(picture.image_id):
                for part, placement in enumerate(place_parts(scene, picture.size, picture.shown)):
                    wanted[picture.image_id, scene.slot * PARTS + part + 1] = placement
        commands = difference(self._placed, wanted, again=self._doubted)
        self._placed, self._doubted = wanted, False
        return commands

    def shown(self, scene: Scene) -> bool:
        picture = scene.picture
        return isinstance(picture, Held) and self.store.has(picture.image_id) and bool(scene.parts)

    def repaint(self) -> None:
        """Pictures that are there stay as they are; for the others the terminal says what it lost."""
        self._doubted = True

    def lost(self, image_id: int) -> bool:
        return self.store.lost(image_id)

    def close(self) -> str:
        self._placed = {}
        return self.store.close()

    def open(self) -> None:
        self._placed = {}
        self.store.open()


def encoded(source: Path | bytes, side: int, most: int) -> Encoded:
    """Read a picture and make of it what is sent.

    Args:
        side: longest side in pixels, or OWN_SIZE.
        most: bytes that it may take decoded.
    """
    image = decoded(source)
    own = Size(*image.size)
    largest = (most / (own.width * own.height * CHANNELS)) ** 0.5
    scale = min(1.0, largest, side / max(own)) if side else min(1.0, largest)
    size = Size(max(1, round(own.width * scale)), max(1, round(own.height * scale)))
    png = kitty.png8(image, *size) if side else kitty.png24(image, *size)
    return Encoded(png, size, own)
