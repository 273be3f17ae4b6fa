"""Qwen-Image 2.1: one stream of words and latents of 16 pixels each; pictures have an alpha channel.

Only from words: with sources the positions depend on what the language model makes of each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training.adapters.base import Adapter, Encoders, Prompt, result_of, stacked, timestep
from persona_tui.gpu.training.adapters.qwen_image import QwenImage

# Each of these squares of patches is one slot in what the language model reads.
_PATCHES_PER_SLOT = 4


class QwenImage21(QwenImage):
    """Qwen-Image 2.1. Its scheduler is the first Qwen-Image's."""

    transformer_class = "QwenImage21Transformer2DModel"
    expects = {"causal_condition": True}
    # The pipeline can't be without its processor.
    text_parts = ("text_encoder",)
    attention = (".attn.to_q", ".attn.to_k", ".attn.to_v", ".attn.to_out.0")
    mlp = (".img_mlp.proj", ".img_mlp.gate_layer", ".img_mlp.out")

    def inputs(
        self,
        noisy: Tensor,
        sigmas: Tensor,
        prompt: Sequence[Prompt],
        control: Sequence[Sequence[Tensor]],
        guidance: float | None,
    ) -> dict[str, object]:
        """Keyword arguments of the transformer, equal to those that diffusers' pipeline passes.

        Raises:
            InvalidRequest: the captions differ in length.
        """
        batch, _, height, width = noisy.shape
        if len({len(part["embeds"]) for part in prompt}) > 1:
            # What pads a shorter caption would move its picture to other positions.
            raise InvalidRequest(
                "Qwen-Image 2.1 takes captions of one length in a batch.",
                hint="Set the batch to 1 and the accumulation to what the batch was.",
            )
        embeds = stacked(prompt, "embeds", noisy)
        slots = torch.zeros(batch, embeds.shape[1] + height * width // _PATCHES_PER_SLOT, dtype=torch.bool)
        slots[:, embeds.shape[1] :] = True
        return {
            "hidden_states": noisy.flatten(2).transpose(1, 2),
            "timestep": timestep(sigmas, noisy),
            "encoder_hidden_states": embeds,
            "encoder_hidden_states_mask": None,
            "img_shapes": [[(1, height, width)]] * batch,
            "img_mask": slots.to(noisy.device),
            "attention_kwargs": {},
            "kv_cache": None,
            "kv_cache_mode": None,
            "return_dict": False,
        }

    def velocity(self, output: object, noisy: Tensor) -> Tensor:
        """What the transformer returned → (B, C, h, w)."""
        tokens = result_of(output)[:, -noisy.shape[-2] * noisy.shape[-1] :]
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
        # Pictures differ visibly with and without the cache; training has none.
        return super().call(pipeline, caption, size, guidance, pictures) | {"use_kv_cache": False}

    def guided(self, worded: Tensor, wordless: Tensor, scale: float) -> Tensor:
        """As `Adapter.guided`: without the lengths that Qwen-Image's pipeline keeps."""
        return Adapter.guided(self, worded, wordless, scale)

    def _mu(self, latent_size: tuple[int, int], steps: int | None = None) -> float:
        return self._resolution_shift(latent_size[0] * latent_size[1])

    def _prompt(self, encoders: Encoders, caption: str, pictures: Sequence[Tensor]) -> Prompt:
        embeds, _mask, _slots = encoders.pipeline.encode_prompt(prompt=caption)
        return {"embeds": embeds[0]}

    def _encoded(self, vae: Any, pixels: Tensor) -> Tensor:
        return super()._encoded(vae, torch.cat((pixels, torch.ones_like(pixels[:, :1])), dim=1))

    def _decoded(self, vae: Any, latents: Tensor) -> Tensor:
        return super()._decoded(vae, latents)[:, :3]
