"""Personas & Pillars."""

from __future__ import annotations

from textual.app import ComposeResult

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.empty import EmptyState


class PersonasScreen(PersonaScreen):
    """The personas, their content pillars and the gaps in what is planned."""

    SCOPE = "personas"
    TITLE = "Personas & Pillars"
    HELP = "The personas, their content pillars and the gaps in what is planned."
    CSS_PATH = "personas.tcss"

    def compose_body(self) -> ComposeResult:
        yield EmptyState("No personas yet.", None, icon="🎯")
