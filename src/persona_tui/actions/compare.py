"""What the keys do beside the gallery: pictures compared side by side, and the winners of all runs."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table


def _aside(name: str, key: str, title: str, help: str, run: str) -> Action:
    return Action(f"compare.{name}", key, title, help, in_footer=False, in_palette=False, run=run)


COMPARE = Table(
    "compare",
    "Pictures side by side",
    (
        Action("compare.previous", "left,h,up", "Before", "To the picture before.", 10, run="step(-1)"),
        Action("compare.next", "right,l,down,tab", "Next", "To the next picture.", 11, run="step(1)"),
        _aside("first", "1", "First", "To the first picture.", "pick(0)"),
        _aside("second", "2", "Second", "To the second picture.", "pick(1)"),
        _aside("third", "3", "Third", "To the third picture.", "pick(2)"),
        _aside("fourth", "4", "Fourth", "To the fourth picture.", "pick(3)"),
        Action("compare.zoom", "Z", "Zoom", "Show all at 100 % of their pixels, or whole again.", 12),
        Action(
            "compare.pan-left",
            "H,shift+left",
            "Pan left",
            "At 100 %, move all to the left.",
            13,
            run="pan(-1, 0)",
        ),
        Action(
            "compare.pan-down", "J,shift+down", "Pan down", "At 100 %, move all down.", 13, run="pan(0, 1)"
        ),
        Action("compare.pan-up", "K,shift+up", "Pan up", "At 100 %, move all up.", 13, run="pan(0, -1)"),
        Action(
            "compare.pan-right",
            "L,shift+right",
            "Pan right",
            "At 100 %, move all to the right.",
            13,
            run="pan(1, 0)",
        ),
        Action("compare.reject", "x", "Reject", "Reject this picture with all that grew from it.", 14),
        Action("compare.keep", "X", "Keep only this", "Reject the other pictures that are compared.", 15),
        Action("compare.flag", "f", "Flag", "Flag this picture, or take its flag away.", 16),
        Action("compare.undo", "u,z", "Take back", "Take back what a key rejected last.", 17),
        Action("compare.winner", "w", "Winner", "Make this picture of the last step the run's winner.", 18),
        Action("compare.ratings", "s", "Ratings", "Show the ratings, or hide them.", 19),
        Action("compare.view", "enter", "Full size", "Show this picture alone.", 20),
        Action("compare.outside", "o", "Open outside", "Open the original in the desktop's own viewer.", 21),
    ),
)

WINNERS = Table(
    "winners",
    "Winners",
    (
        Action("winners.copy", "y", "Copy path", "Copy the path of the original to the clipboard.", 10),
        Action("winners.winner", "w", "Winner", "Make this picture the run's winner.", 11),
        Action(
            "winners.gallery",
            "t",
            "In the gallery",
            "Show the run's pictures, with the cursor on this one.",
            12,
        ),
        Action("winners.outside", "o", "Open outside", "Open the original in the desktop's own viewer.", 13),
        Action("winners.ratings", "s", "Ratings", "Show who leads where votes are open, or hide it.", 14),
    ),
    holds=("list",),
)
