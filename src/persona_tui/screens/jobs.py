"""Jobs & logs."""

from __future__ import annotations

from textual.app import ComposeResult

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.empty import EmptyState


class JobsScreen(PersonaScreen):
    """Background work and the log."""

    SCOPE = "jobs"
    TITLE = "Jobs & logs"
    HELP = "Background work and the log."
    CSS_PATH = "jobs.tcss"

    def compose_body(self) -> ComposeResult:
        yield EmptyState("x", None, icon="")
