"""The picture beside a run: what a server draws at this moment, or the best one so far."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from persona_tui.widgets.marks import dim
from persona_tui.widgets.picture import PicturePane


class RunPicture(Vertical):
    """One picture with its words; the one before stays until the next is drawn, so nothing flickers."""

    DEFAULT_CSS = """
    RunPicture { width: 1fr; height: 1fr; }
    RunPicture > Static { height: 1; width: 100%; text-align: center; }
    RunPicture > Static { text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, alt: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._alt = alt
        self._shown: tuple[Path | int | None, str] | None = None

    def compose(self) -> ComposeResult:
        yield PicturePane(self._alt)
        yield Static(markup=False)

    @property
    def pane(self) -> PicturePane:
        """Where the picture is painted."""
        return self.query_one(PicturePane)

    def show_file(self, path: Path | None, words: str) -> None:
        """Show a file; the same one again costs nothing."""
        self._show((path, words), path, words, dim(words) if path is not None else Content.empty())

    def show_live(self, picture: bytes, words: Content) -> None:
        """Show what a server has drawn so far; the same bytes again cost nothing but the words."""
        self._show((hash(picture), ""), picture, "so far", words)

    def _show(
        self, what: tuple[Path | int | None, str], source: Path | bytes | None, alt: str, words: Content
    ) -> None:
        if self._shown != what:
            self._shown = what
            self.pane.show(source, alt, keep=source is not None)
        self.query_one(Static).update(words)
