"""Base models at their published sizes without their weights, and encoded samples of random numbers.

A folder holds the real configs, an autoencoder of random weights, and files for the transformer and the text
encoders that are as long as the published ones and hold nothing: on the disk they take no room. What is read
of the transformer is that file, as of a real one, with random numbers added (`made_up`).
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from persona_tui.gpu.torchvision_shim import ensure_torchvision
from persona_tui.gpu.training.adapters import adapter_of
from persona_tui.gpu.training.adapters.quantised import hollow, stored_weights
from persona_tui.gpu.training.cache import Cache, Index, Sample, decided_by, key_of
from persona_tui.gpu.training.families import FAMILIES
from persona_tui.gpu.training.run_file import RunFile

ensure_torchvision()

Size = Literal["real", "tiny"]
SEED = 7
_SPREAD = 1 << 20
_STD = 0.02


@dataclass(frozen=True)
class Measures:
    """A base model's sizes.

    Attributes:
        text_parts: bytes of the text encoders' files, in bf16.
        shard: most bytes of one of the transformer's files.
        scale: pixels of a side that become one latent.
        tokens: of a caption, and of each source picture in it.
        prompt: name → numbers of a token; a name without `embeds` is of the whole caption.
    """

    transformer: Mapping[str, Any]
    vae_class: str
    vae: Mapping[str, Any]
    text_parts: Mapping[str, int]
    shard: int
    channels: int
    scale: int
    tokens: tuple[int, int]
    prompt: Mapping[str, int] = field(default_factory=dict)


# Published configs and file sizes: black-forest-labs/FLUX.1-dev, Qwen/Qwen-Image-Edit-2509. What is not named
# is diffusers' default, which is that model's.
_FLUX_VAE = {
    "block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 2, "latent_channels": 16,
    "sample_size": 1024,
}  # fmt: skip
_FLUX_VAE_OF_ALL = {
    "use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.1159, "scaling_factor": 0.3611,
}  # fmt: skip
_SMALL = {"num_layers": 1, "attention_head_dim": 16, "num_attention_heads": 4}
_MEASURES: Mapping[tuple[str, Size], Measures] = {
    ("flux1", "real"): Measures(
        {"guidance_embeds": True}, "AutoencoderKL", _FLUX_VAE | _FLUX_VAE_OF_ALL,
        {"text_encoder": 246_000_000, "text_encoder_2": 9_525_000_000}, 9_980_000_000, 16, 8, (512, 0),
        {"embeds": 4096, "pooled": 768},
    ),
    ("flux1", "tiny"): Measures(
        {"guidance_embeds": True, "in_channels": 4, "num_single_layers": 1, "joint_attention_dim": 32,
         "pooled_projection_dim": 32, "axes_dims_rope": (4, 4, 8), **_SMALL},
        "AutoencoderKL",
        {"block_out_channels": (4,), "latent_channels": 1, "norm_num_groups": 1, **_FLUX_VAE_OF_ALL},
        {"text_encoder": 1000, "text_encoder_2": 1000}, 200_000, 1, 1, (8, 0), {"embeds": 32, "pooled": 32},
    ),
    ("qwen-edit-2509", "real"): Measures(
        {}, "AutoencoderKLQwenImage", {}, {"text_encoder": 16_580_000_000}, 4_980_000_000, 16, 8, (256, 196),
        {"embeds": 3584},
    ),
    ("qwen-edit-2509", "tiny"): Measures(
        {"in_channels": 16, "out_channels": 4, "joint_attention_dim": 16, "axes_dims_rope": (8, 4, 4),
         **_SMALL},
        "AutoencoderKLQwenImage",
        {"base_dim": 24, "z_dim": 4, "dim_mult": [1, 2, 4], "num_res_blocks": 1, "latents_mean": [0.0] * 4,
         "temperal_downsample": [False, True], "latents_std": [1.0] * 4},
        {"text_encoder": 1000}, 200_000, 4, 4, (8, 4), {"embeds": 16},
    ),
}  # fmt: skip


def base_of(family: str, size: Size, place: Path) -> Path:
    """The folder of a base model of that size; made once."""
    import diffusers

    base, measures, adapter = place / f"{family}-{size}", _MEASURES[family, size], adapter_of(family)
    if (base / "model_index.json").exists():
        return base
    parts = {"transformer": adapter.transformer_class, "vae": measures.vae_class}
    _put(base / "transformer", {"_class_name": adapter.transformer_class, **measures.transformer})
    _lay_out(base / "transformer", adapter.transformer_class, measures.shard)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        vae = getattr(diffusers, measures.vae_class)(**measures.vae).to(torch.bfloat16)
        vae.save_pretrained(base / "vae")
    _put(base / "scheduler", dict(adapter.scheduler), "scheduler_config.json")
    for part in adapter.text_parts:
        if part in measures.text_parts:
            _put(base / part, {})
            _empty(base / part / "model.safetensors", {"weight": (measures.text_parts[part] // 2,)})
        else:
            _put(base / part, {}, "tokenizer_config.json")
    named = {part: ["diffusers", kind] for part, kind in parts.items()}
    named |= {part: ["transformers", "AutoModel"] for part in adapter.text_parts}
    named["scheduler"] = ["diffusers", "FlowMatchEulerDiscreteScheduler"]
    _put(base, {"_class_name": FAMILIES[family].pipeline, **named}, "model_index.json")
    return base


def _put(part: Path, told: Mapping[str, Any], name: str = "config.json") -> None:
    part.mkdir(parents=True, exist_ok=True)
    (part / name).write_text(json.dumps(told))


def _lay_out(part: Path, kind: str, most: int) -> None:
    """A transformer's files, each of at most so many bytes, with their list."""
    import diffusers

    shards: list[dict[str, tuple[int, ...]]] = [{}]
    room = most
    for name, weight in hollow(getattr(diffusers, kind), part).named_parameters():
        if 2 * weight.numel() > room:
            shards.append({})
            room = most
        shards[-1][name] = tuple(weight.shape)
        room -= 2 * weight.numel()
    listed: dict[str, str] = {}
    for number, shapes in enumerate(shards, 1):
        file = f"diffusion_pytorch_model-{number:05}-of-{len(shards):05}.safetensors"
        _empty(part / file, shapes)
        listed |= dict.fromkeys(shapes, file)
    _put(part, {"metadata": {}, "weight_map": listed}, "diffusion_pytorch_model.safetensors.index.json")


