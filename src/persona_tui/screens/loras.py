"""LoRAs."""

from __future__ import annotations

from textual.app import ComposeResult

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.empty import EmptyState


class LorasScreen(PersonaScreen):
    """The LoRA files, their versions and who uses them."""

    SCOPE = "loras"
    TITLE = "LoRAs"
    HELP = "The LoRA files, their versions and who uses them."
    CSS_PATH = "loras.tcss"

    def compose_body(self) -> ComposeResult:
        yield EmptyState("x", None, icon="🧬")
