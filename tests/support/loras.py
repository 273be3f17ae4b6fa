"""LoRA files as trainers write them: real safetensors heads, small weights."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

RANK = 2

# An example for each way to name weights: base of the layer, and the pair of endings.
PEFT = ("lora_A.weight", "lora_B.weight")
KOHYA = ("lora_down.weight", "lora_up.weight")

FLUX_DIFFUSERS = {
    f"transformer.{block}.attn.to_q": PEFT
    for block in ("transformer_blocks.0", "single_transformer_blocks.0", "single_transformer_blocks.37")
}
FLUX_KOHYA = {"lora_unet_double_blocks_0_img_attn_qkv": KOHYA, "lora_unet_single_blocks_37_linear2": KOHYA}
FLUX_BARE = {"transformer_blocks.0.attn.to_q": PEFT, "single_transformer_blocks.0.attn.to_q": PEFT}
QWEN = {f"transformer_blocks.{n}.attn.to_q": PEFT for n in (0, 59)}
SD15_KOHYA = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": KOHYA,
    "lora_te_text_model_encoder_layers_0_self_attn_q_proj": KOHYA,
}


def weights(
    layers: Mapping[str, tuple[str, str]],
    *,
    width: int = 3072,
    out: int | None = None,
    metadata: Mapping[str, str] | None = None,
    fill: int = 1,
) -> bytes:
    """A LoRA file with a pair of matrices for each layer.

    Args:
        width: columns of the layers; `out` their rows, the same where it is not given.
        fill: byte that the weights are made of; another one makes another file.
    """
    shapes = {}
    for base, (down, up) in layers.items():
        shapes[f"{base}.{down}"] = [RANK, width]
        shapes[f"{base}.{up}"] = [out or width, RANK]
    return safetensors(shapes, metadata, fill=fill)


def safetensors(
    shapes: Mapping[str, list[int]], metadata: Mapping[str, str] | None = None, *, fill: int = 1
) -> bytes:
    """A safetensors file of 8-bit tensors with these shapes."""
    head: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        size = 1
        for side in shape:
            size *= side
        head[name] = {"dtype": "U8", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    told = json.dumps(head).encode()
    return struct.pack("<Q", len(told)) + told + bytes([fill]) * end


def write_lora(folder: Path, name: str = "mira.safetensors", **options: object) -> Path:
    """A FLUX LoRA in diffusers' names; `layers` and the options of `weights` change it."""
    layers = options.pop("layers", FLUX_DIFFUSERS)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(weights(layers, **options))  # type: ignore[arg-type]
    return path


def write_sidecar(weights_file: Path, **told: object) -> Path:
    """The JSON beside it."""
    path = weights_file.with_suffix(".json")
    path.write_text(json.dumps(told))
    return path
