"""What the keys do on the screen Dashboard."""

from __future__ import annotations

from persona_tui.actions.registry import Table

TABLE = Table("dashboard", "Dashboard")
