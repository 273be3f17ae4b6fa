"""What a LoRA's weights are called in a file: names that diffusers and ComfyUI both read (M7)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

A, B = ".lora_A.weight", ".lora_B.weight"
BFL_PREFIX = "diffusion_model."

# Diffusers' names of FLUX.2's layers → Black Forest Labs' own, which ComfyUI reads. Where three names meet in
# one, the model has one fused layer.
_BFL = (
    (r"single_transformer_blocks\.(\d+)\.attn\.to_qkv_mlp_proj", r"single_blocks.\1.linear1"),
    (r"single_transformer_blocks\.(\d+)\.attn\.to_out", r"single_blocks.\1.linear2"),
    (r"transformer_blocks\.(\d+)\.attn\.to_([qkv])", r"double_blocks.\1.img_attn.qkv"),
    (r"transformer_blocks\.(\d+)\.attn\.add_([qkv])_proj", r"double_blocks.\1.txt_attn.qkv"),
    (r"transformer_blocks\.(\d+)\.attn\.to_out\.0", r"double_blocks.\1.img_attn.proj"),
    (r"transformer_blocks\.(\d+)\.attn\.to_add_out", r"double_blocks.\1.txt_attn.proj"),
    (r"transformer_blocks\.(\d+)\.ff\.linear_in", r"double_blocks.\1.img_mlp.0"),
    (r"transformer_blocks\.(\d+)\.ff\.linear_out", r"double_blocks.\1.img_mlp.2"),
    (r"transformer_blocks\.(\d+)\.ff_context\.linear_in", r"double_blocks.\1.txt_mlp.0"),
    (r"transformer_blocks\.(\d+)\.ff_context\.linear_out", r"double_blocks.\1.txt_mlp.2"),
)


def layers_of(weights: Iterable[str]) -> list[str]:
    """The layers that weights belong to."""
    return sorted(name.removesuffix(A) for name in weights if name.endswith(A))


def named_for_file(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights under a file's names.

    Args:
        weights: as `lora.add_lora` names them.
        prefix: of the family's files; `diffusion_model.` stands for Black Forest Labs' names.
    """
    if prefix != BFL_PREFIX:
        return {prefix + name: weight for name, weight in weights.items()}
    groups: dict[str, list[str]] = {}
    for layer in layers_of(weights):
        groups.setdefault(bfl_name(layer), []).append(layer)
    found = {}
    for native, group in groups.items():
        # In the fused layer's order.
        ordered = sorted(group, key=lambda layer: "qkv".find(_letter(layer)))
        found[prefix + native + A] = torch.cat([weights[layer + A] for layer in ordered])
        # Each third of the output sees its own third of the rank.
        found[prefix + native + B] = _diagonal([weights[layer + B] for layer in ordered])
    return found


def named_in_model(found: Mapping[str, Tensor], prefix: str, layers: list[str]) -> dict[str, Tensor] | None:
    """A file's weights under the transformer's names; None where they have names of another kind.

    Args:
        layers: the transformer's layers that get a LoRA.
    """
    expected = named_for_file({layer + end: torch.empty(1, 1) for layer in layers for end in (A, B)}, prefix)
    if expected.keys() != found.keys():
        return None
    if prefix != BFL_PREFIX:
        return {name.removeprefix(prefix): weight for name, weight in found.items()}
    weights = {}
    for layer in layers:
        native, third = prefix + bfl_name(layer), "qkv".find(_letter(layer))
        down, up = found[native + A], found[native + B]
        if third >= 0:
            rank, rows = down.shape[0] // 3, up.shape[0] // 3
            down = down[third * rank : (third + 1) * rank]
            up = up[third * rows : (third + 1) * rows, third * rank : (third + 1) * rank]
        weights[layer + A], weights[layer + B] = down, up
    return weights


def _diagonal(blocks: list[Tensor]) -> Tensor:
    stack: Any = torch.block_diag
    found: Tensor = stack(*blocks)
    return found


def bfl_name(layer: str) -> str:
    """Black Forest Labs' name of a layer of FLUX.2."""
    for pattern, native in _BFL:
        if re.fullmatch(pattern, layer):
            return re.sub(pattern, native, layer)
    raise ValueError(layer)


def _letter(layer: str) -> str:
    """q, k or v of a layer that is fused with its two neighbours; else what is in no word."""
    match = re.search(r"\.attn\.(?:to_([qkv])|add_([qkv])_proj)$", layer)
    return (match.group(1) or match.group(2)) if match else "-"


def baked(weights: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """The weights with alpha / rank multiplied into B, so that every reader agrees on the strength."""
    return {name: weight * scale if name.endswith(B) else weight for name, weight in weights.items()}
