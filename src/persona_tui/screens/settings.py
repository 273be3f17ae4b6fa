"""Settings & Doctor."""

from __future__ import annotations

from textual.app import ComposeResult

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.empty import EmptyState


class SettingsScreen(PersonaScreen):
    """The effective settings, and what works."""

    SCOPE = "settings"
    TITLE = "Settings & Doctor"
    HELP = "The effective settings, and what works."
    CSS_PATH = "settings.tcss"

    def compose_body(self) -> ComposeResult:
        yield EmptyState("x", None, icon="")
