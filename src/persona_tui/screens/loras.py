"""LoRAs: says what it will show and what it needs; the registry is a later step."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.needs import Need, NeedsList
from persona_tui.widgets.section import SectionTitle

ABOUT = (
    "This view will list the LoRA files with their versions, base models and hashes, say which persona "
    "uses which at what weight, and test one beside another.\n"
    "Registering and testing LoRAs is not part of this version. It comes with the training step."
)


class LorasScreen(PersonaScreen):
    """What the registry needs, and how many LoRA files ComfyUI has now."""

    SCOPE = "loras"
    TITLE = "LoRAs"
    HELP = "The registry of LoRAs comes with a later step. This view says what it will need."
    CSS_PATH = "loras.tcss"
    NEEDS_CORE = False

    def compose_body(self) -> ComposeResult:
        folder = next(iter(self.shell.settings.comfyui.lora_dirs), None)
        yield SectionTitle("LoRAs", "come with the training step")
        yield NeedsList(
            ABOUT,
            [
                Need(
                    "ComfyUI's LoRA folder",
                    f"comfyui.lora_dir ({folder or 'not set'}); ComfyUI takes no uploads of LoRAs",
                    folder is not None and folder.is_dir(),
                ),
                Need("LoRA files", _found(folder), bool(_files(folder))),
                Need("Persona", "whose look the LoRA holds; one LoRA is its primary per base model"),
            ],
        )


def _files(folder: Path | None) -> list[Path]:
    return sorted(folder.rglob("*.safetensors")) if folder is not None and folder.is_dir() else []


def _found(folder: Path | None) -> str:
    count = len(_files(folder))
    return (
        f"{count} .safetensors file{'' if count == 1 else 's'} in that folder"
        if count
        else "*.safetensors in that folder"
    )
