"""The node that blends two pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_tui.sandbox.comfyui.masking import sized
from persona_tui.sandbox.comfyui.node_runs import NodeCall
from persona_tui.sandbox.comfyui.node_types import Input, NodeType, number, one_of
from persona_tui.sandbox.comfyui.values import Picture

Pixels = NDArray[Any]


def _soft_light(a: Pixels, b: Pixels) -> Pixels:
    root = np.where(a <= 0.25, ((16 * a - 12) * a + 4) * a, np.sqrt(a))
    mixed: Pixels = np.where(b <= 0.5, a - (1 - 2 * b) * a * (1 - a), a + (2 * b - 1) * (root - a))
    return mixed


BLENDS: Mapping[str, Callable[[Pixels, Pixels], Pixels]] = {
    "normal": lambda _a, b: b,
    "multiply": lambda a, b: a * b,
    "screen": lambda a, b: 1 - (1 - a) * (1 - b),
    "overlay": lambda a, b: np.where(a <= 0.5, 2 * a * b, 1 - 2 * (1 - a) * (1 - b)),
    "soft_light": _soft_light,
    "difference": lambda a, b: a - b,
}


async def blend(
    _call: NodeCall,
    image1: tuple[Picture, ...],
    image2: tuple[Picture, ...],
    blend_factor: float,
    blend_mode: str,
) -> tuple[Any, ...]:
    return (
        tuple(
            [
                await asyncio.to_thread(_blended, one, two, blend_factor, BLENDS[blend_mode])
                for one, two in zip(image1, image2, strict=False)
            ]
        ),
    )


def _blended(one: Picture, two: Picture, factor: float, mix: Callable[[Pixels, Pixels], Pixels]) -> Picture:
    below = one.pixels.astype(np.float32) / 255
    above = sized(two.pixels, below.shape[1], below.shape[0]).astype(np.float32) / 255
    mixed = below * (1 - factor) + mix(below, above) * factor
    return Picture((np.clip(mixed, 0, 1) * 255).astype(np.uint8))


BLENDING_TYPES = (
    NodeType(
        "ImageBlend",
        blend,
        {
            "image1": Input("IMAGE", {}),
            "image2": Input("IMAGE", {}),
            "blend_factor": Input("FLOAT", number(0.5, 0.0, 1.0, step=0.01)),
            "blend_mode": Input(one_of(*BLENDS), {}),
        },
        ("IMAGE",),
        "image/postprocessing",
        module="comfy_extras.nodes_post_processing",
    ),
)
