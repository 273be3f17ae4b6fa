"""What the keys do on the screen Clusters & photos."""

from __future__ import annotations

from persona_tui.actions.registry import Table

TABLE = Table("clusters", "Clusters & photos")
