"""FLUX.1 and Qwen-Image cut to one block of each kind, at their real widths, and a LoRA exported for them.

A real ComfyUI knows a family by the width of its layers, so those can't be small; blocks can be few. Text
encoders and autoencoder are only as large as the transformer asks of them.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tests.support.comfyui_models import WIDTH_2
from tests.support.tiny_pipelines import tiny_pipeline
from tests.support.training import pictures, small_recipe, small_run, write_dataset
from torch import Tensor, nn

from persona_tui.gpu.training import checkpoints
from persona_tui.gpu.training.adapters import adapter_of
from persona_tui.gpu.training.adapters.quantised import hollow
from persona_tui.gpu.training.encode import encode
from persona_tui.gpu.training.export import export
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.naming import A, B
from persona_tui.gpu.training.worker import run_stage

SIDE = 64
"""Pixels of the pictures that the server draws."""
LATENT = SIDE // 8
CHANNELS = 16
TEXT_WIDTH = {"flux1": 32, "qwen-image": 3584}
"""FLUX's is told by a file's shapes; Qwen-Image's is fixed in ComfyUI."""
TOKENS = 8
SEED = 7
RANK, ALPHA = 4, 8.0
"""Unequal, so that a reader who takes another scale than ours draws another picture."""
_GUIDANCE = 3.5
"""ComfyUI's, where a workflow sets none."""


@dataclass(frozen=True)
class Cut:
    """A cut base model and what diffusers makes of it.

    Attributes:
        weights: the transformer's file, under diffusers' names.
        lora: the file that our exporter made for it.
        plain, changed: (C, h, w); what one step from noise gives in diffusers without the LoRA, and with it.
    """

    family: str
    weights: Path
    lora: Path
    plain: Tensor
    changed: Tensor


def cut(family: str, place: Path) -> Cut:
    """Make the base, export a LoRA of random weights through a run of its own, and draw both in diffusers."""
    base = _cut_base(family, place)
    lora = _exported(family, base, place)
    plain, changed = _one_step(family, base, lora)
    weights = base / "transformer" / "diffusion_pytorch_model.safetensors"
    return Cut(family, weights, lora, plain, changed)


def conditioning(width: int) -> Tensor:
    """A caption's embeddings as tests/support/comfyui_node.py draws them: (1, tokens, width)."""
    return torch.randn(1, TOKENS, width, generator=torch.Generator().manual_seed(SEED))


def _cut_base(family: str, place: Path) -> Path:
    import diffusers

    base = tiny_pipeline(family, place)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        if family == "flux1":
            _change(base / "vae", diffusers.AutoencoderKL, latent_channels=CHANNELS)
            _change(
                base / "transformer", diffusers.FluxTransformer2DModel, in_channels=4 * CHANNELS,
                num_attention_heads=24, attention_head_dim=128, axes_dims_rope=[16, 56, 56],
            )  # fmt: skip
            return base
        _widen_text_encoder(base / "text_encoder", TEXT_WIDTH[family])
        statistics = {"latents_mean": [0.0] * CHANNELS, "latents_std": [1.0] * CHANNELS}
        _change(base / "vae", diffusers.AutoencoderKLQwenImage, z_dim=CHANNELS, **statistics)
        _change(
            base / "transformer", diffusers.QwenImageTransformer2DModel, in_channels=4 * CHANNELS,
            out_channels=CHANNELS, num_layers=1, num_attention_heads=24, attention_head_dim=128,
            joint_attention_dim=TEXT_WIDTH[family], axes_dims_rope=[16, 56, 56],
        )  # fmt: skip
    return base


def _change(part: Path, kind: Any, **changes: Any) -> None:
    """Make a component anew with other numbers in its config, in one file."""
    config = {**json.loads((part / "config.json").read_text()), **changes}
    shutil.rmtree(part)
    kind.from_config(config).eval().save_pretrained(part, max_shard_size="100GB")


