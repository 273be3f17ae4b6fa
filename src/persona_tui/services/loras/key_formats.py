"""How a LoRA's tensors are named, and whether ComfyUI reads such names: where not, it says nothing and the
picture looks as without the LoRA. Measured with ComfyUI 0.8.0."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from persona_tui.services.loras.families import Family

_WEIGHTS = re.compile(
    r"[._]lora(_A|_B|_up|_down|\.up|\.down|_linear_layer\.(up|down))(\.default)?(\.weight)?$"
    r"|_lora[12]\.(up|down)\.weight$"
    r"|\.(lokr|hada)_w[12](_[ab])?$|\.oft_(blocks|diag)$|\.diff(_b)?$"
)
# The first that any of the names fits is the format.
_FORMATS: tuple[tuple[str, str], ...] = (
    ("peft", r"base_model\.model\."),
    ("xlabs", r"(double|single)_blocks\.\d+\.processor\."),
    ("kohya", r"lora_(unet|te\d?)_"),
    ("onetrainer", r"lora_transformer_"),
    ("lycoris", r"lycoris_"),
    ("bfl", r"diffusion_model\."),
    ("generic", r"text_encoders\."),
    ("diffusers-old", r"(unet|text_encoder(_2)?)\..*\.processor\."),
    ("diffusers", r"(transformer|unet|text_encoder(_2)?)\."),
    ("bfl-bare", r"(double_blocks|single_blocks|img_in)\."),
    ("bare", r"(single_)?transformer_blocks\.|(down|up|mid)_block"),
)
_NO_PREFIX: dict[Family, re.Pattern[str]] = {
    "flux": re.compile(r"(single_)?transformer_blocks\.|(double|single)_blocks\.|img_in\."),
    "flux2": re.compile(r"(single_)?transformer_blocks\.|(double|single)_blocks\.|img_in\."),
    "sd3": re.compile(r"transformer_blocks\.|joint_blocks\."),
    "sd15": re.compile(r"(down|up|mid)_block(?!.*\.processor\.)"),
    "sdxl": re.compile(r"(down|up|mid)_block(?!.*\.processor\.)"),
}
"""Names that ComfyUI reads only behind a prefix; it reads Qwen-Image's as they are."""
_READ = re.compile(
    r"\.(alpha|dora_scale|diff|diff_b|set_weight|reshape_weight|[wb]_norm|oft_blocks|rescale)$"
    r"|\.lora_(up|down|mid)\.weight$|[._]lora\.(up|down)\.weight$|\.lora_linear_layer\.(up|down)\.weight$"
    r"|\.lora_[AB]((\.default)?\.weight)?$|\.[ab][12]\.weight$"
    r"|\.hada_(w[12]_[ab]|t[12])$|\.lokr_(w[12](_[ab])?|t2)$"
)
"""Endings of tensors that any of ComfyUI's adapters takes (comfy/lora.py, comfy/weight_adapter)."""

_HOW_TO_MEND = (
    "Save it again under diffusers' names with the prefix `transformer.`, or under kohya's, and import that."
)
_UNNAMED = "The names of its weights are of no kind that is known here; `persona-tui lora test` tells."


def is_lora(shapes: Mapping[str, object]) -> bool:
    """Whether these are the weights of a LoRA, and not of a whole model or something else."""
    return any(_WEIGHTS.search(key) for key in shapes)


def key_format(names: Iterable[str]) -> str:
    """The naming: peft, kohya, bfl, diffusers …; `unknown` where it is none of these."""
    told = list(names)
    keys = [key for key in told if _WEIGHTS.search(key)] or told
    votes = [name for key in keys for name, pattern in _FORMATS if re.match(pattern, key)]
    found = [name for name, _ in _FORMATS if name in votes]
    return found[0] if found else "unknown"


def key_warnings(
    shapes: Mapping[str, tuple[int, ...]], family: Family, metadata: Mapping[str, str]
) -> tuple[str, ...]:
    """Sentences on what ComfyUI will not do with these weights as they are."""
    form = key_format(shapes)
    found = [_ignored(shapes, form, family), _alpha_trap(shapes, metadata)]
    return tuple(sentence for sentence in found if sentence)


def _ignored(shapes: Mapping[str, object], form: str, family: Family) -> str | None:
    if form == "unknown":
        return _UNNAMED
    if form == "peft" and family != "sd3":
        return f"ComfyUI ignores weights named base_model.model.…. {_HOW_TO_MEND}"
    if form == "xlabs":
        return (
            None
            if _is_uso(shapes)
            else f"ComfyUI ignores XLabs' names (….processor.qkv_lora1). {_HOW_TO_MEND}"
        )
    if _is_control(shapes):
        return None
    bare = _NO_PREFIX.get(family)
    if bare is not None and any(bare.match(key) for key in shapes):
        return f"ComfyUI ignores weights of this family whose names have no prefix. {_HOW_TO_MEND}"
    if form == "onetrainer" and family == "qwen-image":
        return f"ComfyUI ignores Qwen-Image's weights named lora_transformer_…. {_HOW_TO_MEND}"
    if form == "diffusers" and family in ("sd15", "sdxl") and any(key.startswith("unet.") for key in shapes):
        return (
            "ComfyUI ignores the model's part of it: weights named unet.… that lack .processor in them."
            " Save it again under kohya's names and import that."
        )
    if family == "flux2" and re.search(
        r"to_qkv_mlp_proj|ff\.linear_in|attn\.to_out\.lora", "\n".join(shapes)
    ):
        return "ComfyUI 0.8.0 ignores diffusers' FLUX.2 names; use a newer ComfyUI, or its own names."
    return _unread(shapes)


def _unread(shapes: Iterable[str]) -> str | None:
    """Tensors that are something to their layer that ComfyUI knows nothing of."""
    found = [key for key in shapes if not _READ.search(key)]
    if not found:
        return None
    return (
        f"ComfyUI ignores {len(found)} of its weights, such as {found[0]}; the others it uses without them."
    )


def _is_control(shapes: Mapping[str, object]) -> bool:
    """A control LoRA of Black Forest Labs, which ComfyUI converts."""
    return "img_in.lora_A.weight" in shapes and "single_blocks.0.norm.key_norm.scale" in shapes


def _is_uso(shapes: Mapping[str, object]) -> bool:
    """The one file of XLabs' kind that ComfyUI converts."""
    text = "\n".join(shapes)
    return "single_blocks.37." in text and "double_blocks.18." in text


def _alpha_trap(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> str | None:
    """PEFT's alpha is only in the notes, which ComfyUI does not read: it applies such weights at scale 1."""
    if any(key.endswith(".alpha") for key in shapes):
        return None
    try:
        told = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except (ValueError, RecursionError):
        return None
    notes = (
        {str(key).rpartition(".")[2]: value for key, value in told.items()} if isinstance(told, dict) else {}
    )
    alpha, rank = notes.get("lora_alpha"), notes.get("r")
    if not (isinstance(alpha, int | float) and isinstance(rank, int) and rank > 0) or alpha == rank:
        return None
    return (
        f"It was trained with alpha {alpha:g} at rank {rank}, but holds no alpha: ComfyUI applies it at"
        f" 1 in place of {alpha / rank:g}. Write the alpha into the file, or change the weight."
    )


def rank_of(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """The rank of its first pair; None where it has none."""
    downs = (shape for key, shape in shapes.items() if re.search(r"lora(_A|_down|\.down)", key) and shape)
    return next((shape[0] for shape in downs), None)
