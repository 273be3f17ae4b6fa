"""Pictures by kitty's Unicode placeholders: the terminal outside tmux holds them, and text shows them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from persona_tui.terminal import kitty, tmux
from persona_tui.terminal.fences import Fences
from persona_tui.terminal.image_store import BUDGET, Encoded, ImageStore, Stored
from persona_tui.terminal.kitty_painter import Held, KittyPainter
from persona_tui.terminal.layer import Ready, Scene, Size, Wish, view
from persona_tui.terminal.painter import decoded
from persona_tui.terminal.placeholders import IDS, cells


class PlaceholderPainter(KittyPainter):
    """Fits pictures into cells that the panes write.

    A picture that two panes show in different sizes at once is right in one of them.

    Args:
        write: puts a string on its way to tmux, whole.
        fences: answered by tmux.
        cell: size of a cell.
        budget: bytes of decoded pictures that the terminal outside may hold.
    """

    as_text: ClassVar[bool] = True

    def __init__(
        self, write: Callable[[str], None], fences: Fences, cell: Size, budget: int = BUDGET
    ) -> None:
        super().__init__(write, fences, cell, budget)
        self._write = write
        self.store = ImageStore(write, fences, self._on_screen, budget, IDS, tmux.wrapped)
        self._fitted: dict[int, tuple[Stored, int, int]] = {}
        self._visible: set[int] = set()

    def _on_screen(self, image_id: int) -> bool:
        return image_id in self._visible

    def _key(self, wish: Wish) -> Hashable:
        # A part of a picture is sent as one: placeholders always show the whole.
        return super()._key(wish) if wish.zoom is None else (wish, self.cell)

    def _encoder(self, wish: Wish) -> Callable[[], Encoded]:
        if wish.zoom is None:
            return super()._encoder(wish)
        return partial(part_encoded, wish.source, self.cell, wish)

    def _seen(self, wish: Wish, stored: Stored) -> Held:
        held = super()._seen(wish, stored)
        columns, rows = held.box.columns, held.box.rows
        fitted = self._fitted.get(held.image_id)
        if fitted is None or fitted[0] is not stored or fitted[1:] != (columns, rows):
            # Before its text: a terminal does not look again at cells that it has drawn.
            self._fitted[held.image_id] = (stored, columns, rows)
            self._write(tmux.wrapped(kitty.place_virtually(held.image_id, columns, rows)))
        return held

    def paint(self, scenes: Sequence[Scene]) -> str:
        pictures = [scene.picture for scene in scenes]
        self._visible = {picture.image_id for picture in pictures if isinstance(picture, Held)}
        return ""

    def text(self, picture: Ready, row: int) -> tuple[int, list[str]] | None:
        if not isinstance(picture, Held):
            return None
        return picture.image_id, cells(row, picture.box.columns)


def part_encoded(source: Path | bytes, cell: Size, wish: Wish) -> Encoded:
    """Read a picture and make of it the part that a pane shows of its own pixels."""
    image = decoded(source)
    _, part = view(Size(*image.size), cell, wish)
    size = Size(part.width, part.height)
    image = image.crop((part.x, part.y, part.right, part.bottom))
    return Encoded(kitty.png24(image, *size), size, size)
