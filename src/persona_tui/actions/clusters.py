"""What the keys do on the screen Clusters & photos."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

TABLE = Table(
    "clusters",
    "Clusters & photos",
    (
        Action("clusters.import", "i", "Import", "Import a folder of photos into the cluster.", 10),
        Action("clusters.draft", "d", "Draft", "Draft a post of the marked picture and go there.", 11),
        Action("clusters.new", "n", "New", "Make a new cluster.", 12),
        Action("clusters.rename", "e", "Rename", "Give the cluster another name.", 13),
        Action("clusters.pillar", "a", "Pillar", "Choose the pillar that the cluster serves.", 14),
        Action("clusters.open", "o", "View", "Show the marked picture as large as the terminal.", 15),
        Action("clusters.add", "c", "Add to", "Put the marked picture into another cluster as well.", 16),
        Action("clusters.unposted", "f", "Unposted", "Show only what was not posted yet, or everything.", 17),
        Action("clusters.prompt", "w", "Prompt", "Show the prompt that the cluster was made for.", 18),
    ),
    holds=("list", "grid"),
)
