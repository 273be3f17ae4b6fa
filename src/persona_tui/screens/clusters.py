"""Clusters & photos."""

from __future__ import annotations

from textual.app import ComposeResult

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.empty import EmptyState


class ClustersScreen(PersonaScreen):
    """The library: import, search and group photos."""

    SCOPE = "clusters"
    TITLE = "Clusters & photos"
    HELP = "The library: import, search and group photos."
    CSS_PATH = "clusters.tcss"

    def compose_body(self) -> ComposeResult:
        yield EmptyState("No photos yet.", None, icon="📷")
