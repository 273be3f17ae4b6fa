"""FLUX.2 klein: latents are patches already, single blocks have one fused layer for all that enters them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from persona_tui.gpu.training.adapters.base import (
    Adapter,
    Encoders,
    Prompt,
    as_pictures,
    result_of,
    stacked,
    timestep,
)

_MOST_TOKENS = 512
# The scheduler's shift depends on how many steps will be taken, too: the undistilled model's number.
_STEPS = 50
# Each source picture stands this much further from the picture that is made, by the first position.
_APART = 10


class Flux2Klein(Adapter):
    """FLUX.2 klein 4B."""

    transformer_class = "Flux2Transformer2DModel"
    # scheduler/scheduler_config.json of black-forest-labs/FLUX.2-klein-base-4B
    scheduler = {"shift": 3.0, "use_dynamic_shifting": True}
    expects = {"guidance_embeds": False}
    # Three layers of the 9B's text encoder, of 4096 each; its licence is another one.
    unlike: ClassVar[Mapping[str, int]] = {"joint_attention_dim": 3 * 4096}
    sampling = 4.0
    text_parts = ("text_encoder", "tokenizer")
    attention = (
        ".attn.to_q",
        ".attn.to_k",
        ".attn.to_v",
        ".attn.to_out.0",
        ".attn.add_q_proj",
        ".attn.add_k_proj",
        ".attn.add_v_proj",
        ".attn.to_add_out",
        ".attn.to_qkv_mlp_proj",
        ".attn.to_out",
    )
    mlp = (".ff.linear_in", ".ff.linear_out", ".ff_context.linear_in", ".ff_context.linear_out")

    def inputs(
        self,
        noisy: Tensor,
        sigmas: Tensor,
        prompt: Sequence[Prompt],
        control: Sequence[Sequence[Tensor]],
        guidance: float | None,
    ) -> dict[str, object]:
        """Keyword arguments of the transformer, equal to those that diffusers' pipeline passes."""
        sources = [torch.stack(latents).to(noisy) for latents in zip(*control, strict=True)]
        grids = [_grid(_APART * number, latents) for number, latents in enumerate((noisy, *sources))]
        embeds = stacked(prompt, "embeds", noisy)
        batch, words, _ = embeds.shape
        numbers = torch.zeros(words, 4, dtype=torch.long)
        numbers[:, 3] = torch.arange(words)
        return {
            "hidden_states": torch.cat([_packed(latents) for latents in (noisy, *sources)], dim=1),
            "timestep": timestep(sigmas, noisy),
            "guidance": None,
            "encoder_hidden_states": embeds,
            "txt_ids": numbers.to(noisy.device).expand(batch, -1, -1),
            "img_ids": torch.cat(grids).to(noisy.device).expand(batch, -1, -1),
            "joint_attention_kwargs": None,
            "return_dict": False,
        }

    def velocity(self, output: object, noisy: Tensor) -> Tensor:
        """What the transformer returned → (B, C, h, w)."""
        tokens = result_of(output)[:, : noisy.shape[-2] * noisy.shape[-1]]
        return tokens.transpose(1, 2).reshape(noisy.shape)

    def call(
        self,
        pipeline: Any,
        caption: str,
        size: tuple[int, int],
        guidance: float | None,
        pictures: Sequence[Tensor],
    ) -> dict[str, Any]:
        """Arguments of the pipeline's call for one picture of that height and width in pixels."""
        return {
            "prompt": caption,
            "height": size[0],
            "width": size[1],
            "guidance_scale": self.sampling if guidance is None else guidance,
            "max_sequence_length": _most_tokens(pipeline),
            "image": as_pictures(pictures) or None,
        }

    def sampling_guidance(self, folder: Path) -> float:
        """The guidance that pictures are drawn with; none by the model that was distilled to four steps."""
        told = json.loads((folder / "model_index.json").read_text("utf-8"))
        return 1.0 if told.get("is_distilled") else self.sampling

    def _mu(self, latent_size: tuple[int, int], steps: int | None = None) -> float:
        from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

        return compute_empirical_mu(latent_size[0] * latent_size[1], steps or _STEPS)

    def _prompt(self, encoders: Encoders, caption: str, pictures: Sequence[Tensor]) -> Prompt:
        pipeline = encoders.pipeline
        embeds, _ids = pipeline.encode_prompt(prompt=caption, max_sequence_length=_most_tokens(pipeline))
        return {"embeds": embeds[0]}

    def _encoded(self, vae: Any, pixels: Tensor) -> Tensor:
        latents: Tensor = vae.encode(pixels).latent_dist.mode()
        batch, channels, height, width = latents.shape
        squares = latents.reshape(batch, channels, height // 2, 2, width // 2, 2)
        patches = squares.permute(0, 1, 3, 5, 2, 4).reshape(batch, channels * 4, height // 2, width // 2)
        mean, deviation = _statistics(vae)
        return (patches - mean) / deviation

    def _decoded(self, vae: Any, latents: Tensor) -> Tensor:
        mean, deviation = _statistics(vae)
        batch, channels, height, width = latents.shape
        squares = (latents * deviation + mean).reshape(batch, channels // 4, 2, 2, height, width)
        plain = squares.permute(0, 1, 4, 2, 5, 3).reshape(batch, channels // 4, height * 2, width * 2)
        pixels: Tensor = vae.decode(plain, return_dict=False)[0]
        return pixels


class Flux2Klein9B(Flux2Klein):
    """FLUX.2 klein 9B."""

    unlike = {"joint_attention_dim": 3 * 2560}


def _statistics(vae: Any) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel of a patch, which the autoencoder's weights hold."""
    mean: Tensor = vae.bn.running_mean.view(1, -1, 1, 1)
    variance: Tensor = vae.bn.running_var.view(1, -1, 1, 1)
    return mean, torch.sqrt(variance + vae.config.batch_norm_eps)


def _packed(latents: Tensor) -> Tensor:
    return latents.flatten(2).transpose(1, 2)


def _grid(first: int, latents: Tensor) -> Tensor:
    """(h · w, 4): which picture, row and column each patch stands at, and a zero where words have theirs."""
    rows, columns = torch.arange(latents.shape[-2]), torch.arange(latents.shape[-1])
    return torch.cartesian_prod(torch.tensor([first]), rows, columns, torch.tensor([0]))


def _most_tokens(pipeline: Any) -> int:
    return int(min(_MOST_TOKENS, pipeline.tokenizer.model_max_length))
