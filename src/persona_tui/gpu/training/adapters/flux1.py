"""FLUX.1-dev: two text encoders, packed latents, guidance as an input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from persona_tui.gpu.training.adapters.base import (
    Adapter,
    Encoders,
    Prompt,
    result_of,
    stacked,
    timestep,
)
from persona_tui.gpu.training.adapters.patches import pack, positions, unpack

# The pipeline's own. More tokens than these are cut off.
_MOST_TOKENS = 512


class Flux1(Adapter):
    """FLUX.1-dev."""

    transformer_class = "FluxTransformer2DModel"
    # scheduler/scheduler_config.json of black-forest-labs/FLUX.1-dev
    scheduler = {
        "base_image_seq_len": 256,
        "base_shift": 0.5,
        "max_image_seq_len": 4096,
        "max_shift": 1.15,
        "shift": 3.0,
        "use_dynamic_shifting": True,
    }
    # schnell, which was distilled to four steps, has no such input
    expects = {"guidance_embeds": True}
    sampling = 3.5
    text_parts = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
    attention = (
        ".attn.to_q",
        ".attn.to_k",
        ".attn.to_v",
        ".attn.to_out.0",
        ".attn.add_q_proj",
        ".attn.add_k_proj",
        ".attn.add_v_proj",
        ".attn.to_add_out",
    )
    mlp = (
        ".ff.net.0.proj",
        ".ff.net.2",
        ".ff_context.net.0.proj",
        ".ff_context.net.2",
        ".proj_mlp",
        ".proj_out",
    )

    def inputs(
        self,
        noisy: Tensor,
        sigmas: Tensor,
        prompt: Sequence[Prompt],
        control: Sequence[Sequence[Tensor]],
        guidance: float | None,
    ) -> dict[str, object]:
        """Keyword arguments of the transformer, equal to those that diffusers' pipeline passes."""
        height, width = noisy.shape[-2:]
        embeds = stacked(prompt, "embeds", noisy)
        return {
            "hidden_states": pack(noisy),
            "timestep": timestep(sigmas, noisy),
            "guidance": torch.full((noisy.shape[0],), guidance or 1.0, device=noisy.device),
            "pooled_projections": stacked(prompt, "pooled", noisy),
            "encoder_hidden_states": embeds,
            "txt_ids": torch.zeros(embeds.shape[1], 3).to(noisy),
            "img_ids": positions(height // 2, width // 2).to(noisy),
            "joint_attention_kwargs": {},
            "return_dict": False,
        }

    def velocity(self, output: object, noisy: Tensor) -> Tensor:
        """What the transformer returned → (B, C, h, w)."""
        height, width = noisy.shape[-2:]
        return unpack(result_of(output)[:, : height // 2 * (width // 2)], height, width)

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
        }

    def _mu(self, latent_size: tuple[int, int], steps: int | None = None) -> float:
        return self._resolution_shift(latent_size[0] // 2 * (latent_size[1] // 2))

    def _prompt(self, encoders: Encoders, caption: str, pictures: Sequence[Tensor]) -> Prompt:
        pipeline = encoders.pipeline
        embeds, pooled, _ids = pipeline.encode_prompt(
            prompt=caption, prompt_2=None, max_sequence_length=_most_tokens(pipeline)
        )
        return {"embeds": embeds[0], "pooled": pooled[0]}

    def _encoded(self, vae: Any, pixels: Tensor) -> Tensor:
        latents: Tensor = vae.encode(pixels).latent_dist.mode()
        scaled: Tensor = (latents - vae.config.shift_factor) * vae.config.scaling_factor
        return scaled

    def _decoded(self, vae: Any, latents: Tensor) -> Tensor:
        pixels: Tensor = vae.decode(
            latents / vae.config.scaling_factor + vae.config.shift_factor, return_dict=False
        )[0]
        return pixels


def _most_tokens(pipeline: Any) -> int:
    return int(min(_MOST_TOKENS, pipeline.tokenizer_2.model_max_length))
