"""Still lifes: pots and fruit on a table, a wall, light from a window or from a kiln."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from persona_tui.sandbox.comfyui.canvas import (
    Field,
    clouds,
    colour,
    grid,
    mix,
    noise,
    smoothstep,
    soft,
    vertical,
)
from persona_tui.sandbox.comfyui.foliage import draw_branches
from persona_tui.sandbox.comfyui.palette import Colour, Palette
from persona_tui.sandbox.comfyui.vessels import SHAPE_RATIO, SOLID, TALL, Lamp, Vessel, draw_vessel, outline

SMALL = 4  # soft things are drawn this much smaller
FRUIT: tuple[tuple[Colour, Colour], ...] = (
    # skin and blush
    ((0.93, 0.76, 0.28), (0.9, 0.62, 0.2)),
    ((0.9, 0.53, 0.2), (0.82, 0.36, 0.16)),
    ((0.74, 0.7, 0.36), (0.82, 0.52, 0.28)),
    ((0.5, 0.22, 0.3), (0.36, 0.16, 0.3)),
    ((0.78, 0.27, 0.2), (0.86, 0.5, 0.24)),
)
LEAVES: tuple[Colour, ...] = ((0.36, 0.46, 0.32), (0.44, 0.5, 0.38), (0.3, 0.42, 0.36), (0.5, 0.5, 0.3))


def paint_still_life(
    palette: Palette, width: int, height: int, draw: random.Random, rng: np.random.Generator, care: float
) -> Field:
    """Paint pots on a table before a wall in window light.

    Args:
        care: 0 clumsy … 1 well composed.
    """
    horizon = int(height * draw.uniform(0.63, 0.7))
    side = draw.choice((-1, 1))
    lamp = Lamp(_unit(0.62 * side, -0.5, 0.62), palette.light, mix_colours(palette.low, palette.shade, 0.35))
    vessels = _arrange(palette, width, height, horizon, draw, care)
    picture = _room(_dressed(palette, draw), width, height, horizon, rng)
    picture *= _window_light(palette, width, height, horizon, side, draw)
    _cast_shadows(picture, vessels, side, horizon, palette)
    for vessel in sorted(vessels, key=lambda one: one.base):
        if vessel.shape in ("vase", "bottle", "amphora", "cylinder") and draw.random() < 0.62:
            petals = draw.choice((*palette.accents, None, None))
            draw_branches(picture, vessel.mouth, vessel.height * draw.uniform(0.75, 1.05) + 0.1 * height,
                          draw.choice(LEAVES), petals, draw, count=draw.choice((2, 3, 3, 4)))  # fmt: skip
        draw_vessel(picture, vessel, lamp, rng)
    return picture


def paint_kiln(
    palette: Palette, width: int, height: int, draw: random.Random, rng: np.random.Generator, care: float
) -> Field:
    """Paint pots before the glowing mouth of a kiln."""
    horizon = int(height * draw.uniform(0.66, 0.72))
    x, y = grid(width, height)
    centre, half = draw.uniform(0.42, 0.58), draw.uniform(0.27, 0.33)
    spring, floor = draw.uniform(0.3, 0.36), horizon / height
    arch = _arch(x, y, centre, half, spring, floor, width / height)
    bricks = _bricks(palette, width, height, rng)
    flame = clouds(rng, width, height, 3, 5, 3)
    away = np.sqrt(((x - centre) / half) ** 2 + ((y - floor) / (floor - spring + half)) ** 2)
    heat = np.clip(1.15 - 0.75 * away + 0.18 * flame, 0, 1)
    glow = _heat_colour(heat)
    halo = np.exp(-np.clip(away - 0.75, 0, None) * 2.1)[..., None]
    wall = bricks * (0.3 + 1.25 * halo * colour((1.0, 0.56, 0.26)))
    picture = mix(wall, glow, smoothstep(0.0, 0.02, arch)[..., None])
    _kiln_floor(picture, palette, horizon, centre, rng)
    lamp = Lamp(
        _unit(0.25 * (1 if centre > 0.5 else -1), -0.55, -0.12), (1.0, 0.66, 0.34), (0.3, 0.17, 0.13), 1.0
    )
    vessels = _arrange(palette, width, height, horizon, draw, care)
    _cast_shadows(picture, vessels, 1 if centre > 0.5 else -1, horizon, palette)
    for vessel in sorted(vessels, key=lambda one: one.base):
        draw_vessel(picture, vessel, lamp, rng)
    _sparks(picture, centre, floor, draw)
    return picture


def mix_colours(first: Colour, second: Colour, share: float) -> Colour:
    """A colour between two."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def _unit(x: float, y: float, z: float) -> tuple[float, float, float]:
    length = math.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length


