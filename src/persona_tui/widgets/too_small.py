"""What is seen on a terminal smaller than 80×24."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

LEAST = (80, 24)
"""Columns and rows that every screen needs."""


class TooSmall(Widget):
    """Covers a screen that has no room; what lies beneath keeps its state and its focus.

    The classes `-tiny` and `-short`, which the app gives to every screen, show it (app.tcss).
    """

    DEFAULT_CSS = """
    TooSmall {
        display: none; layer: too-small; position: absolute; offset: 0 0; width: 100vw; height: 100vh;
        background: $background; content-align: center middle; text-align: center;
    }
    """

    def render(self) -> Content:
        columns, rows = self.app.size
        return Content.assemble(
            (f"needs {LEAST[0]}×{LEAST[1]}; this is {columns}×{rows}", "$warning bold"),
            ("\nMake the window larger to go on.", "$dim"),
        )
