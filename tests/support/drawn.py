"""Drawn characters, and a small DINOv2 of random weights that looks at them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]


def figure(background: Colour, *, coat: Colour = (40, 80, 200), hair: Colour = (200, 40, 90)) -> Image.Image:
    """A drawn character of 300 × 400 before one colour."""
    picture = Image.new("RGB", (300, 400), background)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((90, 40, 210, 170), fill=(240, 200, 170), outline=(0, 0, 0), width=4)
    draw.polygon([(80, 90), (110, 20), (200, 20), (225, 95), (150, 60)], fill=hair)
    draw.rectangle((100, 170, 200, 400), fill=coat, outline=(0, 0, 0), width=4)
    for left in (120, 165):
        draw.ellipse((left, 90, left + 20, 110), fill=(0, 0, 0))
    return picture


def silhouette() -> np.ndarray:
    """Where the character is, (400, 300)."""
    plain = np.asarray(figure((255, 0, 255)))
    return np.any(plain != (255, 0, 255), axis=2)


def other_figure(background: Colour) -> Image.Image:
    """Another character: round, with long ears."""
    picture = Image.new("RGB", (300, 400), background)
    draw = ImageDraw.Draw(picture)
    for left in (90, 170):
        draw.ellipse((left, 20, left + 40, 200), fill=(250, 240, 90), outline=(0, 0, 0), width=4)
    draw.ellipse((50, 140, 250, 380), fill=(250, 240, 90), outline=(0, 0, 0), width=4)
    draw.ellipse((120, 220, 180, 250), fill=(220, 30, 30))
    return picture


def tiny_dino(folder: Path, seed: int = 1) -> Path:
    """A folder with a DINOv2 of random weights."""
    import torch

    from persona_tui.gpu.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=56, patch_size=14
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        Dinov2Model(config).save_pretrained(folder)
    return folder
