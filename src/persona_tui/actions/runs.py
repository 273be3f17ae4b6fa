"""What the keys do on the screen Runs."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

TABLE = Table(
    "runs",
    "Runs",
    (
        Action("runs.new", "n", "New run", "Make pictures of a prompt or an idea.", 10, anywhere=True),
        Action("runs.approve", "a", "Approve", "Let the best pictures of the step go on.", 11),
        Action("runs.vote", "v", "Vote", "Vote on the run's pictures.", 12),
        Action("runs.errors", "e", "Errors", "All that failed, why, and what to do; retry from there.", 13),
        Action("runs.gallery", "t", "Tree", "Open the run's pictures in gallery and tree.", 14),
        Action("runs.pause", "p", "Pause", "Let no further job of the run begin.", 15),
        Action("runs.resume", "r", "Resume", "Go on, and try again what was given up.", 16),
        Action("runs.clone", "c", "Clone", "Begin the run once more, with changes.", 17),
        Action("runs.cancel", "x", "Cancel", "End the run without a winner; asks first.", 18, dangerous=True),
        Action(
            "runs.cancel-job",
            "X",
            "Cancel a job",
            "Choose one job and stop it; Resume tries its picture again.",
            18,
        ),
        Action("runs.unapprove", "u", "Un-approve", "Take the last approval back, the night's too.", 20),
        Action("runs.night", "m", "Night mode", "Say who passes the run's gates at night.", 21),
        Action("runs.reopen", "o", "Reopen", "Go on with a run that has ended.", 17),
        Action(
            "runs.delete",
            "d",
            "Delete",
            "Delete a run that has ended, with its files; asks first.",
            22,
            dangerous=True,
        ),
        Action("runs.servers", "s", "Servers", "Each ComfyUI server with its queue, memory and jobs.", 19),
        Action("runs.pipelines", "w", "Pipelines", "The workflows behind the runs: import, check, edit.", 20),
        Action(
            "runs.filter", "f", "Filter", "Show only runs that are made, wait for you, failed or ended.", 23
        ),
        Action("runs.everyone", "A", "All personas", "Show the runs of all personas, or of this one.", 24),
    ),
    holds=("list",),
)

WIZARD = Table(
    "wizard",
    "The run wizard",
    (
        Action("wizard.next", "enter", "Next", "To the next field; on the last one, start the run."),
        Action("wizard.down", "down", "Down", "To the field below.", in_footer=False, in_palette=False),
        Action("wizard.up", "up", "Up", "To the field above.", in_footer=False, in_palette=False),
        Action("wizard.after", "ctrl+n,pagedown", "Next part", "To the next part.", run="section(1)"),
        Action(
            "wizard.before",
            "ctrl+b,pageup",
            "Part before",
            "To the part before.",
            in_footer=False,
            run="section(-1)",
        ),
        Action("wizard.save", "ctrl+s", "Start", "Start the run."),
        Action("wizard.cancel", "escape", "Cancel", "Leave without a run; asks if something was typed."),
    ),
    kind="dialog",
    typing=True,
)

TROUBLE = Table(
    "trouble",
    "Failed jobs",
    (
        Action("trouble.retry", "r", "Retry", "Let the run go on and try again what was given up."),
        Action("trouble.everything", "a", "All runs", "Show the failed jobs of all runs, or of this one."),
        Action("trouble.close", "escape,q", "Close", "Close the list."),
    ),
    kind="dialog",
    holds=("list",),
)
