"""What the keys do while a picture fills the terminal."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table


def _pan(name: str, key: str, title: str, help: str, run: str) -> Action:
    return Action(f"viewer.pan-{name}", key, title, help, in_palette=False, run=run)


TABLE = Table(
    "viewer",
    "Viewing pictures",
    (
        Action("viewer.previous", "left,up", "Previous", "The picture before."),
        Action("viewer.next", "right,down,space", "Next", "The next picture."),
        Action("viewer.zoom", "Z", "Zoom", "Show it at 100 % of its pixels, or whole again."),
        _pan("left", "H,shift+left", "Pan left", "At 100 %, move to the left.", "pan(-1, 0)"),
        _pan("down", "J,shift+down", "Pan down", "At 100 %, move down.", "pan(0, 1)"),
        _pan("up", "K,shift+up", "Pan up", "At 100 %, move up.", "pan(0, -1)"),
        _pan("right", "L,shift+right", "Pan right", "At 100 %, move to the right.", "pan(1, 0)"),
        Action("viewer.outside", "o", "Open outside", "Open the original in the desktop's own viewer."),
        Action("viewer.close", "escape,enter,q,v", "Close", "Close the picture."),
    ),
    kind="dialog",
)
