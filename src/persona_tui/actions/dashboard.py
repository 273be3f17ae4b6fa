"""What the keys do on the screen Dashboard."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

TABLE = Table(
    "dashboard",
    "Dashboard",
    (
        Action("dashboard.first", "1", "Do 🔴", "Do the first of the next actions.", 10),
        Action("dashboard.second", "2", "Do 🟡", "Do the second of the next actions.", 11),
        Action("dashboard.third", "3", "Do 🔵", "Do the third of the next actions.", 12),
        Action("dashboard.up", "up", "Up", "Scroll one line up.", in_footer=False, in_palette=False),
        Action("dashboard.down", "down", "Down", "Scroll one line down.", in_footer=False, in_palette=False),
        Action(
            "dashboard.page-up", "pageup", "Page up", "Scroll one page up.", in_footer=False, in_palette=False
        ),
        Action(
            "dashboard.page-down",
            "pagedown,space",
            "Page down",
            "Scroll one page down.",
            in_footer=False,
            in_palette=False,
        ),
    ),
)
