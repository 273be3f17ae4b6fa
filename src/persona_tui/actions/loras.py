"""What the keys do on the screen LoRAs."""

from __future__ import annotations

from persona_tui.actions.registry import Table

TABLE = Table("loras", "LoRAs")
