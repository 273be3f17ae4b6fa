"""Training: says what it will do and what it needs; the trainer itself is a later step."""

from __future__ import annotations

import shutil
from pathlib import Path

from textual.app import ComposeResult

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.needs import Need, NeedsList
from persona_tui.widgets.section import SectionTitle

ABOUT = (
    "This view will train a persona's LoRA: plan, start, watch the loss and the sample pictures, "
    "compare checkpoints. A training runs in a process of its own, so closing the app won't stop it.\n"
    "The trainer is not part of this version. It comes with the training step; until then a LoRA "
    "that you have already can be used in runs."
)


class TrainingScreen(PersonaScreen):
    """What a training needs, and which of it this machine has."""

    SCOPE = "training"
    TITLE = "Training"
    HELP = "Training a persona's LoRA comes with a later step. This view says what it will need."
    CSS_PATH = "training.tcss"
    NEEDS_CORE = False

    def compose_body(self) -> ComposeResult:
        settings = self.shell.settings
        yield SectionTitle("Training", "comes with the training step")
        yield NeedsList(
            ABOUT,
            [
                Need(
                    "NVIDIA card",
                    "its driver's nvidia-smi on the path",
                    shutil.which("nvidia-smi") is not None,
                ),
                Need(
                    "Base model",
                    f"weights in models.dir ({_folder(settings.models.dir)})",
                    _is_folder(settings.models.dir),
                ),
                Need("Dataset", "20 or more reviewed pictures of the persona; made by the flywheel step"),
                Need(
                    "LoRA folder",
                    f"comfyui.lora_dir ({_folder(next(iter(settings.comfyui.lora_dirs), None))})",
                    any(map(_is_folder, settings.comfyui.lora_dirs)),
                ),
            ],
        )


def _folder(path: Path | None) -> str:
    return str(path) if path is not None else "not set"


def _is_folder(path: Path | None) -> bool:
    return path is not None and path.is_dir()
