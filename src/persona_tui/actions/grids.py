"""What the keys do in a grid: the month calendar and the thumbnails."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table


def _move(name: str, key: str, title: str, help: str) -> Action:
    return Action(f"grid.{name}", key, title, help, in_footer=False, in_palette=False)


TABLE = Table(
    "grid",
    "In the calendar and among thumbnails",
    (
        _move("left", "left", "Left", "One cell to the left."),
        _move("right", "right", "Right", "One cell to the right."),
        _move("up", "up", "Up", "One row up."),
        _move("down", "down", "Down", "One row down."),
        _move("page-up", "pageup", "Page up", "One page up; in the calendar the month before."),
        _move("page-down", "pagedown", "Page down", "One page down; in the calendar the month after."),
        _move("first", "home", "First", "To the first picture; in the calendar to today."),
        _move("last", "end", "Last", "To the last picture; in the calendar to the last planned day."),
        _move("open", "enter", "Open", "Open what is in the cell."),
    ),
    kind="widget",
)
