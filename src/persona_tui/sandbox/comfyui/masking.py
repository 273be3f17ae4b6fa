"""Nodes that work on a part of a picture: masks, cuts, laying one over another, sharpening."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from persona_tui.sandbox.comfyui.node_runs import NodeCall
from persona_tui.sandbox.comfyui.node_types import MAX_RESOLUTION, Input, NodeType, number
from persona_tui.sandbox.comfyui.values import Picture

Mask = NDArray[np.float32]
"""Height × width, 0…1."""


async def solid_mask(_call: NodeCall, value: float, width: int, height: int) -> tuple[Any, ...]:
    return (np.full((height, width), value, dtype=np.float32),)


async def feather_mask(
    _call: NodeCall, mask: Mask, left: int, top: int, right: int, bottom: int
) -> tuple[Any, ...]:
    height, width = mask.shape
    across = _ramp(width, min(left, width), min(right, width))
    down = _ramp(height, min(top, height), min(bottom, height))
    return (mask * across[None, :] * down[:, None],)


def _ramp(length: int, rising: int, falling: int) -> Mask:
    """1 but at the ends, where it rises and falls in even steps, as the real one does."""
    ramp = np.ones(length, dtype=np.float32)
    if rising:
        ramp[:rising] *= np.arange(1, rising + 1, dtype=np.float32) / rising
    if falling:
        ramp[length - falling :] *= np.arange(falling, 0, -1, dtype=np.float32) / falling
    return ramp


async def composite(
    _call: NodeCall,
    destination: tuple[Picture, ...],
    source: tuple[Picture, ...],
    x: int,
    y: int,
    resize_source: bool,
    mask: Mask | None = None,
) -> tuple[Any, ...]:
    return (
        tuple(
            _composed(below, above, x, y, resize_source, mask)
            for below, above in zip(destination, source, strict=False)
        ),
    )


def _composed(below: Picture, above: Picture, x: int, y: int, resize: bool, mask: Mask | None) -> Picture:
    pixels = below.pixels.copy()
    height, width = pixels.shape[:2]
    laid = sized(above.pixels, width, height) if resize else above.pixels
    alpha = np.ones(laid.shape[:2], np.float32) if mask is None else _mask_for(mask, *laid.shape[:2])
    part = laid[: max(0, height - y), : max(0, width - x)]
    share = alpha[: part.shape[0], : part.shape[1], None]
    target = pixels[y : y + part.shape[0], x : x + part.shape[1]]
    target[:] = np.round(part * share + target * (1 - share)).astype(np.uint8)
    return replace(below, pixels=pixels)


def _mask_for(mask: Mask, height: int, width: int) -> Mask:
    image = Image.fromarray(np.ascontiguousarray(mask, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)


def sized(pixels: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Pixels in another size, bicubic; as they are where it is theirs."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


async def crop(
    _call: NodeCall, image: tuple[Picture, ...], width: int, height: int, x: int, y: int
) -> tuple[Any, ...]:
    return (tuple(replace(one, pixels=_cut(one.pixels, width, height, x, y)) for one in image),)


def _cut(pixels: NDArray[Any], width: int, height: int, x: int, y: int) -> NDArray[Any]:
    left, top = min(x, pixels.shape[1] - 1), min(y, pixels.shape[0] - 1)
    return pixels[top : top + height, left : left + width]


async def sharpen(
    _call: NodeCall, image: tuple[Picture, ...], sigma: float, alpha: float, **_cut_off: int
) -> tuple[Any, ...]:
    """The radius only cuts the Gaussian off; Pillow sets that by itself."""
    return (tuple([await asyncio.to_thread(_sharp, one, sigma, alpha) for one in image]),)


def _sharp(picture: Picture, sigma: float, alpha: float) -> Picture:
    sharp = ImageFilter.UnsharpMask(radius=sigma, percent=round(alpha * 100), threshold=0)
    return replace(picture, pixels=np.asarray(Image.fromarray(picture.pixels).filter(sharp)))


_AT = Input("INT", number(0, 0, MAX_RESOLUTION, step=1))
_SIDE = Input("INT", number(512, 1, MAX_RESOLUTION, step=1))

MASKING_TYPES = (
    NodeType(
        "SolidMask",
        solid_mask,
        {"value": Input("FLOAT", number(1.0, 0.0, 1.0, step=0.01)), "width": _SIDE, "height": _SIDE},
        ("MASK",),
        "mask",
        module="comfy_extras.nodes_mask",
    ),
    NodeType(
        "FeatherMask",
        feather_mask,
        {"mask": Input("MASK", {}), "left": _AT, "top": _AT, "right": _AT, "bottom": _AT},
        ("MASK",),
        "mask",
        module="comfy_extras.nodes_mask",
    ),
    NodeType(
        "ImageCompositeMasked",
        composite,
        {
            "destination": Input("IMAGE", {}),
            "source": Input("IMAGE", {}),
            "x": _AT,
            "y": _AT,
            "resize_source": Input("BOOLEAN", {"default": False}),
        },
        ("IMAGE",),
        "image",
        optional={"mask": Input("MASK", {})},
        module="comfy_extras.nodes_mask",
    ),
    NodeType(
        "ImageCrop",
        crop,
        {"image": Input("IMAGE", {}), "width": _SIDE, "height": _SIDE, "x": _AT, "y": _AT},
        ("IMAGE",),
        "image/transform",
        "Image Crop",
        module="comfy_extras.nodes_images",
    ),
    NodeType(
        "ImageSharpen",
        sharpen,
        {
            "image": Input("IMAGE", {}),
            "sharpen_radius": Input("INT", number(1, 1, 31, step=1)),
            "sigma": Input("FLOAT", number(1.0, 0.1, 10.0, step=0.01)),
            "alpha": Input("FLOAT", number(1.0, 0.0, 5.0, step=0.01)),
        },
        ("IMAGE",),
        "image/postprocessing",
        module="comfy_extras.nodes_post_processing",
    ),
)
