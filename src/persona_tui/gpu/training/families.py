"""What is known of each base model that a LoRA is trained on, without torch.

Where the defaults come from: learning rate, rank and the steps per picture are what FLUX.1's trainers agree
on (ai-toolkit, kohya's sd-scripts, musubi-tuner; 1000-2500 steps of batch 1 for 20-60 pictures). Nobody has
published better ones for the others, so they start from the same. Names in files: kohya's and musubi's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Wheel: TypeAlias = Literal["character", "editor"]
Checked: TypeAlias = Literal["verified", "not verified"]


@dataclass(frozen=True)
class Licence:
    """What the maker allows with the weights.

    Attributes:
        commercial: whether pictures made with these weights may be used commercially without another licence.
    """

    name: str
    url: str
    commercial: bool


@dataclass(frozen=True)
class Family:
    """A base model, as far as its LoRAs are concerned.

    Attributes:
        name: what runs, plans and adapters call it.
        title: the maker's name.
        lora_family: what `services.loras.families` calls LoRAs of it.
        wheel: what its LoRAs serve: a character's pictures, or the edits that make more of them.
        pipeline: class of diffusers' pipeline, as its folder's model_index.json has it.
        lora_prefix: what the keys of an exported file start with.
        comfyui: whether ComfyUI was seen to load LoRAs with these keys.
        control_pictures: the most source pictures that a sample carries; an editor's carries at least one.
        base_model_version: `ss_base_model_version` of an exported file.
        architecture: `modelspec.architecture` of an exported file.
        guidance: input of models that were distilled with guidance; None for the others.
        steps_per_picture: steps for each picture of a dataset, kept between `steps_range`.
        cannot: why no LoRA can be trained on it here; empty where one can.
    """

    name: str
    title: str
    lora_family: str
    wheel: Wheel
    licence: Licence
    pipeline: str
    lora_prefix: str
    comfyui: Checked
    control_pictures: int
    base_model_version: str
    architecture: str
    guidance: float | None = None
    learning_rate: float = 1e-4
    rank: int = 16
    steps_per_picture: int = 100
    steps_range: tuple[int, int] = (800, 2500)
    cannot: str = ""


_FLUX1_LICENCE = Licence(
    "FLUX.1 [dev] Non-Commercial License",
    "https://huggingface.co/black-forest-labs/FLUX.1-dev/blob/main/LICENSE.md",
    commercial=False,
)
_KONTEXT_LICENCE = Licence(
    "FLUX.1 [dev] Non-Commercial License",
    "https://huggingface.co/black-forest-labs/FLUX.1-Kontext-dev/blob/main/LICENSE.md",
    commercial=False,
)

_ALL = (
    Family(
        name="flux1",
        title="FLUX.1-dev",
        lora_family="flux",
        wheel="character",
        licence=_FLUX1_LICENCE,
        pipeline="FluxPipeline",
        lora_prefix="transformer.",
        comfyui="verified",
        control_pictures=0,
        base_model_version="flux1",
        architecture="flux-1-dev/lora",
        # Trained with the input at 1: it is an input of the distilled model, not part of the objective.
        guidance=1.0,
    ),
)

FAMILIES: dict[str, Family] = {family.name: family for family in _ALL}
