"""Qwen-Image: one language model reads captions of any length; no guidance input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from persona_tui.gpu.training.adapters.base import (
    Adapter,
    Encoders,
    Prompt,
    result_of,
    timestep,
)
from persona_tui.gpu.training.adapters.patches import pack, unpack


class QwenImage(Adapter):
    """Qwen-Image, and its later versions of the same build."""

    transformer_class = "QwenImageTransformer2DModel"
    # scheduler/scheduler_config.json of Qwen/Qwen-Image; the edit models have the same
    scheduler = {
        "base_image_seq_len": 256,
        "base_shift": 0.5,
        "max_image_seq_len": 8192,
        "max_shift": 0.9,
        "shift": 1.0,
        "shift_terminal": 0.02,
        "use_dynamic_shifting": True,
    }
    expects = {"zero_cond_t": False}
    # Real guidance, by a second look without the caption, as the model's page sets it.
    sampling = 4.0
    text_parts: ClassVar[tuple[str, ...]] = ("text_encoder", "tokenizer")
    blocks = ("transformer_blocks.",)
    attention: ClassVar[tuple[str, ...]] = (
        ".attn.to_q",
        ".attn.to_k",
        ".attn.to_v",
        ".attn.to_out.0",
        ".attn.add_q_proj",
        ".attn.add_k_proj",
        ".attn.add_v_proj",
        ".attn.to_add_out",
    )
    mlp: ClassVar[tuple[str, ...]] = (
        ".img_mlp.net.0.proj",
        ".img_mlp.net.2",
        ".txt_mlp.net.0.proj",
        ".txt_mlp.net.2",
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
        sources = [torch.stack(latents).to(noisy) for latents in zip(*control, strict=True)]
        grids = [(1, latents.shape[-2] // 2, latents.shape[-1] // 2) for latents in (noisy, *sources)]
        embeds, mask = _padded(prompt, noisy)
        return {
            "hidden_states": torch.cat([pack(latents) for latents in (noisy, *sources)], dim=1),
            "timestep": timestep(sigmas, noisy),
            "guidance": None,
            "encoder_hidden_states_mask": mask,
            "encoder_hidden_states": embeds,
            "img_shapes": [grids] * noisy.shape[0],
            "attention_kwargs": {},
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
        scale = self.sampling if guidance is None else guidance
        return {
            "prompt": caption,
            "negative_prompt": " " if scale > 1 else None,
            "true_cfg_scale": scale,
            "height": size[0],
            "width": size[1],
        }

    def guided(self, worded: Tensor, wordless: Tensor, scale: float) -> Tensor:
        """As `Adapter.guided`, each token as long as the caption alone would have it."""
        height, width = worded.shape[-2:]
        plain, away = pack(worded), pack(super().guided(worded, wordless, scale))
        lengths = plain.norm(dim=-1, keepdim=True) / away.norm(dim=-1, keepdim=True)
        return unpack(away * lengths, height, width)

    def _mu(self, latent_size: tuple[int, int], steps: int | None = None) -> float:
        return self._resolution_shift(latent_size[0] // 2 * (latent_size[1] // 2))

    def _prompt(self, encoders: Encoders, caption: str, pictures: Sequence[Tensor]) -> Prompt:
        embeds, _mask = encoders.pipeline.encode_prompt(prompt=caption)
        return {"embeds": embeds[0]}

    def _encoded(self, vae: Any, pixels: Tensor) -> Tensor:
        latents: Tensor = vae.encode(pixels.unsqueeze(2)).latent_dist.mode().squeeze(2)
        return (latents - _of_channels(vae.config.latents_mean, latents)) / _of_channels(
            vae.config.latents_std, latents
        )

    def _decoded(self, vae: Any, latents: Tensor) -> Tensor:
        plain = latents * _of_channels(vae.config.latents_std, latents) + _of_channels(
            vae.config.latents_mean, latents
        )
        pixels: Tensor = vae.decode(plain.unsqueeze(2), return_dict=False)[0][:, :, 0]
        return pixels


def _of_channels(numbers: Sequence[float], latents: Tensor) -> Tensor:
    return torch.tensor(numbers).view(1, -1, 1, 1).to(latents)


def _padded(prompts: Sequence[Prompt], like: Tensor) -> tuple[Tensor, Tensor | None]:
    """Captions of different lengths as a batch, and which of its tokens are words; None where all are."""
    parts = [prompt["embeds"] for prompt in prompts]
    batch = pad_sequence(parts, batch_first=True).to(like.device, like.dtype)
    if len({len(part) for part in parts}) == 1:
        return batch, None
    words = [torch.ones(len(part), dtype=torch.long, device=like.device) for part in parts]
    return batch, pad_sequence(words, batch_first=True)
