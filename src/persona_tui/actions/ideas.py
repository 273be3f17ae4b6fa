"""What the keys do on the screen Ideas."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

TABLE = Table(
    "ideas",
    "Ideas",
    (
        Action(
            "ideas.generate",
            "g",
            "Make pictures",
            "Accept the idea, start a run with it in the persona's usual pipeline, and go to Vote.",
            10,
        ),
        Action("ideas.accept", "a", "Accept", "Accept the idea: it gets a cluster; no run starts yet.", 11),
        Action("ideas.reject", "x", "Reject", "Reject the idea; a reason helps the next ones.", 12),
        Action("ideas.edit", "e", "Edit", "Change the idea's title, description or prompt.", 13),
        Action("ideas.propose", "n", "New ideas", "Propose new ideas for a pillar.", 14, anywhere=True),
        Action("ideas.stop", "s", "Stop", "Stop proposing; nothing is stored.", 5),
        Action(
            "ideas.generate-with",
            "G",
            "Pictures with…",
            "Choose the pipeline, then make pictures of the idea.",
            15,
        ),
        Action("ideas.history", "h", "History", "Show used and rejected ideas too, or hide them.", 16),
    ),
    holds=("list",),
)
