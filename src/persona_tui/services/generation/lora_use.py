"""A LoRA as a run uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from persona_tui.services.generation.template import Value

MAX_LORAS = 8
"""Most LoRAs of one run."""


@dataclass(frozen=True)
class LoraUse:
    """A LoRA as a run uses it.

    Attributes:
        position: 1 is the first.
        file_name: in our own folder.
        sha256: of that file.
        weight: 0 to 1.
        listed: the name under which a server lists the file; empty before one was asked.
    """

    lora_model_id: int
    position: int
    name: str
    version: int
    model_type: str
    family: str
    trigger_word: str
    file_name: str
    sha256: str
    weight: float
    listed: str = ""

    @property
    def label(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def words(self) -> str:
        """Label and weight, for people."""
        return f"{self.label} ({self.weight:g})"

    @property
    def server_name(self) -> str:
        """What a workflow calls the file."""
        return self.listed or self.file_name


def lora_variables(loras: Sequence[LoraUse]) -> dict[str, Value]:
    """`lora_path` and `lora_weight` of the first, `lora_2_path` and so on of the others."""
    found: dict[str, Value] = {}
    for lora in loras:
        for stem in _stems(lora.position):
            found |= {f"{stem}_path": lora.server_name, f"{stem}_weight": lora.weight}
    return found


def lora_variable_names() -> frozenset[str]:
    """All names that `lora_variables` may give."""
    stems = [stem for position in range(1, MAX_LORAS + 1) for stem in _stems(position)]
    return frozenset(f"{stem}_{part}" for stem in stems for part in ("path", "weight"))


def trigger_word(loras: Sequence[LoraUse], persona: str) -> str:
    """The word that calls what the run shows: the first LoRA's that has one, otherwise the persona's."""
    return next((lora.trigger_word for lora in loras if lora.trigger_word), persona)


def _stems(position: int) -> tuple[str, ...]:
    return ("lora", "lora_1") if position == 1 else (f"lora_{position}",)
