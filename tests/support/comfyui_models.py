"""Tiny models with random weights, in the shapes by which a real ComfyUI knows its families.

Nobody will see anything in their pictures; what counts is that the server loads and runs them, and that
another seed, prompt or LoRA gives another picture. Names and shapes follow what v0.8.0 detects: SD1.5 needs
320 channels and CLIP's 768, FLUX and Qwen-Image a width of 3072, FLUX.2 6144; there is one block of a kind.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Family = Literal["sd15", "flux", "qwen", "flux2"]
Shapes = dict[str, tuple[int, ...]]

CHANNELS = 320
EMBEDDED = 4 * CHANNELS
TEXT = 768
TEXT_LAYERS = 12
WORDS = 49408
WIDTH = 3072
WIDTH_2 = 6144
HEAD = 128
QWEN_TEXT = 3584
FLUX2_TEXT = 32
TIME = 256


@dataclass(frozen=True)
class TinyModel:
    """One file of random weights.

    Attributes:
        folder: of the server's models folder.
        name: file name.
        shapes: key → shape.
        small: stored in 8 bits, which halves what a disk must hold.
    """

    folder: str
    name: str
    shapes: Mapping[str, tuple[int, ...]]
    small: bool = False


def _affine(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _attention(name: str, width: int, context: int) -> Shapes:
    keys = {f"{name}.to_{one}.weight": (width, context) for one in ("k", "v")}
    return {f"{name}.to_q.weight": (width, width), **keys, **_affine(f"{name}.to_out.0", width, width)}


def _residual(name: str, incoming: int) -> Shapes:
    shapes = {
        **_affine(f"{name}.in_layers.0", incoming),
        **_affine(f"{name}.in_layers.2", CHANNELS, incoming, 3, 3),
        **_affine(f"{name}.emb_layers.1", CHANNELS, EMBEDDED),
        **_affine(f"{name}.out_layers.0", CHANNELS),
        **_affine(f"{name}.out_layers.3", CHANNELS, CHANNELS, 3, 3),
    }
    if incoming != CHANNELS:
        shapes |= _affine(f"{name}.skip_connection", CHANNELS, incoming, 1, 1)
    return shapes


def _transformer(name: str) -> Shapes:
    block = f"{name}.transformer_blocks.0"
    shapes = {
        **_affine(f"{name}.norm", CHANNELS),
        **_affine(f"{name}.proj_in", CHANNELS, CHANNELS, 1, 1),
        **_affine(f"{name}.proj_out", CHANNELS, CHANNELS, 1, 1),
        **_attention(f"{block}.attn1", CHANNELS, CHANNELS),
        **_attention(f"{block}.attn2", CHANNELS, TEXT),
        **_affine(f"{block}.ff.net.0.proj", 8 * CHANNELS, CHANNELS),
        **_affine(f"{block}.ff.net.2", CHANNELS, 4 * CHANNELS),
    }
    for number in (1, 2, 3):
        shapes |= _affine(f"{block}.norm{number}", CHANNELS)
    return shapes


def _unet() -> Shapes:
    """SD1.5's network with one level of one block."""
    return {
        **_affine("time_embed.0", EMBEDDED, CHANNELS),
        **_affine("time_embed.2", EMBEDDED, EMBEDDED),
        **_affine("input_blocks.0.0", CHANNELS, 4, 3, 3),
        **_residual("input_blocks.1.0", CHANNELS),
        **_transformer("input_blocks.1.1"),
        **_residual("middle_block.0", CHANNELS),
        **_transformer("middle_block.1"),
        **_residual("middle_block.2", CHANNELS),
        **_residual("output_blocks.0.0", 2 * CHANNELS),
        **_transformer("output_blocks.0.1"),
        **_residual("output_blocks.1.0", 2 * CHANNELS),
        **_transformer("output_blocks.1.1"),
        **_affine("out.0", CHANNELS),
        **_affine("out.2", 4, CHANNELS, 3, 3),
    }


def _clip_l() -> Shapes:
    """CLIP-L's text half: its sizes are fixed, and a layer that lacks would hold whatever memory held."""
    shapes: Shapes = {
        "text_model.embeddings.token_embedding.weight": (WORDS, TEXT),
        "text_model.embeddings.position_embedding.weight": (77, TEXT),
        **_affine("text_model.final_layer_norm", TEXT),
    }
    for number in range(TEXT_LAYERS):
        layer = f"text_model.encoder.layers.{number}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _affine(f"{layer}.self_attn.{name}", TEXT, TEXT)
        shapes |= _affine(f"{layer}.mlp.fc1", 4 * TEXT, TEXT) | _affine(f"{layer}.mlp.fc2", TEXT, 4 * TEXT)
        shapes |= _affine(f"{layer}.layer_norm1", TEXT) | _affine(f"{layer}.layer_norm2", TEXT)
    return shapes


