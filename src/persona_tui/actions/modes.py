"""The twelve views, one per function key."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mode:
    """A view that a function key opens.

    Attributes:
        name: what `:` takes, and the mode's name in the app.
        title: the screen's title.
        short: one word for the bar of modes.
        key: its function key.
        help: one sentence on what the view is for.
        aliases: other words that `:` takes.
    """

    name: str
    title: str
    short: str
    key: str
    help: str
    aliases: tuple[str, ...] = ()


MODES = (
    Mode("dashboard", "Dashboard", "Dashboard", "f1", "What is due, what is missing and what to do next."),
    Mode(
        "personas",
        "Personas & Pillars",
        "Personas",
        "f2",
        "The personas, their content pillars and the gaps.",
        ("pillars", "gaps"),
    ),
    Mode("ideas", "Ideas", "Ideas", "f3", "Suggestions for pictures: generate, accept, reject."),
    Mode("runs", "Runs", "Runs", "f4", "Generation runs: create, watch, approve, pause."),
    Mode("vote", "Vote", "Vote", "f5", "Two pictures, one key, until the winner is clear."),
    Mode("gallery", "Gallery & tree", "Gallery", "f6", "A run's pictures and how they descend.", ("tree",)),
    Mode(
        "clusters",
        "Clusters & photos",
        "Clusters",
        "f7",
        "The library: import, search and group photos.",
        ("photos", "library"),
    ),
    Mode(
        "posts",
        "Posts & calendar",
        "Posts",
        "f8",
        "Captions, the calendar and what has been posted.",
        ("calendar", "schedule"),
    ),
    Mode("training", "Training", "Training", "f9", "Train a persona's LoRA and watch it learn.", ("train",)),
    Mode("loras", "LoRAs", "LoRAs", "f10", "The LoRA files, their versions and who uses them.", ("lora",)),
    Mode("jobs", "Jobs & logs", "Jobs", "f11", "Background work and the log.", ("logs", "log")),
    Mode(
        "settings",
        "Settings & Doctor",
        "Settings",
        "f12",
        "The effective settings, and what works.",
        ("doctor", "config"),
    ),
)

SIDE_VIEWS = (
    Mode(
        "pipelines",
        "Pipelines",
        "Pipelines",
        "ctrl+o",
        "The workflows behind the runs: import, check, edit.",
        ("workflows", "pipeline"),
    ),
    Mode(
        "accounts",
        "Accounts",
        "Accounts",
        "ctrl+y",
        "The Instagram accounts: connect, check, tokens that end.",
        ("account", "tokens"),
    ),
)
"""Views beside the twelve, without a place in the bar."""

DASHBOARD = MODES[0].name


def find_mode(word: str) -> Mode | None:
    """The mode of that name or alias."""
    return next((mode for mode in (*MODES, *SIDE_VIEWS) if word in (mode.name, *mode.aliases)), None)
