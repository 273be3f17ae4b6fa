"""What the keys do on the screen Training."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

PLAN = Table(
    "plan",
    "A training's plan",
    (
        Action("plan.yes", "y", "Start", "Note the plan as a training, and start it.", in_footer=False),
        Action("plan.no", "n", "Leave it", "Leave things as they are.", in_footer=False),
        Action("plan.probe", "b", "Probe", "Try two steps of the largest pictures, and plan by it.", 10),
        Action("plan.compare", "c", "Compare speed", "Probe, and time ways that may be faster.", 11),
        Action("plan.switch", "left,right,tab", "Switch", "Move to the other answer.", in_footer=False),
        Action("plan.up", "up,k", "Up", "Show what stands above.", in_footer=False, run="scroll(-3)"),
        Action("plan.down", "down,j", "Further", "Show what stands below.", 12, run="scroll(3)"),
        Action("plan.take", "enter", "Take", "Take the marked answer."),
        Action("plan.cancel", "escape", "Back", "Leave things as they are."),
    ),
    kind="dialog",
)

TABLE = Table(
    "training",
    "Training",
    (
        Action("training.new", "n", "New training", "Plan a training, see whether it fits, start it.", 10),
        Action("training.pause", "p", "Pause", "Have it write a checkpoint and rest; its card is free.", 11),
        Action("training.start", "s", "Start", "Begin what is planned.", 11),
        Action("training.resume", "r", "Resume", "Go on from the last checkpoint.", 11),
        Action("training.queue", "w", "Queue", "Start it when its card is free, after those that wait.", 12),
        Action("training.stop", "x", "Stop", "End it after a checkpoint; asks first.", 12, dangerous=True),
        Action("training.steps", "e", "Steps", "Let it take more steps than planned, or fewer.", 13),
        Action("training.panel", "v", "Next panel", "Show the next of curves, samples and log.", 14),
        Action("training.switch", "tab", "Other part", "Move between trainings, samples and log.", 15),
        Action("training.lora", "l", "Its LoRA", "Open the version that came of it.", 16),
        Action("training.everyone", "A", "All personas", "Show the trainings of all, or of this one.", 17),
    ),
    holds=("list", "grid"),
)