def _vae(latent: int) -> Shapes:
    """The tiny autoencoder that ComfyUI takes for a VAE."""
    shapes: Shapes = {"vae_scale": (), "vae_shift": ()}
    encoder, decoder = "taesd_encoder", "taesd_decoder"
    shapes |= _affine(f"{encoder}.0", 64, 3, 3, 3) | _affine(f"{encoder}.14", latent, 64, 3, 3)
    shapes |= _affine(f"{decoder}.1", 64, latent, 3, 3) | _affine(f"{decoder}.19", 3, 64, 3, 3)
    for place in (2, 6, 10):
        shapes[f"{encoder}.{place}.weight"] = (64, 64, 3, 3)
    for place in (7, 12, 17):
        shapes[f"{decoder}.{place}.weight"] = (64, 64, 3, 3)
    blocks = [(encoder, place) for place in (1, 3, 4, 5, 7, 8, 9, 11, 12, 13)]
    blocks += [(decoder, place) for place in (3, 4, 5, 8, 9, 10, 13, 14, 15, 18)]
    for half, place in blocks:
        for number in (0, 2, 4):
            shapes |= _affine(f"{half}.{place}.conv.{number}", 64, 64, 3, 3)
    return shapes


def _flux() -> Shapes:
    """FLUX.1-dev with one double and one single block, and CLIP's width where T5's is expected."""
    shapes: Shapes = {
        **_affine("img_in", WIDTH, 64),
        **_affine("txt_in", WIDTH, TEXT),
        **_affine("final_layer.linear", 64, WIDTH),
        **_affine("final_layer.adaLN_modulation.1", 2 * WIDTH, WIDTH),
        **_affine("single_blocks.0.linear1", 7 * WIDTH, WIDTH),
        **_affine("single_blocks.0.linear2", WIDTH, 5 * WIDTH),
        **_affine("single_blocks.0.modulation.lin", 3 * WIDTH, WIDTH),
    }
    for name, width in (("time_in", TIME), ("guidance_in", TIME), ("vector_in", TEXT)):
        shapes |= _affine(f"{name}.in_layer", WIDTH, width) | _affine(f"{name}.out_layer", WIDTH, WIDTH)
    for half in ("img", "txt"):
        block = f"double_blocks.0.{half}"
        shapes |= _affine(f"{block}_mod.lin", 6 * WIDTH, WIDTH)
        shapes |= _affine(f"{block}_attn.qkv", 3 * WIDTH, WIDTH) | _affine(f"{block}_attn.proj", WIDTH, WIDTH)
        shapes |= _affine(f"{block}_mlp.0", 4 * WIDTH, WIDTH) | _affine(f"{block}_mlp.2", WIDTH, 4 * WIDTH)
    for block in ("double_blocks.0.img_attn", "double_blocks.0.txt_attn", "single_blocks.0"):
        for norm in ("query_norm", "key_norm"):
            shapes[f"{block}.norm.{norm}.scale"] = (HEAD,)
    return shapes


def _qwen() -> Shapes:
    """Qwen-Image with one block."""
    block = "transformer_blocks.0"
    shapes: Shapes = {
        **_affine("time_text_embed.timestep_embedder.linear_1", WIDTH, TIME),
        **_affine("time_text_embed.timestep_embedder.linear_2", WIDTH, WIDTH),
        "txt_norm.weight": (QWEN_TEXT,),
        **_affine("img_in", WIDTH, 64),
        **_affine("txt_in", WIDTH, QWEN_TEXT),
        **_affine("norm_out.linear", 2 * WIDTH, WIDTH),
        **_affine("proj_out", 64, WIDTH),
    }
    for half in ("img", "txt"):
        shapes |= _affine(f"{block}.{half}_mod.1", 6 * WIDTH, WIDTH)
        shapes |= _affine(f"{block}.{half}_mlp.net.0.proj", 4 * WIDTH, WIDTH)
        shapes |= _affine(f"{block}.{half}_mlp.net.2", WIDTH, 4 * WIDTH)
    for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
        shapes[f"{block}.attn.{name}.weight"] = (HEAD,)
    for name in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0", "to_add_out"):
        shapes |= _affine(f"{block}.attn.{name}", WIDTH, WIDTH)
    return shapes