def _widen_text_encoder(part: Path, width: int) -> None:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    config = json.loads((part / "config.json").read_text())
    rope = {**config["text_config"]["rope_parameters"], "mrope_section": [16, 24, 24]}
    heads = {"num_attention_heads": width // 128, "num_key_value_heads": 4}
    config["text_config"] |= {"hidden_size": width, "rope_parameters": rope, **heads}
    config["vision_config"]["out_hidden_size"] = width
    shutil.rmtree(part)
    Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**config)).eval().save_pretrained(part)


def _exported(family: str, base: Path, place: Path) -> Path:
    """What our exporter writes of a checkpoint of random weights in every layer that can have a LoRA."""
    dataset_hash = write_dataset(place / f"{family}-set", pictures(1))
    recipe = small_recipe(
        base, place / f"{family}-set", dataset_hash, family=family, rank=RANK, alpha=ALPHA, targets="all",
        name=f"cut-{family}",
    )  # fmt: skip
    folder = small_run(place / f"{family}-run", recipe)
    _carried_out(folder, "encoding", encode)
    adapter = adapter_of(family)
    made = hollow(_transformer_class(adapter.transformer_class), base / "transformer")
    weights = _random_weights(made, adapter.targets(made, "all"))
    facts = checkpoints.made_with(recipe, torch.device("cpu"), 1)
    checkpoints.write(folder.checkpoints, recipe, checkpoints.State(step=1), weights, None, {}, facts)
    _carried_out(folder, "exporting", export)
    return folder.export / str(folder.manifest()["exported"]["file"])


def _carried_out(folder: RunFolder, status: Any, stage: Any) -> None:
    if run_stage(folder, status, stage) != 0:
        raise SystemExit(str(folder.manifest()["message"]))


def _random_weights(made: nn.Module, layers: list[str]) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(SEED)
    weights = {}
    for layer in layers:
        linear: Any = made.get_submodule(layer)
        weights[layer + A] = torch.randn(RANK, linear.in_features, generator=random) / linear.in_features**0.5
        weights[layer + B] = torch.randn(linear.out_features, RANK, generator=random) / 2
    return weights


def attention_of_flux2() -> dict[str, Tensor]:
    """A LoRA of random weights in the projections of one double block, under diffusers' names."""
    random = torch.Generator().manual_seed(SEED)
    names = [f"to_{one}" for one in "qkv"] + [f"add_{one}_proj" for one in "qkv"] + ["to_out.0", "to_add_out"]
    weights = {}
    for name in names:
        layer = f"transformer_blocks.0.attn.{name}"
        weights[layer + A] = torch.randn(RANK, WIDTH_2, generator=random) / WIDTH_2**0.5
        weights[layer + B] = torch.randn(WIDTH_2, RANK, generator=random) / 2
    return weights


def _one_step(family: str, base: Path, lora: Path) -> tuple[Tensor, Tensor]:
    """Noise less velocity at sigma 1, which is what a sampler of one step gives; by diffusers alone."""
    from safetensors.torch import load_file

    adapter = adapter_of(family)
    transformer: Any = adapter.load_transformer(base, dtype=torch.float32, device="cpu").eval()
    noise = torch.randn(1, CHANNELS, LATENT, LATENT, generator=torch.Generator().manual_seed(SEED))
    embeds = conditioning(TEXT_WIDTH[family])
    prompt = {"embeds": embeds[0], "pooled": embeds[0, 0, :768]}

    def stepped() -> Tensor:
        with torch.no_grad():
            given = adapter.inputs(noise, torch.ones(1), [prompt], [[]], _GUIDANCE)
            return (noise - adapter.velocity(transformer(**given), noise))[0]

    plain = stepped()
    transformer.load_lora_adapter(load_file(lora), prefix=adapter.facts.lora_prefix.rstrip("."))
    return plain, stepped()


def _transformer_class(name: str) -> Any:
    import diffusers

    return getattr(diffusers, name)
