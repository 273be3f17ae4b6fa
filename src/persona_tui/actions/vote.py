"""What the keys do on the screen Vote."""

from __future__ import annotations

from persona_tui.actions.registry import Table

TABLE = Table("vote", "Vote")
