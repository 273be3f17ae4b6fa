"""What the keys do on the screen Ideas."""

from __future__ import annotations

from persona_tui.actions.registry import Table

TABLE = Table("ideas", "Ideas")
