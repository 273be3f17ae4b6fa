"""What the keys do on the screen Posts & calendar."""

from __future__ import annotations

from persona_tui.actions.registry import Table

TABLE = Table("posts", "Posts & calendar")