def _dressed(palette: Palette, draw: random.Random) -> Palette:
    """The room's own colours: a wall that leans to one of the accents, a table of wood, linen or slate."""
    accent = draw.choice(palette.accents)
    lean = draw.choice((0.0, 0.12, 0.3, 0.45))
    table = draw.choice(
        (palette.ground, palette.ground, (0.86, 0.82, 0.75), mix_colours(palette.shade, palette.ground, 0.35))
    )
    return replace(
        palette,
        high=mix_colours(palette.high, accent, lean),
        low=mix_colours(palette.low, accent, lean * 0.7),
        ground=mix_colours(table, palette.low, 0.08),
    )


def _room(palette: Palette, width: int, height: int, horizon: int, rng: np.random.Generator) -> Field:
    """Wall with a breath of plaster, table with a grain and a soft far edge."""
    picture = np.empty((height, width, 3), dtype=np.float32)
    plaster = clouds(rng, width, horizon, 3, 3, 4)[..., None]
    wall = vertical(horizon, (0.0, palette.high), (1.0, palette.low))
    picture[:horizon] = wall * (1 + 0.045 * plaster)
    deep = height - horizon
    grain = (
        noise(rng, width, deep, 4, max(8, deep // 7)) + 0.6 * noise(rng, width, deep, 9, max(8, deep // 3))
    )[..., None]
    near = mix_colours(palette.ground, palette.shade, 0.16)
    table = vertical(
        deep, (0.0, mix_colours(palette.ground, palette.light, 0.3)), (0.4, palette.ground), (1.0, near)
    )
    picture[horizon:] = table * (1 + 0.035 * grain)
    edge = np.linspace(1, 0, max(2, deep // 14), dtype=np.float32)[:, None, None]
    picture[horizon : horizon + edge.shape[0]] *= 1 - 0.12 * edge
    return picture


def _window_light(
    palette: Palette, width: int, height: int, horizon: int, side: int, draw: random.Random
) -> Field:
    """Light on wall and table: a slanting window with its bars, a plant's shadow in it, shade elsewhere."""
    small_w, small_h = max(8, width // SMALL), max(8, height // SMALL)
    mask = Image.new("L", (small_w, small_h), 0)
    pen = ImageDraw.Draw(mask)
    left = draw.uniform(0.08, 0.3) if side < 0 else draw.uniform(0.28, 0.5)
    top, wide, tall, slant = draw.uniform(0.0, 0.12), draw.uniform(0.42, 0.55), 0.62, draw.uniform(0.1, 0.22)
    lean = -side * slant

    def corner(u: float, v: float) -> tuple[float, float]:
        return (left + u * wide + v * lean) * small_w, (top + v * tall + u * lean * 0.25) * small_h

    columns, rows = draw.choice((2, 2, 3)), draw.choice((2, 3))
    for column in range(columns):
        for row in range(rows):
            u0, u1 = (column + 0.045) / columns, (column + 0.955) / columns
            v0, v1 = (row + 0.04) / rows, (row + 0.96) / rows
            pen.polygon([corner(u0, v0), corner(u1, v0), corner(u1, v1), corner(u0, v1)], fill=255)
    _plant_shadow(pen, corner, draw, small_w)
    patch = soft(mask, small_w * 0.012, width, height)
    x, y = grid(width, height)
    fall = np.clip(1.06 - 0.34 * np.abs(x - (0.1 if side < 0 else 0.9)) - 0.1 * y, 0, 2)
    beam = patch * np.float32(0.5)
    beam[horizon:] *= 0.55
    shade = colour(mix_colours((1.0, 1.0, 1.0), palette.shade, 0.17))
    return np.asarray(
        shade * (0.93 * fall)[..., None] + beam[..., None] * colour(palette.light), dtype=np.float32
    )


def _plant_shadow(
    pen: ImageDraw.ImageDraw,
    corner: Callable[[float, float], tuple[float, float]],
    draw: random.Random,
    span: int,
) -> None:
    """The shadow of a twig outside the window, cut out of the light."""
    if draw.random() < 0.3:
        return
    x, y = corner(draw.choice((0.0, 1.0)), draw.uniform(0.1, 0.5))
    angle = draw.uniform(-0.5, 0.6) if x < span / 2 else math.pi + draw.uniform(-0.6, 0.5)
    for _ in range(9):
        step = span * 0.045
        nx, ny = x + step * math.cos(angle), y + step * math.sin(angle)
        pen.line([(x, y), (nx, ny)], fill=60, width=max(1, span // 110))
        for turn in (-0.9, 0.9):
            tip = (nx + 1.5 * step * math.cos(angle + turn), ny + 1.5 * step * math.sin(angle + turn))
            mid = ((nx + tip[0]) / 2, (ny + tip[1]) / 2)
            wide = step * 0.34
            pen.polygon(
                [(nx, ny), (mid[0] - wide, mid[1] + wide), tip, (mid[0] + wide, mid[1] - wide)], fill=70
            )
        x, y, angle = nx, ny, angle + draw.uniform(-0.16, 0.2)


def _arrange(
    palette: Palette, width: int, height: int, horizon: int, draw: random.Random, care: float
) -> list[Vessel]:
    """Three to six things: one tall behind, a middle one, low ones in front; careless hands crowd an edge."""
    unit = min(width, height * 0.8)
    depth = height - horizon
    accents = list(palette.accents)
    draw.shuffle(accents)
    flip = draw.choice((-1, 1))
    focus = 0.5 + flip * draw.uniform(0.05, 0.12)
    focus += (1 - care) * draw.choice((-1, 1)) * draw.uniform(0.12, 0.34)
    clay = mix_colours(palette.ground, (0.72, 0.55, 0.42), 0.5)
    plan = [
        (draw.choice(TALL), 0.0, 0.30, draw.uniform(0.25, 0.32)),
        (
            draw.choice(("moon jar", "bowl", "cylinder", "vase", "cup")),
            flip * -0.27,
            0.44,
            draw.uniform(0.22, 0.28),
        ),
        (draw.choice(("bowl", "cup", "fruit")), flip * 0.22, 0.56, draw.uniform(0.15, 0.21)),
        (draw.choice(("fruit", "pear", "cup")), flip * -0.08, 0.68, draw.uniform(0.09, 0.12)),
        (draw.choice(("fruit", "pear")), flip * 0.05, 0.74, draw.uniform(0.085, 0.11)),
        (draw.choice(("bottle", "vase", "amphora")), flip * 0.3, 0.24, draw.uniform(0.13, 0.17)),
    ]
    chosen = plan[: draw.choice((3, 4, 5, 5))] + plan[5:] * (draw.random() < 0.45)
    fruit = draw.choice(FRUIT)
    return [
        Vessel(
            shape=shape,
            x=(focus + offset + draw.uniform(-0.02, 0.02)) * width,
            base=horizon + depth * (back - 0.12 * (1 - care) * draw.random()),
            width=size * unit * (1.0 if shape in SOLID or SHAPE_RATIO[shape] < 1.2 else 0.84),
            glaze=fruit[0] if shape in SOLID else accents[number % len(accents)],
            clay=fruit[1] if shape in SOLID else clay,
            dip=draw.choice((1.0, 0.62, 0.7, 0.78, 1.0)),
            gloss=draw.uniform(0.35, 0.95) if shape not in SOLID else 0.3,
        )
        for number, (shape, offset, back, size) in enumerate(chosen)
    ]


def _cast_shadows(picture: Field, vessels: list[Vessel], side: int, horizon: int, palette: Palette) -> None:
    """Soft shadows away from the light on the table, fainter ones on the wall, dark ones under each foot."""
    height, width = picture.shape[:2]
    size = (max(8, width // SMALL), max(8, height // SMALL))
    table, wall, contact = (Image.new("L", size, 0) for _ in range(3))
    for vessel in vessels:
        away = -side
        flat = [(x / SMALL, y / SMALL) for x, y in outline(vessel, lean=away * 0.62, squash=0.2)]
        ImageDraw.Draw(table).polygon(flat, fill=190)
        thrown = [
            ((x + away * vessel.width * 0.75) / SMALL, (y + vessel.height * 0.06) / SMALL)
            for x, y in outline(vessel, lean=away * 0.12, squash=0.94)
        ]
        ImageDraw.Draw(wall).polygon(thrown, fill=120)
        foot = vessel.width * 0.5 * (0.62 if vessel.shape in SOLID else 0.56)
        box = [(vessel.x - foot) / SMALL, (vessel.base - foot * 0.16) / SMALL,
               (vessel.x + foot) / SMALL, (vessel.base + foot * 0.3) / SMALL]  # fmt: skip
        ImageDraw.Draw(contact).ellipse(box, fill=255)
    dark = soft(table, size[0] * 0.011, width, height) * np.float32(0.72)
    dark[:horizon] = soft(wall, size[0] * 0.035, width, height)[:horizon] * np.float32(0.7)
    dark = np.clip(dark + soft(contact, size[0] * 0.006, width, height) * np.float32(0.62), 0, 0.82)
    tint = colour(mix_colours((0.0, 0.0, 0.0), palette.shade, 0.45))
    picture *= 1 - dark[..., None] * (1 - tint)


def _arch(
    x: Field, y: Field, centre: float, half: float, spring: float, floor: float, aspect: float
) -> Field:
    """Positive inside a round-headed opening; all in shares of the picture."""
    across = (half - np.abs(x - centre)) * np.float32(aspect)
    head = half * aspect - np.sqrt(((x - centre) * aspect) ** 2 + (y - spring - half * aspect) ** 2)
    body = np.where(y < spring + half * aspect, head, across)
    return np.asarray(np.where(y < floor, body, -1), dtype=np.float32)


def _bricks(palette: Palette, width: int, height: int, rng: np.random.Generator) -> Field:
    """A brick wall, in courses."""
    course = max(6, height // 26)
    long = course * 2.3
    y = np.arange(height, dtype=np.float32)[:, None] / course
    row = np.floor(y)
    x = np.arange(width, dtype=np.float32)[None, :] / np.float32(long) + 0.5 * (row % 2)
    joint = np.minimum(np.minimum(y - row, 1 - (y - row)), np.minimum(x % 1, 1 - x % 1) * 2.3)
    table = rng.uniform(0.72, 1.15, (64, 64)).astype(np.float32)
    tone = table[(row.astype(int) % 64), (np.floor(x).astype(int) % 64)]
    rough = clouds(rng, width, height, 20, 24, 2)
    brick = (
        colour(mix_colours(palette.ground, (0.55, 0.3, 0.2), 0.6)) * (tone * (1 + 0.12 * rough))[..., None]
    )
    return np.asarray(brick * (0.45 + 0.55 * smoothstep(0.02, 0.1, joint))[..., None], dtype=np.float32)


def _heat_colour(heat: Field) -> Field:
    stops = (0.0, 0.3, 0.55, 0.78, 1.0)
    inks = ((0.16, 0.03, 0.02), (0.6, 0.13, 0.03), (0.96, 0.42, 0.07), (1.0, 0.74, 0.28), (1.0, 0.95, 0.72))
    table = np.stack(
        [np.interp(np.linspace(0, 1, 256), stops, [ink[channel] for ink in inks]) for channel in range(3)],
        axis=-1,
    ).astype(np.float32)
    return np.asarray(table[(heat * 255).astype(np.uint8)], dtype=np.float32)


def _kiln_floor(
    picture: Field, palette: Palette, horizon: int, centre: float, rng: np.random.Generator
) -> None:
    height, width = picture.shape[:2]
    deep = height - horizon
    x, y = grid(width, deep)
    stone = colour(mix_colours(palette.ground, palette.shade, 0.35)) * (
        1 + 0.1 * clouds(rng, width, deep, 5, 9, 3)[..., None]
    )
    pool = np.exp(-(((x - centre) / (0.3 + 0.35 * y)) ** 2) - y * 1.5)[..., None]
    picture[horizon:] = stone * (0.35 + 2.3 * pool * colour((1.0, 0.55, 0.24)))


def _sparks(picture: Field, centre: float, floor: float, draw: random.Random) -> None:
    height, width = picture.shape[:2]
    for _ in range(60):
        x = int((centre + draw.gauss(0, 0.16)) * width)
        y = int((floor - draw.expovariate(3.2)) * height)
        size = 1 if draw.random() < 0.7 or width < 300 else 2
        if 0 <= x < width - size and 0 <= y < height - size:
            picture[y : y + size, x : x + size] += colour((0.9, 0.5, 0.16)) * np.float32(draw.uniform(0.3, 1))
