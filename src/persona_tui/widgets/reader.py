"""Long text to read: help, a log entry, a prompt, an error."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from persona_tui.errors import PersonaError
from persona_tui.widgets.dialog import Dialog


class TextDialog(Dialog[None]):
    """Shows a text; arrow and page keys scroll it.

    Args:
        title: in the border.
        text: plain text or styled `Content`; never read as markup.
    """

    SCOPE = "reader"

    DEFAULT_CSS = """
    TextDialog > #frame { width: 88; }
    TextDialog > #frame > VerticalScroll { height: auto; max-height: 100%; scrollbar-size-vertical: 1; }
    TextDialog > #frame > Legend { dock: bottom; margin: 0; }
    TextDialog #text { height: auto; margin-bottom: 2; }
    """

    def __init__(self, title: str, text: str | Content, *, dangerous: bool = False) -> None:
        super().__init__(title, dangerous=dangerous)
        self._text = text

    def compose_content(self) -> ComposeResult:
        with VerticalScroll(can_focus=False):
            yield Static(self._text, id="text", markup=False)

    @property
    def _pane(self) -> VerticalScroll:
        return self.query_one(VerticalScroll)

    def action_up(self) -> None:
        self._pane.scroll_up(animate=False)

    def action_down(self) -> None:
        self._pane.scroll_down(animate=False)

    def action_page_up(self) -> None:
        self._pane.scroll_page_up(animate=False)

    def action_page_down(self) -> None:
        self._pane.scroll_page_down(animate=False)

    def action_close(self) -> None:
        self.dismiss(None)


class ErrorDialog(TextDialog):
    """What failed and what to do, when a line is too short for it."""

    def __init__(self, error: PersonaError) -> None:
        text = Content.assemble((f"❌ {error.message}\n\n", "$error"), (error.hint, ""))
        super().__init__(error.title, text, dangerous=True)
