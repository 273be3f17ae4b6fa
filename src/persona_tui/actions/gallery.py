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
        Action("gallery.runs", "r", "Other run", "Choose the run whose pictures are shown.", 25),
        Action("gallery.approve", "a", "Approve", "Let the best pictures of the run's step go on.", 15),
        Action("gallery.winner", "w", "Winner", "Make this picture of the last step the run's winner.", 16),
        Action("gallery.mark", "space", "Mark", "Mark the picture, or take its mark away.", 11),
        Action(
            "gallery.reject",
            "x",
            "Reject",
            "Reject the marked pictures, or this one, with their branches.",
            12,
        ),
        Action("gallery.flag", "f", "Flag", "Flag the marked pictures, or this one, or take flags away.", 13),
        Action(
            "gallery.undo", "u,z", "Take back", "Take back what a key rejected last, or this picture.", 17
        ),
        Action("gallery.compare", "c", "Compare", "Show two to four marked pictures side by side.", 14),
        Action("gallery.vote", "v", "Vote", "Vote on the run's pictures.", 21),
        Action("gallery.winners", "W", "Winners", "Show the three best pictures of every run.", 18),
        Action("gallery.more", "+", "More go on", "Mark those that would go on, then one more.", 19),
        Action("gallery.fewer", "-", "Fewer", "Mark those that would go on, then one fewer.", 20),
        Action("gallery.sort", "S", "Sort", "Sort by rating, votes, age or parent.", 22),
        Action(
            "gallery.filter", "F", "Filter", "Show all, active, flagged, rejected or unvoted pictures.", 23
        ),
        Action(
            "gallery.ratings", "s", "Ratings", "Show the ratings that are still voted on, or hide them.", 24
        ),
        Action("gallery.all", "i", "All about it", "Show prompt, seed, LoRAs and origin in full.", 27),
        Action("gallery.view", "Z", "Zoom", "Fill the terminal with the picture at 100 % of its pixels.", 26),
        Action("gallery.outside", "o", "Open outside", "Open the original in the desktop's own viewer.", 28),
        Action(
            "gallery.old-ratings",
            "R",
            "Old ratings",
            "Take old ratings from a CSV or JSON file as a start for the step; votes decide their worth.",
            30,
            in_footer=False,
        ),
        Action(
            "gallery.mark-all",
            "M",
            "Mark all",
            "Mark all pictures that are shown, or take the marks away.",
            29,
        ),
    ),
    holds=("list", "grid", "branches"),
)


def _move(name: str, key: str, title: str, help: str) -> Action:
    return Action(f"branches.{name}", key, title, help, in_footer=False, in_palette=False)


BRANCHES = Table(
    "branches",
    "In the tree",
    (
        _move("fold", "left,h", "Fold", "Fold the branch; on a folded one, go to its parent."),
        _move("unfold", "right,l", "Unfold", "Unfold the branch; on an open one, go to its first child."),
        _move("parent", "p", "Parent", "To the picture from which this one grew."),
        _move("previous", "[,k", "Sibling before", "To the sibling before."),
        _move("next", "],j", "Sibling after", "To the sibling after."),
        _move("unfold-all", "*", "Unfold all", "Unfold the whole tree."),
        _move("fold-all", "=", "Fold all", "Fold the whole tree."),
    ),
    kind="widget",
    holds=("list",),
)
