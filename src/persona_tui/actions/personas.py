"""What the keys do on the screen Personas & Pillars."""

from __future__ import annotations

from persona_tui.actions.registry import Table

TABLE = Table("personas", "Personas & Pillars")
