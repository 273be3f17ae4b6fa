"""What the keys do on the screen Settings & Doctor."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

TABLE = Table(
    "settings",
    "Settings & Doctor",
    (Action("settings.check", "c", "Check", "Ask every service whether it works.", 10),),
    holds=("list",),
)
