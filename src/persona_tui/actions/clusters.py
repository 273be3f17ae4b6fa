"""What the keys do on the screen Clusters & photos."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table


def _chip(name: str, key: str, title: str, help: str) -> Action:
    run = f"step('{name}')" if name in ("posted", "faces", "flagged", "rating", "kind") else ""
    return Action(f"clusters.{name}", key, title, help, in_footer=False, run=run)


TABLE = Table(
    "clusters",
    "Clusters & photos",
    (
        Action("clusters.import", "i", "Import", "Import a folder of photos, into the marked cluster.", 18),
        Action("clusters.mark", "space", "Mark", "Mark the picture, or take its mark away.", 11),
        Action(
            "clusters.range", "r", "Mark to here", "Mark all from the picture marked last to this one.", 30
        ),
        Action(
            "clusters.mark-all", "M", "Mark all", "Mark all pictures that are listed, or unmark them.", 31
        ),
        Action("clusters.filter", "/", "Find", "Filter by name or caption as you type.", 12),
        Action(
            "clusters.meaning",
            "apostrophe",
            "Find by sight",
            "Look for pictures by what they show, in words.",
            32,
        ),
        Action("clusters.similar", "s", "Similar", "Show the pictures that look most like this one.", 13),
        Action(
            "clusters.best",
            "B",
            "Like the best",
            "Show what was not posted yet and looks like what did best.",
            33,
        ),
        Action("clusters.draft", "d", "Draft", "Draft posts of the marked pictures, or of this one.", 14),
        Action(
            "clusters.plan", "p", "Schedule", "Draft them and schedule each one at the next free time.", 15
        ),
        Action(
            "clusters.carousel", "K", "Carousel", "Make one post of the marked pictures, in that order.", 40
        ),
        Action("clusters.move", "c", "To cluster", "Move the marked pictures into another cluster.", 16),
        Action("clusters.add", "C", "Also to", "Put the marked pictures into another cluster as well.", 34),
        Action(
            "clusters.pillar",
            "a",
            "Pillar",
            "Choose the pillar of the cluster; among pictures, move them into one of a pillar's clusters.",
            17,
        ),
        Action("clusters.flag", "f", "Flag", "Flag the marked pictures, or take their flags away.", 19),
        Action("clusters.accept", "y", "Accept", "Let the pictures that wait for a look count.", 9),
        Action(
            "clusters.reject",
            "x",
            "Reject",
            "Take pictures out of all that counts, with a reason.",
            18,
        ),
        Action("clusters.delete", "delete,D", "Delete", "Delete the marked pictures; it can be undone.", 35),
        Action("clusters.undo", "u,z", "Undo", "Take back the last act on pictures.", 20),
        Action("clusters.caption", "t", "Caption", "Write the caption of this photo.", 36),
        Action("clusters.open", "o", "View", "Show the picture as large as the terminal.", 21),
        Action("clusters.new", "n", "New", "Make a new cluster.", 22),
        Action("clusters.rename", "e", "Rename", "Give the cluster another name.", 23),
        Action("clusters.name", "k", "Proposed name", "Take or dismiss the name proposed for it.", 24),
        Action(
            "clusters.merge", "m", "Merge", "Put the cluster's pictures into another one and remove it.", 25
        ),
        Action("clusters.split", "v", "Split", "Split the cluster into two by how its pictures look.", 26),
        Action(
            "clusters.unusable", "U", "Unusable", "Leave the cluster out of planning, or let it in again.", 37
        ),
        Action("clusters.build", "b", "Build", "Put pictures that look alike into clusters.", 27),
        Action("clusters.suggestions", "g", "Suggestions", "What could be better about the clusters.", 28),
        Action("clusters.samples", "E", "Samples", "Copy some of the cluster's pictures into a folder.", 38),
        Action("clusters.prompt", "w", "Prompt", "Show the prompt that the cluster was made for.", 39),
        Action("clusters.analyse", "A", "Analyse", "Have measured what is missing on the pictures.", 29),
        _chip("posted", "1", "Posted", "Show only what was not posted, only what was, or both."),
        _chip("faces", "2", "Faces", "Show only pictures with a face, with one, or with none."),
        _chip("flagged", "3", "Flagged", "Show only flagged pictures, or all."),
        _chip("rating", "4", "Rating", "Show only generated pictures from a rating on."),
        _chip("kind", "5", "Kind", "Show only photos, only videos, or only generated pictures."),
        _chip("more", "F", "More filters", "Filter by day, LoRA version and pipeline."),
        _chip("sort", "S", "Sort", "Sort by age, day taken or rating."),
        _chip("clear", "0", "No filter", "Show everything on the shelf again."),
    ),
    holds=("list", "grid", "folds", "filter"),
)


def _move(name: str, key: str, title: str, help: str) -> Action:
    return Action(f"folds.{name}", key, title, help, in_footer=False, in_palette=False)


FOLDS = Table(
    "folds",
    "In the library's tree",
    (
        _move("fold", "left", "Fold", "Hide the clusters of the pillar."),
        _move("unfold", "right", "Unfold", "Show the pillar's clusters; on an open one, go to the first."),
        _move("unfold-all", "*", "Unfold all", "Show all clusters."),
        _move("fold-all", "=", "Fold all", "Show only shelves and pillars."),
    ),
    kind="widget",
    holds=("list",),
)

FILTER = Table(
    "filter",
    "In the line to find pictures",
    (
        Action(
            "filter.turn",
            "tab",
            "By sight or name",
            "Look for what pictures show, or in names and captions.",
            in_footer=False,
            in_palette=False,
        ),
    ),
    kind="widget",
    typing=True,
)
