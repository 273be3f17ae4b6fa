"""What the keys do on the screen Jobs & logs."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

TABLE = Table(
    "jobs",
    "Jobs & logs",
    (
        Action("jobs.retry", "r", "Retry", "Queue the marked job again, if it failed.", 10),
        Action("jobs.cancel", "x", "Cancel", "Cancel the marked job, if it waits.", 11, dangerous=True),
        Action("jobs.switch", "tab", "Other list", "Move between the jobs and the log.", 12),
        Action("jobs.level", "v", "Level", "Show more or fewer of the log's levels.", 30),
        Action("jobs.follow", "f", "Follow", "Stay at the newest line, or stop doing so.", 31),
    ),
    holds=("list",),
)
