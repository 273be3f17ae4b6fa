"""Posts & calendar."""

from __future__ import annotations

from textual.app import ComposeResult

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.empty import EmptyState


class PostsScreen(PersonaScreen):
    """Captions, the calendar, what is planned and what has been posted."""

    SCOPE = "posts"
    TITLE = "Posts & calendar"
    HELP = "Captions, the calendar, what is planned and what has been posted."
    CSS_PATH = "posts.tcss"

    def compose_body(self) -> ComposeResult:
        yield EmptyState("No posts yet.", "global.vote", icon="📅")
