"""Paint a picture from prompt and seed: pleasant ones from good seeds, flawed ones from bad seeds.

Every seed has a hidden quality 0…1. A low one shows as blur, a tilted horizon, blown or drowned exposure,
noise, clashing colours or a clumsy composition, so that votes on the pictures mean something.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from persona_tui.sandbox.comfyui.canvas import Field, Pixels, clouds, colour, grid, mix
from persona_tui.sandbox.comfyui.landscape import paint_landscape, paint_sea
from persona_tui.sandbox.comfyui.palette import Palette, Subject, choose_palette, choose_subject, garish
from persona_tui.sandbox.comfyui.still_life import paint_kiln, paint_still_life

FLAWLESS = 0.8  # from this quality on nothing is wrong
FILM_STEPS = 4096
BRIGHTEST = 1.6
GRAIN_TILE = 384
GREY = 128
Scene = Callable[[Palette, int, int, random.Random, np.random.Generator, float], Field]
SCENES: dict[Subject, Scene] = {
    "still_life": paint_still_life,
    "kiln": paint_kiln,
    "landscape": paint_landscape,
    "sea": paint_sea,
}


def _digest(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(":".join(map(str, parts)).encode()).digest()[:8])


def quality(seed: int) -> float:
    """The hidden quality of a seed, evenly spread over 0…1."""
    return _digest("quality", seed) / 2**64


def child_quality(parent: float | None, seed: int, denoise: float) -> float:
    """Quality of a picture made from another: between its parent's and its seed's, a little better.

    Args:
        parent: the parent's quality; None: unknown, taken as 0.5.
        denoise: 0 keeps the parent, 1 forgets it.
    """
    kept = 0.5 if parent is None else parent
    return min(1.0, kept + (quality(seed) - kept) * (0.25 + 0.5 * denoise) + 0.12)


def paint(prompt: str, seed: int, width: int, height: int, *, style: str = "") -> Pixels:
    """Paint a picture of the prompt's subject in its colours.

    Args:
        seed: decides composition, light, details and quality.
        width, height: in pixels.
        style: names of checkpoint and LoRAs; the same style turns all colours alike.
    """
    good = quality(seed)
    flaw = _flaw(good)
    draw, rng = (
        random.Random(_digest("scene", seed, prompt)),
        np.random.default_rng(_digest("noise", seed, prompt)),
    )
    flaws = random.Random(_digest("flaws", seed))
    palette = choose_palette(prompt, style)
    if flaw and flaws.random() < 0.55:
        palette = garish(palette, flaw, flaws)
    subject = choose_subject(prompt, draw)
    picture = SCENES[subject](palette, width, height, draw, rng, 1 - flaw)
    return _finished(picture, flaw, flaws, rng)


def repaint(
    base: Pixels, prompt: str, seed: int, denoise: float, *, parent: float | None = None, style: str = ""
) -> Pixels:
    """Paint over a picture: it stays recognisable, the smaller `denoise` the more; cleaner and crisper.

    Args:
        base: the picture to start from; the size stays.
        denoise: 0 keeps it … 1 paints anew.
        parent: quality of `base`, where known.
    """
    height, width = base.shape[:2]
    if denoise >= 0.98:
        return paint(prompt, seed, width, height, style=style)
    if denoise <= 0.01:
        return base
    rng, flaws = np.random.default_rng(_digest("over", seed)), random.Random(_digest("flaws", seed))
    palette = choose_palette(prompt, style)
    smooth = Image.fromarray(base).filter(ImageFilter.BoxBlur(0.6))
    moved = _warped(smooth, rng, denoise * 0.03 * min(width, height))
    picture = np.asarray(moved, dtype=np.float32) / np.float32(255)
    picture = _levelled(picture)
    picture = _relit(picture, palette, rng, denoise)
    flaw = _flaw(child_quality(parent, seed, denoise)) * 0.7
    return _finished(picture, flaw, flaws, rng)


def _flaw(good: float) -> float:
    return math.pow(max(0.0, (FLAWLESS - good) / FLAWLESS), 1.15)


def _warped(image: Image.Image, rng: np.random.Generator, reach: float) -> Image.Image:
    """Move the corners of a mesh by up to `reach` pixels: shapes vary, nothing tears."""
    columns, rows = 8, 10
    across = np.linspace(0, image.width, columns + 1)
    down = np.linspace(0, image.height, rows + 1)
    shift = [clouds(rng, columns + 1, rows + 1, 2, 3, 1) * reach for _ in range(2)]
    corners = np.stack([across[None, :] + shift[0], down[:, None] + shift[1]], axis=-1)
    mesh = []
    for row in range(rows):
        for column in range(columns):
            box = (int(across[column]), int(down[row]), int(across[column + 1]), int(down[row + 1]))
            # Corners in Pillow's order: upper left, lower left, lower right, upper right.
            quad = corners[[row, row + 1, row + 1, row], [column, column, column + 1, column + 1]]
            mesh.append((box, tuple(float(value) for value in quad.reshape(-1))))
    edge = int(reach) + 2
    moved = image.transform(image.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)
    inner = moved.crop((edge, edge, image.width - edge, image.height - edge))
    return inner.resize(image.size, Image.Resampling.BICUBIC)


def _levelled(picture: Field) -> Field:
    """Stretch to the full range, gently: mends a blown or drowned exposure."""
    low, high = np.percentile(picture[::8, ::8], (1, 99))
    return mix(picture, np.clip((picture - low) / max(0.2, high - low), 0, 1), 0.6)


def _relit(picture: Field, palette: Palette, rng: np.random.Generator, denoise: float) -> Field:
    """New light and a breath of the prompt's colours, by `denoise`."""
    height, width = picture.shape[:2]
    light = clouds(rng, width, height, 2, 2, 2)[..., None] * np.float32(0.22 * denoise)
    grey = picture.mean(axis=-1, keepdims=True)
    toned = mix(colour(palette.shade), colour(palette.light), grey)
    return mix(picture * (1 + light), toned, 0.22 * denoise)


