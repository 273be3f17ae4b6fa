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
        commercial: whether the weights may be used in commercial work without another licence.
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
        batches: whether captions of different lengths go into one batch.
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
    batches: bool = True
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
_FLUX2_LICENCE = Licence(
    "FLUX Non-Commercial License",
    "https://huggingface.co/black-forest-labs/FLUX.2-klein-base-9B/blob/main/LICENSE.md",
    commercial=False,
)
_QWEN_RESEARCH = Licence(
    "Qwen Research License", "https://huggingface.co/Qwen/Qwen-Image-2.1/blob/main/LICENSE", commercial=False
)
_APACHE = Licence("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0", commercial=True)

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
    Family(
        name="kontext",
        title="FLUX.1 Kontext",
        lora_family="flux",
        wheel="editor",
        licence=_KONTEXT_LICENCE,
        pipeline="FluxKontextPipeline",
        lora_prefix="transformer.",
        comfyui="verified",
        control_pictures=1,
        base_model_version="flux_kontext",
        architecture="Flux.1-dev/lora",
        guidance=1.0,
    ),
    Family(
        name="flux2-klein-4b",
        title="FLUX.2 klein 4B",
        lora_family="flux2",
        wheel="character",
        licence=_APACHE,
        pipeline="Flux2KleinPipeline",
        lora_prefix="diffusion_model.",
        comfyui="not verified",
        control_pictures=3,
        base_model_version="flux_2_klein_4b",
        architecture="Flux.2-klein-4b/lora",
    ),
    Family(
        name="flux2-klein-9b",
        title="FLUX.2 klein 9B",
        lora_family="flux2",
        wheel="character",
        licence=_FLUX2_LICENCE,
        pipeline="Flux2KleinPipeline",
        lora_prefix="diffusion_model.",
        comfyui="not verified",
        control_pictures=3,
        base_model_version="flux_2_klein_9b",
        architecture="Flux.2-klein-9b/lora",
    ),
    Family(
        name="flux3",
        title="FLUX.3",
        lora_family="unknown",
        wheel="character",
        licence=Licence("not published", "https://bfl.ai/legal", commercial=False),
        pipeline="Flux3ModularPipeline",
        lora_prefix="transformer.",
        comfyui="not verified",
        control_pictures=0,
        base_model_version="flux_3",
        architecture="Flux.3/lora",
        cannot=(
            "FLUX.3 can't be trained here: diffusers 0.42 has it in building blocks alone, "
            "without a pipeline that loads from a folder, and its weights are not published."
        ),
    ),
    Family(
        name="qwen-image",
        title="Qwen-Image",
        lora_family="qwen-image",
        wheel="character",
        licence=_APACHE,
        pipeline="QwenImagePipeline",
        lora_prefix="transformer.",
        comfyui="verified",
        control_pictures=0,
        base_model_version="qwen_image",
        architecture="Qwen-Image/lora",
    ),
    Family(
        name="qwen-image-2.1",
        title="Qwen-Image 2.1",
        lora_family="qwen-image-2.1",
        wheel="character",
        licence=_QWEN_RESEARCH,
        pipeline="QwenImage21Pipeline",
        lora_prefix="transformer.",
        comfyui="not verified",
        control_pictures=0,
        base_model_version="qwen_image_2_1",
        architecture="Qwen-Image-2.1/lora",
        batches=False,
    ),
    Family(
        name="qwen-edit-2509",
        title="Qwen-Image-Edit-2509",
        lora_family="qwen-image",
        wheel="editor",
        licence=_APACHE,
        pipeline="QwenImageEditPlusPipeline",
        lora_prefix="transformer.",
        comfyui="verified",
        control_pictures=3,
        base_model_version="qwen_image_edit",
        architecture="Qwen-Image-Edit-Plus/lora",
    ),
    Family(
        name="qwen-edit-2511",
        title="Qwen-Image-Edit-2511",
        lora_family="qwen-image",
        wheel="editor",
        licence=_APACHE,
        pipeline="QwenImageEditPlusPipeline",
        lora_prefix="transformer.",
        comfyui="verified",
        control_pictures=3,
        base_model_version="qwen_image_edit",
        architecture="Qwen-Image-Edit-2511/lora",
    ),
)

FAMILIES: dict[str, Family] = {family.name: family for family in _ALL}
