"""Qwen-Image-Edit 2509 and 2511: sources go in twice, as latents and into what the language model reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from persona_tui.gpu.training.adapters.base import Encoders, Prompt, as_pictures
from persona_tui.gpu.training.adapters.qwen_image import QwenImage


class QwenEdit2509(QwenImage):
    """Qwen-Image-Edit-2509."""

    text_parts = ("text_encoder", "tokenizer", "processor")

    def draw(
        self,
        pipeline: Any,
        caption: str,
        *,
        size: tuple[int, int],
        steps: int,
        seed: int,
        guidance: float | None = None,
        pictures: Sequence[Tensor] = (),
    ) -> Tensor:
        """A picture by diffusers' own pipeline: (3, H, W) in [0, 1]."""
        with sources_as_they_are(pictures):
            return super().draw(
                pipeline, caption, size=size, steps=steps, seed=seed, guidance=guidance, pictures=pictures
            )

    def call(
        self,
        pipeline: Any,
        caption: str,
        size: tuple[int, int],
        guidance: float | None,
        pictures: Sequence[Tensor],
    ) -> dict[str, Any]:
        """Arguments of the pipeline's call for one picture of that height and width in pixels."""
        return super().call(pipeline, caption, size, guidance, pictures) | {"image": as_pictures(pictures)}

    def _prompt(self, encoders: Encoders, caption: str, pictures: Sequence[Tensor]) -> Prompt:
        edit = _module()
        pipeline = encoders.pipeline
        seen = []
        for picture in as_pictures(pictures):
            width, height = edit.calculate_dimensions(
                edit.CONDITION_IMAGE_SIZE, picture.width / picture.height
            )
            seen.append(pipeline.image_processor.resize(picture, height, width))
        embeds, _mask = pipeline.encode_prompt(prompt=caption, image=seen)
        return {"embeds": embeds[0]}


class QwenEdit2511(QwenEdit2509):
    """Qwen-Image-Edit-2511: sources count as free of noise, whatever the level is."""

    expects = {"zero_cond_t": True}


@contextmanager
def sources_as_they_are(pictures: Sequence[Tensor]) -> Iterator[None]:
    """Let the pipeline leave sources as large as in training, where it would make a megapixel of each."""
    edit = _module()
    before = edit.VAE_IMAGE_SIZE
    edit.VAE_IMAGE_SIZE = max(picture.shape[-2] * picture.shape[-1] for picture in pictures)
    try:
        yield
    finally:
        edit.VAE_IMAGE_SIZE = before


def _module() -> Any:
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus

    return pipeline_qwenimage_edit_plus
