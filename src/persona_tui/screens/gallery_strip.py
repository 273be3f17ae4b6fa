"""The way that led to a picture, as a row of thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Horizontal

from persona_tui.screens.runs_picture import RunPicture

MOST = 6
"""Pictures that the row has room for; of a longer way the last ones are shown."""


class LineageStrip(Horizontal):
    """Pictures from the first step's to the one under the cursor."""

    DEFAULT_CSS = """
    LineageStrip { height: 14; width: 1fr; }
    LineageStrip RunPicture { width: 26; height: 1fr; }
    """

    def compose(self) -> ComposeResult:
        for _ in range(MOST):
            yield RunPicture("the file is gone")

    def show(self, way: Sequence[tuple[Path | None, str]]) -> None:
        """Show files with their words, the first step's first."""
        shown = way[-MOST:]
        for index, pane in enumerate(self.query(RunPicture)):
            pane.display = index < len(shown)
            if index < len(shown):
                path, words = shown[index]
                pane.show_file(path, words if index == 0 else f"› {words}")
