"""The two colour themes: fluffy-train's palette, named for its roles.

Every colour lies next to one of the sixteen ANSI colours, so a terminal that knows no others still
shows the intended one: cyan titles, yellow sections, green, red, blue and magenta words.
Besides Textual's own names the themes define `$title`, `$section`, `$info`, `$label`, `$dim` and
`$rule`, for styles in CSS and in `Content`.
"""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="persona-dark",
    primary="#4fd1e0",
    secondary="#6aa7ff",
    accent="#d88cf0",
    warning="#f2cf63",
    error="#ff7b7b",
    success="#7bd88f",
    foreground="#dfe6ec",
    background="#11151a",
    surface="#181e25",
    panel="#202833",
    dark=True,
    variables={
        "title": "#4fd1e0",
        "section": "#f2cf63",
        "info": "#6aa7ff",
        "label": "#d88cf0",
        "dim": "#8795a3",
        "rule": "#3b4753",
        "on-badge": "#11151a",
        "block-cursor-foreground": "#e9fbff",
        "block-cursor-background": "#1d4f5a",
        "block-cursor-text-style": "bold",
        "block-cursor-blurred-foreground": "#dfe6ec",
        "block-cursor-blurred-background": "#26313c",
        "input-cursor-background": "#4fd1e0",
        "input-cursor-foreground": "#11151a",
        "border": "#4fd1e0",
        "border-blurred": "#3b4753",
        "scrollbar": "#3b4753",
        "scrollbar-hover": "#4fd1e0",
        "scrollbar-active": "#4fd1e0",
        "scrollbar-background": "#161b21",
    },
)

LIGHT = Theme(
    name="persona-light",
    primary="#00707f",
    secondary="#1d5fbf",
    accent="#8a2ba8",
    warning="#8a6100",
    error="#b3261e",
    success="#1e7a34",
    foreground="#1c242b",
    background="#f7f8f6",
    surface="#eef0ed",
    panel="#e3e7e4",
    dark=False,
    variables={
        "title": "#00707f",
        "section": "#8a6100",
        "info": "#1d5fbf",
        "label": "#8a2ba8",
        "dim": "#5e6a73",
        "rule": "#b9c1c4",
        "on-badge": "#ffffff",
        "block-cursor-foreground": "#062b30",
        "block-cursor-background": "#b5e4ea",
        "block-cursor-text-style": "bold",
        "block-cursor-blurred-foreground": "#1c242b",
        "block-cursor-blurred-background": "#d9dfdd",
        "input-cursor-background": "#00707f",
        "input-cursor-foreground": "#ffffff",
        "border": "#00707f",
        "border-blurred": "#b9c1c4",
        "scrollbar": "#b9c1c4",
        "scrollbar-hover": "#00707f",
        "scrollbar-active": "#00707f",
        "scrollbar-background": "#eceeeb",
    },
)

THEMES = {"dark": DARK, "light": LIGHT}
"""The theme for each value of `settings.terminal.theme`."""
