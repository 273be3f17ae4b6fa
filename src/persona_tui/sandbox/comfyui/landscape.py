"""Landscapes and seascapes: sky, sun, ridges behind ridges in the haze, water, grasses, birds, a sail."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image, ImageDraw

from persona_tui.sandbox.comfyui.canvas import (
    Field,
    clouds,
    colour,
    grid,
    lay_image,
    mix,
    noise,
    resized,
    smoothstep,
    vertical,
)
from persona_tui.sandbox.comfyui.foliage import draw_grass
from persona_tui.sandbox.comfyui.palette import Colour, Palette
from persona_tui.sandbox.comfyui.still_life import mix_colours


def paint_landscape(
    palette: Palette, width: int, height: int, draw: random.Random, rng: np.random.Generator, care: float
) -> Field:
    """Paint hills behind hills under a sky, mist between them, grasses in front.

    Args:
        care: 0 clumsy … 1 well composed.
    """
    horizon = draw.uniform(0.4, 0.5) + (1 - care) * draw.choice((-0.24, 0.26))
    sun = _sun_place(draw, horizon)
    picture = _sky(palette, width, height, horizon + 0.12, sun, draw, rng)
    layers = draw.choice((4, 5, 6))
    for number in range(layers):
        share = number / (layers - 1)
        _ridge(picture, palette, horizon + (0.98 - horizon) * share**1.35 * 0.8, share, sun, draw, rng)
    _birds(picture, horizon, palette, draw)
    grasses = (
        mix_colours(palette.ground, palette.shade, 0.75),
        mix_colours(palette.ground, palette.light, 0.25),
    )
    draw_grass(picture, height * 1.01, height * draw.uniform(0.14, 0.22), grasses, draw, blades=150)
    return picture


def paint_sea(
    palette: Palette, width: int, height: int, draw: random.Random, rng: np.random.Generator, care: float
) -> Field:
    """Paint a calm sea with headlands, the sun's road on the water, and a sail."""
    horizon = draw.uniform(0.42, 0.52) + (1 - care) * draw.choice((-0.22, 0.2))
    sun = _sun_place(draw, horizon)
    picture = _sky(palette, width, height, horizon, sun, draw, rng)
    _headlands(picture, palette, horizon, draw, rng)
    _water(picture, palette, horizon, sun, rng)
    _sail(picture, palette, horizon, draw)
    _birds(picture, horizon * 0.9, palette, draw)
    if draw.random() < 0.6:
        reeds = (
            mix_colours(palette.ground, palette.shade, 0.8),
            mix_colours(palette.accents[2], palette.shade, 0.3),
        )
        draw_grass(picture, height * 1.01, height * draw.uniform(0.16, 0.26), reeds, draw, blades=90)
    return picture


def _sun_place(draw: random.Random, horizon: float) -> tuple[float, float]:
    return draw.choice((draw.uniform(0.24, 0.4), draw.uniform(0.6, 0.76))), horizon - draw.uniform(0.08, 0.22)


def _sky(
    palette: Palette, width: int, height: int, horizon: float, sun: tuple[float, float], draw: random.Random,
    rng: np.random.Generator,
) -> Field:  # fmt: skip
    """Gradient, the sun's disc and glow, long thin clouds lit from the sun."""
    warm = mix_colours(palette.low, palette.light, 0.5)
    middle = mix_colours(palette.high, palette.low, 0.55)
    sky = vertical(height, (0.0, palette.high), (horizon * 0.6, middle), (horizon, warm), (1.0, warm))
    picture = np.repeat(sky, width, axis=1)
    x, y = grid(width, height)
    away = np.sqrt(((x - sun[0]) * width / height) ** 2 + (y - sun[1]) ** 2)
    glow = (0.55 * np.exp(-away * 4.5))[..., None]
    picture += (colour(palette.light) - picture) * glow
    bank = clouds(rng, width, height, 2, draw.randint(7, 11), 4) + 0.25 * noise(rng, width, height, 2, 3)
    cover = smoothstep(0.02, 0.55, bank) * smoothstep(horizon * 1.1, horizon * 0.25, y) * np.float32(0.62)
    lit = colour(mix_colours(mix_colours(palette.high, palette.light, 0.75), (1.0, 1.0, 1.0), 0.12))
    picture += (lit - picture) * cover[..., None]
    disc = smoothstep(0.0016, -0.0016, away - draw.uniform(0.026, 0.042))[..., None]
    picture += (colour(mix_colours(palette.light, (1.0, 1.0, 1.0), 0.55)) - picture) * disc * 0.95
    return picture


