"""What the keys do on the screen Runs."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

TABLE = Table(
    "runs",
    "Runs",
    (
        Action("runs.new", "n", "New run", "Make pictures of a prompt.", 10, anywhere=True),
        Action("runs.approve", "a", "Approve", "Let the best pictures of the step go on.", 11),
        Action("runs.vote", "v", "Vote", "Vote on the run's pictures.", 12),
        Action("runs.gallery", "t", "Pictures", "Open the run in the gallery.", 13),
        Action("runs.pause", "p", "Pause", "Let no further job of the run begin.", 14),
        Action("runs.resume", "r", "Resume", "Go on, and try again what was given up.", 15),
        Action("runs.clone", "c", "Clone", "Begin the run once more, with changes.", 17),
        Action("runs.cancel", "x", "Cancel", "End the run without a winner; asks first.", 16, dangerous=True),
    ),
    holds=("list",),
)
