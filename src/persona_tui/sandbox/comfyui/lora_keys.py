"""Which keys of a LoRA a model has a place for: by the names of its family, as v0.8.0 knows them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal

Family = Literal["sd", "flux", "qwen"]

BIGGEST_HEADER = 100_000_000
# The longer ones first: `.lora_B.weight` ends in what another trainer ends with.
ENDINGS = (
    ".lora_linear_layer.up.weight", ".lora_linear_layer.down.weight", ".lora_B.default.weight",
    ".lora_A.default.weight", ".lora_up.weight", ".lora_down.weight", ".lora_mid.weight", "_lora.up.weight",
    "_lora.down.weight", ".lora.up.weight", ".lora.down.weight", ".lora_B.weight", ".lora_A.weight",
    ".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b", ".lokr_w1", ".lokr_w2", ".oft_blocks", ".diff_b",
    ".set_weight", ".reshape_weight", ".dora_scale", ".lora_B", ".lora_A", ".alpha", ".diff",
)  # fmt: skip

_UNET = r"(?:down_blocks|up_blocks|mid_block|conv_in|conv_out|time_embedding|conv_norm_out|add_embedding)"
_LDM = r"(?:input_blocks|middle_block|output_blocks|time_embed|label_emb|out)"
_BFL = r"(?:double_blocks|single_blocks|img_in|txt_in|time_in|vector_in|guidance_in|final_layer)"
_DIT = r"(?:transformer_blocks|single_transformer_blocks)"
_ENDS = r"(?:x_embedder|context_embedder|time_text_embed|norm_out|proj_out)"
_QWEN = r"(?:transformer_blocks|time_text_embed|img_in|txt_in|txt_norm|norm_out|proj_out)"
_TEXT_FLAT = r"text_model_encoder_layers_\d+_(?:mlp_fc[12]|self_attn_(?:[qkv]|out)_proj)"
_TEXT_DOTTED = r"text_model\.encoder\.layers\.\d+\.(?:mlp\.fc[12]|self_attn\.(?:[qkv]|out)_proj)"
MODEL: Mapping[Family, re.Pattern[str]] = {
    # diffusers' dotted names want `.processor` before `.to_q`, and no `.0` behind `to_out`.
    "sd": re.compile(
        rf"lora_unet_(?:{_UNET}|{_LDM})_\w+|lycoris_{_UNET}_\w+|diffusion_model\.{_LDM}\.[\w.]+"
        rf"|(?:unet\.)?{_UNET}\.(?:(?!(?<!\.processor)\.to_).)+(?<!\.to_out\.0)"
    ),
    "flux": re.compile(
        rf"transformer\.(?:{_DIT}|{_ENDS})(?:\.[\w.]+)?|lora_unet_{_BFL}_\w+|diffusion_model\.{_BFL}(?:\.[\w.]+)?"
        rf"|(?:lora_transformer|lycoris)_(?:{_DIT}|{_ENDS})(?:_\w+)?"
    ),
    "qwen": re.compile(
        rf"(?:transformer\.|diffusion_model\.)?{_QWEN}(?:\.[\w.]+)?|(?:lora_unet|lycoris)_{_QWEN}(?:_\w+)?"
    ),
}
CLIP: Mapping[Family, re.Pattern[str]] = {
    "sd": re.compile(
        rf"lora_te[12]?_{_TEXT_FLAT}|text_encoder(?:_2)?\.{_TEXT_DOTTED}|text_encoders\.clip_[lg]\.[\w.]+"
    ),
    "flux": re.compile(
        rf"lora_te1?_{_TEXT_FLAT}|text_encoder\.{_TEXT_DOTTED}|lora_te2_encoder_block_\w+"
        r"|text_encoders\.(?:clip_l|t5xxl)\.[\w.]+"
    ),
    "qwen": re.compile(r"text_encoders\.qwen25_7b\.[\w.]+"),
}


class SafetensorError(Exception):
    """A weights file that can't be read; named as the real one in the history."""

    __module__ = "safetensors._safetensors_rust"


def keys_of(path: Path) -> tuple[str, ...]:
    """The names of a safetensors file's tensors.

    Raises:
        SafetensorError: its header is broken.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > BIGGEST_HEADER:
            raise SafetensorError("Error while deserializing header: header too large")
        if size < 8 or length > size - 8:
            raise SafetensorError("Error while deserializing header: invalid header length")
        try:
            header = json.loads(file.read(length))
        except ValueError:
            raise SafetensorError("Error while deserializing header: invalid JSON in header") from None
    return tuple(name for name in header if name != "__metadata__")


def family_of(name: str, keys: Collection[str]) -> Family:
    """The family of a model: by its weights' names, and of an empty stand-in by its own name."""
    if any(key.endswith("double_blocks.0.img_attn.norm.key_norm.scale") for key in keys):
        return "flux"
    if any(key.endswith("txt_norm.weight") for key in keys):
        return "qwen"
    told = name.lower() if not keys else ""
    return "flux" if "flux" in told else "qwen" if "qwen" in told else "sd"


def base_of(key: str) -> str | None:
    """What a LoRA's key changes, without what it is to it; None for an ending that nobody knows."""
    return next((key.removesuffix(ending) for ending in ENDINGS if key.endswith(ending)), None)


def placed(keys: Iterable[str], known: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """The keys whose base the pattern knows, and the others; both in the file's order."""
    found: list[str] = []
    lost: list[str] = []
    for key in keys:
        base = base_of(key)
        (found if base is not None and known.fullmatch(base) else lost).append(key)
    return found, lost
