"""The scrolled part of a dialog: as tall as what it holds, as far as the screen has room."""

from __future__ import annotations

from textual.containers import VerticalScroll
from textual.geometry import Size

from persona_tui.widgets.dialog import TALLEST


class CappedScroll(VerticalScroll):
    """Says its height itself: a frame that is as tall as its content measures children past their `vh`.

    Args:
        others: rows that the dialog wants for its frame and its other parts.
    """

    DEFAULT_CSS = "CappedScroll { height: auto; scrollbar-size-vertical: 1; }"

    def __init__(self, *, others: int, id: str | None = None) -> None:
        super().__init__(id=id, can_focus=False)
        self._others = others

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        most = self.screen.size.height * TALLEST // 100 - self._others
        return max(1, min(super().get_content_height(container, viewport, width), most))
