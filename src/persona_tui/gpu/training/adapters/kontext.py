"""FLUX.1 Kontext: FLUX.1 with the picture to be edited behind the one that is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from persona_tui.gpu.training.adapters.base import Prompt, as_pictures
from persona_tui.gpu.training.adapters.flux1 import Flux1
from persona_tui.gpu.training.adapters.patches import pack, positions


class Kontext(Flux1):
    """FLUX.1 Kontext."""

    def inputs(
        self,
        noisy: Tensor,
        sigmas: Tensor,
        prompt: Sequence[Prompt],
        control: Sequence[Sequence[Tensor]],
        guidance: float | None,
    ) -> dict[str, object]:
        """Keyword arguments of the transformer, equal to those that diffusers' pipeline passes."""
        plain = super().inputs(noisy, sigmas, prompt, control, guidance)
        sources = torch.stack([latents for (latents,) in control]).to(noisy)
        height, width = sources.shape[-2:]
        ids = positions(height // 2, width // 2, first=1).to(noisy)
        return plain | {
            "hidden_states": torch.cat((pack(noisy), pack(sources)), dim=1),
            "img_ids": torch.cat((positions(noisy.shape[-2] // 2, noisy.shape[-1] // 2).to(noisy), ids)),
        }

    def call(
        self,
        pipeline: Any,
        caption: str,
        size: tuple[int, int],
        guidance: float | None,
        pictures: Sequence[Tensor],
    ) -> dict[str, Any]:
        """Arguments of the pipeline's call for one picture of that height and width in pixels."""
        plain = super().call(pipeline, caption, size, guidance, pictures)
        # The source stays as large as it is, as in training; the pipeline's own choice is about a megapixel.
        sources = as_pictures(pictures)
        return plain | {"image": sources[0], "max_area": size[0] * size[1], "_auto_resize": False}