def _flux2() -> Shapes:
    """FLUX.2-dev with one double and one single block, without biases; texts may have any width."""
    wide = WIDTH_2
    shapes: Shapes = {
        "img_in.weight": (wide, 128),
        "txt_in.weight": (wide, FLUX2_TEXT),
        "double_stream_modulation_img.lin.weight": (6 * wide, wide),
        "double_stream_modulation_txt.lin.weight": (6 * wide, wide),
        "single_stream_modulation.lin.weight": (3 * wide, wide),
        "single_blocks.0.linear1.weight": (9 * wide, wide),
        "single_blocks.0.linear2.weight": (wide, 4 * wide),
        "final_layer.linear.weight": (128, wide),
        "final_layer.adaLN_modulation.1.weight": (2 * wide, wide),
    }
    for name in ("time_in", "guidance_in"):
        shapes |= {f"{name}.in_layer.weight": (wide, TIME), f"{name}.out_layer.weight": (wide, wide)}
    for half in ("img", "txt"):
        block = f"double_blocks.0.{half}"
        shapes |= {f"{block}_attn.qkv.weight": (3 * wide, wide), f"{block}_attn.proj.weight": (wide, wide)}
        shapes |= {f"{block}_mlp.0.weight": (6 * wide, wide), f"{block}_mlp.2.weight": (wide, 3 * wide)}
    for block in ("double_blocks.0.img_attn", "double_blocks.0.txt_attn", "single_blocks.0"):
        shapes |= {f"{block}.norm.{norm}.scale": (HEAD,) for norm in ("query_norm", "key_norm")}
    return shapes


def _under(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


CHECKPOINT = TinyModel(
    "checkpoints",
    "persona-tiny-sd15-1.safetensors",
    {
        **_under("model.diffusion_model.", _unet()),
        **_under("cond_stage_model.transformer.", _clip_l()),
        **_under("first_stage_model.", _vae(4)),
    },
)
CLIP_L = TinyModel(
    "text_encoders",
    "persona-tiny-clip-l-1.safetensors",
    {**_clip_l(), "text_projection.weight": (TEXT, TEXT)},
)
VAE_16 = TinyModel("vae", "persona-tiny-vae-16-1.safetensors", _vae(16))
FLUX = TinyModel("diffusion_models", "persona-tiny-flux-1.safetensors", _flux(), small=True)
QWEN = TinyModel("diffusion_models", "persona-tiny-qwen-1.safetensors", _qwen(), small=True)
FLUX2 = TinyModel("diffusion_models", "persona-tiny-flux2-1.safetensors", _flux2(), small=True)
"""2 GB; so it is nobody's need by itself."""
NEEDED: Mapping[Family, tuple[TinyModel, ...]] = {
    "sd15": (CHECKPOINT,),
    "flux": (FLUX, CLIP_L, VAE_16),
    "qwen": (QWEN, VAE_16),
}


def place(family: Family, models: Path) -> None:
    """Write what a family needs into a server's models folder, unless it is there already."""
    for model in NEEDED[family]:
        put(model, models)


def put(model: TinyModel, models: Path) -> None:
    """Write one model into a server's models folder, unless it is there already."""
    path = models / model.folder / model.name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(model, path)


def _write(model: TinyModel, path: Path) -> None:
    """Draw the weights from a seed of their own and write them under another name first."""
    from safetensors.torch import save_file

    unfinished = path.with_suffix(".unfinished")
    save_file(dict(_weights(model)), unfinished, metadata={"format": "pt"})
    unfinished.rename(path)


def _weights(model: TinyModel) -> Iterator[tuple[str, Any]]:
    """Weights that keep a signal's strength: scales one, shifts small, the rest by what comes in."""
    import torch

    torch.manual_seed(sum(model.name.encode()))
    for name, shape in model.shapes.items():
        kind = torch.float8_e4m3fn if model.small and len(shape) > 1 else torch.float16
        yield name, _drawn(name, shape).to(kind)


def _drawn(name: str, shape: tuple[int, ...]) -> Any:
    import torch

    if name.endswith(("vae_scale", ".scale")) or (name.endswith(".weight") and len(shape) == 1):
        return torch.ones(shape)
    if name.endswith("taesd_decoder.19.bias"):
        return torch.full(shape, 0.5)
    if len(shape) < 2:
        return torch.randn(shape) * 0.02 if shape else torch.zeros(shape)
    spread = 0.05 if "embedding" in name else math.sqrt(2 / math.prod(shape[1:]))
    if name.endswith((".conv.4.weight", "taesd_decoder.19.weight")):
        spread /= 8  # the autoencoder adds up; without this every pixel is black or white
    if math.prod(shape) < 1 << 22:
        return torch.randn(shape) * spread
    # Drawing half a thousand million numbers takes long; a tile over and over does as well.
    tile = torch.randn(min(shape[0], 509), shape[1]) * spread
    return tile.repeat(-(-shape[0] // tile.shape[0]), 1)[: shape[0]].contiguous()


def skeleton(model: TinyModel, path: Path) -> None:
    """The same keys without a weight: what the stand-in needs to know the family by."""
    import json

    header = {name: {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]} for name in model.shapes}
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text)
