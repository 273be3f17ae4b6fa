"""Which base model a LoRA belongs to, told by its tensors' names and shapes, and by what its maker wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

Family: TypeAlias = Literal[
    "flux", "flux2", "qwen-image", "qwen-image-2.1", "sdxl", "sd15", "sd3", "wan", "z-image", "unknown"
]
FAMILIES: tuple[Family, ...] = (
    "flux",
    "flux2",
    "qwen-image",
    "qwen-image-2.1",
    "sdxl",
    "sd15",
    "sd3",
    "wan",
    "z-image",
)
UNKNOWN: Family = "unknown"
ModelType: TypeAlias = Literal["character", "style", "concept", "editor"]
MODEL_TYPES: tuple[ModelType, ...] = ("character", "style", "concept", "editor")

# The first that fits is taken, so the narrower names come first.
_NAMES: tuple[tuple[Family, str], ...] = (
    ("flux2", r"flux[ ._-]?2(?!\d)|klein"),
    ("flux", r"flux|kontext|krea"),
    ("qwen-image-2.1", r"qwen[ ._-]?image[ ._-]?2[ ._-]1"),
    ("qwen-image", r"qwen"),
    ("z-image", r"z[ _-]?image"),
    ("wan", r"\bwan|wan[ _-]?2"),
    ("sd3", r"\bsd[ ._-]?3|stable[ _-]diffusion[ _-](v?3|3)"),
    ("sdxl", r"sd[ _-]?xl|stable[ _-]diffusion[ _-]xl|xl[ _-]base|illustrious|pony|juggernaut[ _-]?xl"),
    ("sd15", r"\bsd[ _-]?(v?1)|stable[ _-]diffusion[ _-]v?1|v1[ _-]5"),
)
_META_KEYS = (
    "modelspec.architecture",
    "ss_base_model_version",
    "base_model",
    "baseModel",
    "ss_sd_model_name",
)
_EDITORS = re.compile(r"qwen[ _-]?(image[ _-])?edit|kontext|[ _-]edit(or|ing)?\b", re.IGNORECASE)

_FLUX_WIDTH = 3072
_FLUX_DOUBLES, _FLUX_SINGLES = 19, 38
_CROSS_ATTENTION = {768: "sd15", 2048: "sdxl"}
_SD3_WIDTHS = {1536, 2432}


def family_named(words: str) -> Family | None:
    """The family that a model's or file's name stands for; None when it names none."""
    lowered = words.lower()
    return next((family for family, pattern in _NAMES if re.search(pattern, lowered)), None)


def is_editor_name(words: str) -> bool:
    """Whether a model's name is that of one that edits pictures."""
    return _EDITORS.search(words) is not None


def base_model_words(metadata: Mapping[str, str]) -> str:
    """What the file itself says that it was trained on; empty when it says nothing."""
    return next((metadata[key] for key in _META_KEYS if metadata.get(key)), "")


def family_of(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> Family:
    """The family of a LoRA: by its tensors where they can only be one's, else by the maker's words."""
    parts = frozenset(map(_plain, shapes))
    found = _by_parts(parts, shapes)
    if found is not None:
        return found
    return family_named(base_model_words(metadata)) or UNKNOWN


def _plain(key: str) -> str:
    """A tensor's name with one kind of separator, so that kohya's and diffusers' names read alike."""
    return key.lower().replace(".", "_")


def _by_parts(parts: Iterable[str], shapes: Mapping[str, tuple[int, ...]]) -> Family | None:
    text = "\n".join(parts)
    if re.search(r"double_stream_modulation|to_qkv_mlp_proj|ff_linear_in", text):
        return "flux2"
    if re.search(r"double_blocks_|single_blocks_|single_transformer_blocks_", text):
        return _of_flux(text, shapes)
    if re.search(r"joint_blocks_|joint_transformer_blocks_", text):
        return "sd3"
    if re.search(r"(input|output|down|up)_blocks?_\d+_(attentions|\d+_(transformer|proj))", text):
        return _of_unet(text, shapes)
    if re.search(r"(^|_)blocks_\d+_(self_attn|cross_attn)_", text, re.MULTILINE):
        return "wan"
    if re.search(r"(^|_)layers_\d+_(attention|feed_forward|adaln_modulation)", text, re.MULTILINE):
        return "z-image"
    return _of_transformer(text, shapes)


def _of_flux(text: str, shapes: Mapping[str, tuple[int, ...]]) -> Family:
    """FLUX.1 or FLUX.2: another width, wider fused layers, or more single blocks than FLUX.1 has."""
    for key, (rows, columns) in _pairs(shapes):
        if re.search(r"single_blocks[._]\d+[._]linear1$", key) and rows == 9 * columns:
            return "flux2"
        if re.search(r"attn[._](to_[qkv]|qkv)$", key) and columns >= 1024 and columns != _FLUX_WIDTH:
            return "flux2"
    singles = [int(n) for n in re.findall(r"single_(?:transformer_)?blocks_(\d+)", text)]
    return "flux2" if any(number >= _FLUX_SINGLES for number in singles) else "flux"


def _of_unet(text: str, shapes: Mapping[str, tuple[int, ...]]) -> Family | None:
    for key, (_rows, columns) in _pairs(shapes):
        if re.search(r"attn2[._](?:processor[._])?to_[kv]$", key) and columns in _CROSS_ATTENTION:
            return "sdxl" if _CROSS_ATTENTION[columns] == "sdxl" else "sd15"
    if re.search(r"lora_te2_|text_encoder_2_|transformer_blocks_[1-9]_", text):
        return "sdxl"
    return None


def _of_transformer(text: str, shapes: Mapping[str, tuple[int, ...]]) -> Family | None:
    """Diffusers' `transformer_blocks`, which Qwen-Image, SD3 and the double blocks of FLUX share."""
    if not re.search(r"(^|_)transformer_blocks_\d+_", text, re.MULTILINE):
        return None
    widths = {columns for key, (_, columns) in _pairs(shapes) if re.search(r"attn[._]to_[qkv]$", key)}
    if widths & _SD3_WIDTHS:
        return "sd3"
    if re.search(r"_img_mlp_(proj|gate_layer|out)_", text):
        return "qwen-image-2.1"
    if re.search(r"_(img|txt)_(mlp|mod)_", text):
        return "qwen-image"
    if re.search(r"_ff_context_", text):
        return "flux"
    blocks = [int(n) for n in re.findall(r"transformer_blocks_(\d+)_", text)]
    return "qwen-image" if max(blocks) >= _FLUX_DOUBLES else None


def _pairs(shapes: Mapping[str, tuple[int, ...]]) -> Iterable[tuple[str, tuple[int, int]]]:
    """Name of each adapted layer → rows and columns of the weight that its two matrices change."""
    for key, shape in shapes.items():
        match = re.fullmatch(r"(.*?)[._]lora(?:_A|_down|\.down)(?:\.default)?\.weight", key)
        if match is None or len(shape) < 2:
            continue
        up = re.sub(r"lora_A", "lora_B", key)
        up = re.sub(r"lora([_.])down", r"lora\1up", up)
        other = shapes.get(up)
        if other:
            yield match.group(1), (other[0], shape[1])