def _empty(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A safetensors file of zeros in bf16 that is one hole."""
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    head = json.dumps(header).encode()
    head = head.ljust(-(-len(head) // 8) * 8)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        file.truncate(8 + len(head) + end)


def made_up(part: Path) -> Iterator[tuple[str, Tensor]]:
    """The stored weights with random numbers in their places, the same at every reading."""
    for name, stored in stored_weights(part):
        begin = zlib.crc32(name.encode()) % _SPREAD
        yield name, _numbers(begin + stored.numel())[begin:].view(stored.shape) + stored


_LARGEST = 6 * 3072 * 3072
"""Of both models: the modulation of a block."""


@cache
def _drawn() -> Tensor:
    random = torch.Generator().manual_seed(SEED)
    return (torch.randn(_SPREAD + _LARGEST, generator=random) * _STD).to(torch.bfloat16)


def _numbers(count: int) -> Tensor:
    return _drawn()[:count]


def encode_made_up(run: RunFile, folder: Path, size: Size, sources: int, sides: tuple[int, ...]) -> None:
    """Fill a run's cache as encoding would: one picture to learn from and one held out, in each bucket."""
    kept = _Encoded(Cache(folder), _MEASURES[run.family, size])
    samples = tuple(
        Sample(
            picture=hashlib.sha256(role.encode()).hexdigest(),
            file=f"{role}.png",
            role=role,
            angle="front",
            bucket=(side, side),
            latents=kept.latents(side, role),
            prompt=kept.prompt(sources, role),
            empty=kept.prompt(sources, "empty"),
            class_prompt=kept.prompt(sources, "class") if run.preservation else None,
            control=tuple(kept.latents(side, f"{role}-{number}") for number in range(sources)),
        )
        for role in ("train", "held_out")
        for side in sides
    )
    files = {key: kept.cache.hash_of(key) for key in kept.keys}
    kept.cache.write_index(Index(decided_by=decided_by(run), samples=samples, files=files))


class _Encoded:
    """Random numbers in the shapes that encoders give."""

    def __init__(self, cache: Cache, measures: Measures) -> None:
        self.cache, self._measures = cache, measures
        self.keys: set[str] = set()
        self._random = torch.Generator().manual_seed(SEED)

    def latents(self, side: int, which: str) -> str:
        shape = (self._measures.channels, side // self._measures.scale, side // self._measures.scale)
        return self._kept(key_of("latents", side=side, which=which), {"latents": self._draw(*shape)})

    def prompt(self, sources: int, which: str) -> str:
        plain, seen = self._measures.tokens
        made = {
            name: self._draw(*((plain + seen * sources, width) if name == "embeds" else (width,)))
            for name, width in self._measures.prompt.items()
        }
        made = {name: part.to(torch.bfloat16) for name, part in made.items()}
        return self._kept(key_of("prompt", sources=sources, which=which), made)

    def _draw(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._random)

    def _kept(self, key: str, tensors: dict[str, Tensor]) -> str:
        if not self.cache.has(key):
            self.cache.put(key, tensors)
        self.keys.add(key)
        return key
