"""What the keys do on the screen Gallery & tree."""

from __future__ import annotations

from persona_tui.actions.registry import Table

TABLE = Table("gallery", "Gallery & tree")
