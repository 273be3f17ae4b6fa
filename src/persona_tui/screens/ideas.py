"""Ideas."""

from __future__ import annotations

from textual.app import ComposeResult

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.empty import EmptyState


class IdeasScreen(PersonaScreen):
    """Suggestions for pictures that would fill a gap: generate, accept, reject."""

    SCOPE = "ideas"
    TITLE = "Ideas"
    HELP = "Suggestions for pictures that would fill a gap: generate, accept, reject."
    CSS_PATH = "ideas.tcss"

    def compose_body(self) -> ComposeResult:
        yield EmptyState("No ideas yet.", "global.personas", icon="🤖")
