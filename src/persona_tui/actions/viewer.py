"""What the keys do while a picture fills the terminal."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

TABLE = Table(
    "viewer",
    "Viewing pictures",
    (
        Action("viewer.previous", "left,up", "Previous", "The picture before."),
        Action("viewer.next", "right,down,space", "Next", "The next picture."),
        Action("viewer.outside", "o", "Open outside", "Open the original in the desktop's own viewer."),
        Action("viewer.close", "escape,enter,q,v", "Close", "Close the picture."),
    ),
    kind="dialog",
)
