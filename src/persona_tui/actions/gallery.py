"""What the keys do on the screen Gallery & tree."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

TABLE = Table(
    "gallery",
    "Gallery & tree",
    (
        Action(
            "gallery.tree", "t", "Tree or grid", "Show how the pictures descend, or all side by side.", 10
        ),
        Action("gallery.runs", "r", "Other run", "Choose the run whose pictures are shown.", 11),
        Action("gallery.winner", "w", "Winner", "Make this picture of the last step the run's winner.", 12),
        Action("gallery.reject", "x", "Reject", "Reject the picture with all that grew from it.", 13),
        Action("gallery.undo", "u", "Take back", "Take the picture's rejection back, or the last one.", 14),
        Action("gallery.vote", "v", "Vote", "Vote on the run's pictures.", 15),
        Action("gallery.outside", "o", "Open outside", "Open the original in the desktop's own viewer.", 16),
        Action("gallery.all", "i", "All about it", "Show prompt, seed and origin in full.", 17),
    ),
    holds=("list", "grid"),
)