def _finished(picture: Field, flaw: float, flaws: random.Random, rng: np.random.Generator) -> Pixels:
    """Develop in place: vignette, exposure, film curve, what goes wrong by `flaw`, then grain."""
    height, width = picture.shape[:2]
    x, y = grid(width, height)
    exposure = 1.0
    if flaw and flaws.random() < 0.6:
        exposure = 1 + flaw * flaws.choice((0.8, 0.5, -0.5))
    corner = ((x - 0.5) ** 2 + (y - 0.5) ** 2) * np.float32(0.5)
    picture *= ((1.02 - corner) * np.float32(exposure * FILM_STEPS / BRIGHTEST))[..., None]
    np.clip(picture, 0, FILM_STEPS - 1, out=picture)
    image = _spoiled(Image.fromarray(FILM.take(picture.astype(np.uint16))), flaw, flaws)
    noisy = 0.011 + (0.1 * flaw if flaw and flaws.random() < 0.5 else 0.0)
    return np.asarray(ImageChops.add(image, _grain(width, height, noisy, rng), offset=-GREY))


def _grain(width: int, height: int, strength: float, rng: np.random.Generator) -> Image.Image:
    """Film grain about middle grey, from a tile that is laid edge to edge."""
    tile = rng.standard_normal((min(height, GRAIN_TILE), min(width, GRAIN_TILE)), dtype=np.float32)
    grey = np.clip(tile * np.float32(strength * 255) + GREY, 0, 255).astype(np.uint8)
    repeats = (-(-height // grey.shape[0]), -(-width // grey.shape[1]))
    plane = Image.fromarray(np.tile(grey, repeats)[:height, :width])
    return Image.merge("RGB", (plane, plane, plane))


def _film_curve() -> Pixels:
    """Light 0…BRIGHTEST to 8-bit tones: a soft shoulder above, a little depth below."""
    light = np.linspace(0, BRIGHTEST, FILM_STEPS)
    shoulder = np.where(light > 0.8, 0.8 + 0.2 * np.tanh((light - 0.8) / 0.3), light)
    tone = shoulder + 0.18 * shoulder * (1 - shoulder) * (2 * shoulder - 1)
    return np.asarray(np.clip(tone * 255 + 0.5, 0, 255), dtype=np.uint8)


FILM = _film_curve()


def _spoiled(image: Image.Image, flaw: float, flaws: random.Random) -> Image.Image:
    """Blur and tilt by `flaw`."""
    if not flaw:
        return image
    if flaws.random() < 0.7:
        image = image.filter(ImageFilter.GaussianBlur(flaw * min(image.size) * 0.009))
    if flaws.random() < 0.65:
        angle = flaw * flaws.choice((-1, 1)) * flaws.uniform(4, 10)
        zoom = 1 + abs(angle) * 0.024
        large = image.resize((int(image.width * zoom), int(image.height * zoom)), Image.Resampling.BILINEAR)
        turned = large.rotate(angle, Image.Resampling.BILINEAR)
        left, top = (large.width - image.width) // 2, (large.height - image.height) // 2
        image = turned.crop((left, top, left + image.width, top + image.height))
    return image
