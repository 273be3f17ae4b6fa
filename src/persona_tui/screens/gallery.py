"""Gallery & tree."""

from __future__ import annotations

from textual.app import ComposeResult

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.empty import EmptyState


class GalleryScreen(PersonaScreen):
    """The pictures of a run and how they descend from each other."""

    SCOPE = "gallery"
    TITLE = "Gallery & tree"
    HELP = "The pictures of a run and how they descend from each other."
    CSS_PATH = "gallery.tcss"

    def compose_body(self) -> ComposeResult:
        yield EmptyState("No pictures yet.", "global.runs", icon="🌳")
