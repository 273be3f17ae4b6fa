"""Latents as transformers see them: squares of two by two become one token each."""

from __future__ import annotations

import torch
from torch import Tensor


def pack(latents: Tensor) -> Tensor:
    """(B, C, h, w) → (B, h/2 · w/2, 4C), as FLUX.1 and Qwen-Image order them."""
    batch, channels, height, width = latents.shape
    squares = latents.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return squares.permute(0, 2, 4, 1, 3, 5).reshape(batch, height // 2 * (width // 2), channels * 4)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """(B, h/2 · w/2, 4C) → (B, C, h, w); height and width are the latents'."""
    batch, _, channels = tokens.shape
    squares = tokens.reshape(batch, height // 2, width // 2, channels // 4, 2, 2)
    return squares.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels // 4, height, width)


def positions(height: int, width: int, *, first: int = 0) -> Tensor:
    """(h · w, 3): which picture, row and column each token of a grid stands at."""
    rows = torch.arange(height).repeat_interleave(width)
    columns = torch.arange(width).repeat(height)
    return torch.stack((torch.full_like(rows, first), rows, columns), dim=1)
