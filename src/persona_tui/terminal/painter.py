"""What every way of drawing pictures can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, ClassVar

from persona_tui.terminal.layer import Ready, Scene, Size, Wish

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image


class Painter(ABC):
    """Draws pictures over the cells that Textual paints.

    Attributes:
        cell: size of a cell; where it changes, everything is to be made ready anew.
    """

    cell: Size
    in_cells: ClassVar[bool] = False
    """The picture lies in the cells, so that painting them wipes it away: Textual must leave them alone."""
    as_text: ClassVar[bool] = False
    """The picture is text, which Textual paints like any other."""

    @abstractmethod
    def ready(self, wish: Wish) -> Ready | None:
        """The picture, if it can be shown at once."""

    def stopgap(self, wish: Wish) -> Ready | None:
        """Something to show until the picture can be."""
        return None

    @abstractmethod
    async def fetch(self, wish: Wish, *, ahead: bool = False) -> Ready | None:
        """The picture, when it can be shown; None where there was no room for it ahead of need.

        Raises:
            OSError, ValueError: it can't be read.
        """

    async def refine(self, wish: Wish) -> Ready | None:
        """The same picture in more colours, for when there is time; None where it has them all.

        Raises:
            OSError, ValueError: it can't be read.
        """
        return None

    @abstractmethod
    def holds(self, picture: Ready) -> bool:
        """Whether it can still be shown."""

    @abstractmethod
    def paint(self, scenes: Sequence[Scene]) -> str:
        """The commands that bring these pictures onto the screen, and take all others away."""

    @abstractmethod
    def shown(self, scene: Scene) -> bool:
        """Whether the picture is on the screen since the last `paint()`."""

    @abstractmethod
    def repaint(self) -> None:
        """All cells are about to be painted anew, or the terminal may have lost pictures."""

    def text(self, picture: Ready, row: int) -> tuple[int, list[str]] | None:
        """A colour of the 256, and the cells of a picture's row in it; None where it is drawn over the cells.

        Args:
            row: of the picture's box, from 0.
        """
        return None

    def lost(self, image_id: int) -> bool:
        """The terminal has this picture no more; tells whether that was not known."""
        return False

    @abstractmethod
    def close(self) -> str:
        """The terminal is left; returns the commands that clean it up."""

    @abstractmethod
    def open(self) -> None:
        """The terminal is back, and knows none of our pictures."""


def decoded(source: Path | bytes, least: Size | None = None) -> Image:
    """Read a picture as RGB; takes tens of milliseconds.

    Args:
        least: pixels that are enough; a JPEG is then read at a half, a quarter or an eighth of its size,
            several times faster.

    Raises:
        OSError, ValueError: it can't be read.
    """
    from PIL import Image

    with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
        if least is not None:
            image.draft(None, least)
        image.load()
        return image if image.mode in {"RGB", "RGBA"} else image.convert("RGBA")
