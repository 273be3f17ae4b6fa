"""Vote."""

from __future__ import annotations

from textual.app import ComposeResult

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.empty import EmptyState


class VoteScreen(PersonaScreen):
    """Two pictures, one key, until the winner is clear."""

    SCOPE = "vote"
    TITLE = "Vote"
    HELP = "Two pictures, one key, until the winner is clear."
    CSS_PATH = "vote.tcss"

    def compose_body(self) -> ComposeResult:
        yield EmptyState("Nothing to vote on.", "global.runs", icon="🏆")
