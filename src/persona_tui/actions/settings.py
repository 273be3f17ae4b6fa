"""What the keys do on the screen Settings & Doctor."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

TABLE = Table(
    "settings",
    "Settings & Doctor",
    (
        Action("settings.check", "d", "Doctor", "Ask every service whether it works.", 10),
        Action("settings.confirm", "c", "Confirm", "After a restore: look at the accounts, then go on.", 11),
        Action("settings.theme", "t", "Theme", "Switch between dark and light.", 12),
        Action("settings.switch", "tab", "Other list", "Move between findings and settings.", 13),
    ),
    holds=("list",),
)
