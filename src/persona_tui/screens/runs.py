"""Runs."""

from __future__ import annotations

from textual.app import ComposeResult

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.empty import EmptyState


class RunsScreen(PersonaScreen):
    """Generation runs: create, watch, approve, pause, choose a winner."""

    SCOPE = "runs"
    TITLE = "Runs"
    HELP = "Generation runs: create, watch, approve, pause, choose a winner."
    CSS_PATH = "runs.tcss"

    def compose_body(self) -> ComposeResult:
        yield EmptyState("No runs yet.", "global.ideas", icon="🎬")
