"""Dashboard."""

from __future__ import annotations

from textual.app import ComposeResult

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.empty import EmptyState


class DashboardScreen(PersonaScreen):
    """What is due, what is missing and what to do next."""

    SCOPE = "dashboard"
    TITLE = "Dashboard"
    HELP = "What is due, what is missing and what to do next."
    CSS_PATH = "dashboard.tcss"

    def compose_body(self) -> ComposeResult:
        yield EmptyState(
            "Nothing is due.\nPersonas, pillars and ideas come first.", "global.personas", icon="🎉"
        )
