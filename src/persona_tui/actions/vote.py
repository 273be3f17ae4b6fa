"""What the keys do on the screen Vote."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

TABLE = Table(
    "vote",
    "Vote",
    (
        Action("vote.left", "left,h", "Left", "The left picture is the better one.", 10, in_palette=False),
        Action(
            "vote.right", "right,l", "Right", "The right picture is the better one.", 11, in_palette=False
        ),
        Action("vote.unsure", "space", "Not sure", "Neither is better; show another pair.", 12),
        Action(
            "vote.accept",
            "enter",
            "Accept",
            "Let the best go on to the next step; after the last step the leader wins and becomes a draft.",
            13,
        ),
        Action("vote.undo", "z", "Undo", "Take the last vote back and show its pair again.", 14),
        Action("vote.next", "n", "Next contest", "Leave this contest for the next one.", 15),
        Action("vote.reveal", "r", "Ratings", "Show the ratings, or hide them again.", 16),
        Action("vote.info", "i", "Info", "Show prompt, seed and parent, or hide them again.", 17),
        Action("vote.gallery", "t", "All pictures", "Open the run in the gallery.", 18),
    ),
)