def _ridge_line(width: int, rng: np.random.Generator, rough: float) -> Field:
    line = np.zeros(width, dtype=np.float32)
    for octave in range(6):
        cells = 3 << octave
        points = rng.uniform(-1, 1, (2, cells)).astype(np.float32)
        line += resized(points, width, 2)[0] * np.float32(rough**octave)
    return line


def _ridge(
    picture: Field,
    palette: Palette,
    level: float,
    share: float,
    sun: tuple[float, float],
    draw: random.Random,
    rng: np.random.Generator,
) -> None:
    """One ridge; `share` 0 is the farthest: pale, rough; 1 the nearest: dark, smooth."""
    height, width = picture.shape[:2]
    swing = height * (0.075 - 0.025 * share) * draw.uniform(0.8, 1.2)
    line = level * height + _ridge_line(width, rng, 0.5 - 0.1 * share) * swing
    top = int(max(0, np.floor(line.min()) - 1))
    if top >= height:
        return
    x = (np.arange(width, dtype=np.float32)[None, :] + 0.5) / width
    bottom = height if share == 1 else min(height, int(line.max() + height * 0.22))  # the next ridge hides it
    y = np.arange(top, bottom, dtype=np.float32)[:, None]
    inside = np.clip(y - line[None, :] + 0.5, 0, 1)
    below = np.clip((y - line[None, :]) / (height * 0.2), 0, 1)
    haze = colour(mix_colours(palette.low, palette.light, 0.35))
    body = colour(
        mix_colours(
            mix_colours(palette.ground, palette.high, 0.55),
            mix_colours(palette.ground, palette.shade, 0.62),
            share,
        )
    )
    tone = mix(haze, body, 0.32 + 0.68 * share)
    texture = clouds(rng, width, bottom - top, 8, 12, 3) * np.float32(0.05 + 0.06 * share)
    near_sun = np.exp(-np.abs(x - sun[0]) * 3) * (1 - below) ** 3 * np.float32(0.3 * (1 - 0.4 * share))
    mist = below * np.float32(0.58 * (1 - share))
    layer = tone * (1 + texture[..., None])
    layer = mix(layer, colour(palette.light), near_sun[..., None])
    layer = mix(layer, haze, mist[..., None])
    part = picture[top:bottom]
    part += (layer - part) * inside[..., None]


def _headlands(
    picture: Field, palette: Palette, horizon: float, draw: random.Random, rng: np.random.Generator
) -> None:
    height, width = picture.shape[:2]
    sea_line = int(horizon * height)
    side = draw.choice((0.0, 1.0))
    x = (np.arange(width, dtype=np.float32) + 0.5) / width
    for share in (0.0, 0.55, 1.0)[: draw.choice((2, 3))]:
        reach = draw.uniform(0.35, 0.9 - 0.4 * share)
        slope = np.clip(1 - np.abs(x - side) / reach, 0, 1) ** 0.8
        rise = (0.05 + 0.1 * share) * height * slope * (1 + 0.28 * _ridge_line(width, rng, 0.5))
        top = max(0, int(sea_line - rise.max()) - 1)
        y = np.arange(top, sea_line, dtype=np.float32)[:, None]
        inside = np.clip(y - (sea_line - rise[None, :]) + 0.5, 0, 1) * (rise > 0.5)
        tone = mix_colours(
            mix_colours(palette.low, palette.high, 0.6),
            mix_colours(palette.ground, palette.shade, 0.7),
            0.25 + 0.6 * share,
        )
        texture = clouds(rng, width, sea_line - top, 14, 8, 3)[..., None]
        part = picture[top:sea_line]
        part += (colour(tone) * (1 + 0.14 * texture) - part) * inside[..., None]


