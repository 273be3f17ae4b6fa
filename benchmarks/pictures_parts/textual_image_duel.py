"""Two pictures and a status line with textual-image: what the benchmark compares with."""

from __future__ import annotations

import sys
from pathlib import Path

from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static
from textual_image.widget import TGPImage


class OtherDuel(App[None]):
    """The next pair on every key."""

    CSS = "#pair { height: 1fr; } #status { height: 1; } TGPImage { width: 1fr; height: 1fr; margin: 0 1; }"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.files = sorted(folder.glob("*.png"), key=lambda path: int(path.stem))
        self.pair = 0

    def compose(self) -> ComposeResult:
        """Lay out as the benchmark's own app does."""
        with Horizontal(id="pair"):
            yield TGPImage(self.files[0])
            yield TGPImage(self.files[1])
        yield Static("votes 0", id="status")

    def on_key(self) -> None:
        """Show the next pair."""
        self.pair += 1
        for place, widget in enumerate(self.query(TGPImage)):
            widget.image = self.files[(2 * self.pair + place) % len(self.files)]
        self.query_one("#status", Static).update(f"votes {self.pair}")


if __name__ == "__main__":
    OtherDuel(Path(sys.argv[1])).run()
