"""A tiny base model as the tests of adapters use it: loaded as training loads it, and as sampling does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from persona_tui.gpu.training.adapters import adapter_of
from persona_tui.gpu.training.adapters.base import Adapter, Encoders, Prompt
from persona_tui.gpu.training.families import FAMILIES

CAPTION = "photo of ohwx person, smiling"
GUIDANCE = 1.0


@dataclass
class Base:
    """One family's adapter with all that it can load."""

    folder: Path
    adapter: Adapter
    encoders: Encoders
    pipeline: Any

    @classmethod
    def load(cls, family: str, folder: Path) -> Base:
        """Load a tiny pipeline's folder."""
        adapter = adapter_of(family)
        encoders = adapter.load_encoders(folder, dtype=torch.float32, device="cpu")
        return cls(folder, adapter, encoders, adapter.pipeline(folder))

    @cached_property
    def sources(self) -> list[Tensor]:
        """Up to two source pictures, as the family takes them, each another one."""
        number = min(2, FAMILIES[self.adapter.family].control_pictures)
        drawn = np.random.default_rng(5).integers(0, 256, (number, 64, 64, 3)).astype(np.float32)
        # Scaled as the pipeline does it, to the last digit.
        return [2 * torch.from_numpy(picture / 255.0).permute(2, 0, 1) - 1 for picture in drawn]

    @cached_property
    def control(self) -> list[Tensor]:
        """Latents of the sources."""
        return [self.adapter.encode_picture(self.encoders, picture) for picture in self.sources]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the pictures that are made."""
        return (64, 96) if self.adapter.family == "qwen-image-2.1" else (32, 48)

    def prompt(self, caption: str = CAPTION) -> Prompt:
        """A caption as training caches it."""
        return self.adapter.encode_prompt(self.encoders, caption, self.sources)

    def latents(self, seed: int) -> Tensor:
        """A batch of one with noise of the shape that a picture has."""
        shape = self.adapter.encode_picture(self.encoders, torch.zeros(3, *self.size)).shape
        return torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))

    @property
    def shrinks(self) -> int:
        """Pixels of the real model on the side of one of its latents."""
        return 16 if self.adapter.family.startswith(("flux2", "qwen-image-2.1")) else 8

    def packed(self, latents: Tensor) -> Tensor:
        """Latents as the pipeline's call takes them: FLUX.2's makes tokens of them itself."""
        if self.adapter.family.startswith("flux2"):
            return latents
        packed: Tensor = self.pipeline._pack_latents(latents, *latents.shape)
        return packed

    def draw(
        self,
        latents: Tensor,
        *,
        seen: Callable[[dict[str, Any]], object] = lambda _kwargs: None,
        **given: Any,
    ) -> Tensor:
        """Let diffusers' pipeline draw from these latents, whatever their size: (3, H, W) in [0, 1].

        Args:
            seen: gets what the transformer is handed, at each step.
        """
        hook = self.pipeline.transformer.register_forward_pre_hook(
            lambda _module, _args, kwargs: seen(dict(kwargs)) and None, with_kwargs=True
        )
        whole = self.latents(0).shape[-1]
        height, width = (side * self.size[1] // whole for side in latents.shape[-2:])
        call = self.adapter.call(self.pipeline, CAPTION, (height, width), GUIDANCE, self.sources)
        try:
            drawn: Tensor = self.pipeline(
                **call, latents=self.packed(latents), output_type="pt", **given
            ).images[0]
        finally:
            hook.remove()
        return drawn[:3]


def same(ours: object, theirs: object) -> bool:
    """Whether two arguments are equal; tensors to the last digit, in type and shape too."""
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        return ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    return not isinstance(theirs, Tensor) and ours == theirs