def _water(
    picture: Field, palette: Palette, horizon: float, sun: tuple[float, float], rng: np.random.Generator
) -> None:
    """Mirror the sky and the land into the sea, broken by waves that grow towards the viewer."""
    height, width = picture.shape[:2]
    line = int(horizon * height)
    deep = height - line
    rows = np.arange(deep, dtype=np.float32)
    near = rows / deep
    # Wave crests crowd towards the horizon: sample the noise along the logarithm of nearness.
    bands = noise(rng, width, 512, 7, 90) + 0.7 * noise(rng, width, 512, 22, 220)
    warp = np.clip(np.log1p(near * 24) / np.log(25) * 511, 0, 511).astype(np.intp)
    waves = bands[warp]
    mirror = np.clip(
        line - 1 - (rows * 0.85)[:, None] + waves * (5 + 40 * near[:, None]), 0, line - 1
    ).astype(np.intp)
    reflected = picture[mirror, np.arange(width)[None, :]]
    body = vertical(deep, (0.0, mix_colours(palette.ground, palette.low, 0.5)), (0.35, palette.ground),
                    (1.0, mix_colours(palette.ground, palette.shade, 0.6)))  # fmt: skip
    sea = mix(reflected, body, np.clip(0.34 + 0.36 * near, 0, 1)[:, None, None])
    sea *= (1 + (0.05 + 0.1 * near)[:, None] * waves)[..., None]
    x = (np.arange(width, dtype=np.float32)[None, :] + 0.5) / width
    road = np.exp(-(((x - sun[0]) / (0.03 + 0.13 * near[:, None])) ** 2))
    glitter = smoothstep(0.15, 0.75, waves) * road * (1 - 0.55 * near[:, None])
    sea = mix(sea, colour(mix_colours(palette.light, (1.0, 1.0, 1.0), 0.4)), (0.85 * glitter)[..., None])
    picture[line:] = sea


def _sail(picture: Field, palette: Palette, horizon: float, draw: random.Random) -> None:
    height, width = picture.shape[:2]
    tall = int(height * draw.uniform(0.05, 0.085))
    wide = int(tall * 0.9)
    if tall < 8:
        return
    layer = Image.new("RGBA", (wide * 4, tall * 4), (255, 255, 255, 0))
    pen = ImageDraw.Draw(layer)
    white, hull = (
        _ink(mix_colours(palette.light, (1, 1, 1), 0.5)),
        _ink(mix_colours(palette.shade, palette.ground, 0.2)),
    )
    w, h = wide * 4, tall * 4
    pen.polygon([(w * 0.48, 0), (w * 0.48, h * 0.78), (w * 0.05, h * 0.78)], fill=white)
    pen.polygon(
        [(w * 0.53, h * 0.14), (w * 0.53, h * 0.78), (w * 0.88, h * 0.78)], fill=_ink(palette.accents[3])
    )
    pen.polygon(
        [(w * 0.02, h * 0.84), (w * 0.96, h * 0.84), (w * 0.8, h * 0.98), (w * 0.2, h * 0.98)], fill=hull
    )
    small = layer.resize((wide, tall), Image.Resampling.BOX)
    lay_image(
        picture, small, int(width * draw.uniform(0.2, 0.75)), int(horizon * height + tall * 0.22 - tall)
    )


def _ink(value: Colour) -> tuple[int, int, int, int]:
    return round(value[0] * 255), round(value[1] * 255), round(value[2] * 255), 255


def _birds(picture: Field, horizon: float, palette: Palette, draw: random.Random) -> None:
    height, width = picture.shape[:2]
    flock = draw.choice((0, 3, 5, 7))
    if not flock or width < 200:
        return
    span = int(width * 0.26)
    layer = Image.new("RGBA", (span * 2, span * 2), (*_ink(palette.shade)[:3], 0))
    pen = ImageDraw.Draw(layer)
    for _ in range(flock):
        x, y, size = (
            draw.uniform(0.1, 0.9) * span * 2,
            draw.uniform(0.2, 0.8) * span * 2,
            draw.uniform(7, 15) * width / 832,
        )
        lift = draw.uniform(0.3, 0.7) * size
        pen.line([(x - size, y - lift), (x, y), (x + size, y - lift * 0.9)], fill=_ink(palette.shade),
                 width=max(2, int(size / 5)), joint="curve")  # fmt: skip
    small = layer.resize((span, span), Image.Resampling.BOX)
    lay_image(
        picture, small, int(draw.uniform(0.1, 0.6) * width), int(horizon * height * draw.uniform(0.05, 0.35))
    )
