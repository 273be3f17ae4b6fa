"""Training."""

from __future__ import annotations

from textual.app import ComposeResult

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.empty import EmptyState


class TrainingScreen(PersonaScreen):
    """Train a persona's LoRA and watch it learn."""

    SCOPE = "training"
    TITLE = "Training"
    HELP = "Train a persona's LoRA and watch it learn."
    CSS_PATH = "training.tcss"

    def compose_body(self) -> ComposeResult:
        yield EmptyState("x", None, icon="🏋")
