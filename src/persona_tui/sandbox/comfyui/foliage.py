"""Branches, leaves, blossoms and grasses, drawn as polygons at twice the size and scaled down."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from PIL import Image, ImageDraw

from persona_tui.sandbox.comfyui.canvas import Field, lay_image
from persona_tui.sandbox.comfyui.palette import Colour

OVER = 2  # drawn this much larger, for smooth edges

Point = tuple[float, float]


def _ink(value: Colour, light: float = 1.0) -> tuple[int, int, int, int]:
    red, green, blue = (max(0, min(255, round(channel * light * 255))) for channel in value)
    return red, green, blue, 255


def _leaf(at: Point, angle: float, length: float, breadth: float) -> list[Point]:
    """A pointed leaf that starts at `at` and points along `angle`."""
    sides: list[Point] = []
    for side in (1, -1):
        steps = range(9) if side == 1 else range(8, -1, -1)
        for step in steps:
            along = step / 8
            wide = breadth * math.sin(math.pi * along**0.8) * side
            sides.append(
                (
                    at[0] + along * length * math.cos(angle) - wide * math.sin(angle),
                    at[1] + along * length * math.sin(angle) + wide * math.cos(angle),
                )
            )
    return sides


def _stem(
    start: Point, angle: float, length: float, bend: float, steps: int
) -> list[tuple[float, float, float]]:
    """Points (x, y, heading) along a bending stem."""
    x, y = start
    points = [(x, y, angle)]
    for _ in range(steps):
        angle += bend / steps
        x += length / steps * math.cos(angle)
        y += length / steps * math.sin(angle)
        points.append((x, y, angle))
    return points


def _blossom(pen: ImageDraw.ImageDraw, at: Point, size: float, petal: Colour, draw: random.Random) -> None:
    spin = draw.uniform(0, 6.28)
    for number in range(5):
        angle = spin + number * 2 * math.pi / 5
        shade = draw.uniform(0.88, 1.1)
        pen.polygon(_leaf(at, angle, size, size * 0.42), fill=_ink(petal, shade))
    core = size * 0.22
    pen.ellipse((at[0] - core, at[1] - core, at[0] + core, at[1] + core), fill=_ink((0.86, 0.66, 0.25)))


def _leafy(pen: ImageDraw.ImageDraw, points: Sequence[tuple[float, float, float]], size: float, leaf: Colour,
           petals: Colour | None, draw: random.Random) -> None:  # fmt: skip
    for index, (x, y, heading) in enumerate(points):
        if index < 3:
            continue
        side = 1 if index % 2 else -1
        angle = heading + side * draw.uniform(0.5, 1.1)
        length = size * draw.uniform(0.75, 1.2) * (1.15 - 0.5 * index / len(points))
        breadth = length * draw.uniform(0.2, 0.3)
        shape = _leaf((x, y), angle, length, breadth)
        pen.polygon(shape, fill=_ink(leaf, draw.uniform(0.8, 1.12)))
        pen.polygon(shape[:9], fill=_ink(leaf, draw.uniform(1.08, 1.3)))
        if petals is not None and draw.random() < 0.5:
            _blossom(pen, (x, y), size * draw.uniform(0.35, 0.5), petals, draw)


def draw_branches(
    picture: Field, mouth: tuple[float, float, float], reach: float, leaf: Colour, petals: Colour | None,
    draw: random.Random, *, count: int = 3,
) -> None:  # fmt: skip
    """Put a bunch of leafy stems into a vessel's mouth (x, y, radius in pixels), in place.

    Args:
        reach: length of the longest stem in pixels.
        petals: colour of blossoms, or None: leaves alone.
    """
    span = int(reach * 1.3)
    width, height = 2 * span * OVER, int((span + mouth[2] * 0.2 + 4) * OVER)
    layer = Image.new("RGBA", (width, height), (*_ink(leaf)[:3], 0))
    pen = ImageDraw.Draw(layer)
    foot_y = span * OVER
    for number in range(count):
        spread = (number - (count - 1) / 2) * 0.42 + draw.uniform(-0.16, 0.16)
        start = (width / 2 + spread * mouth[2] * OVER, float(foot_y) + mouth[2] * 0.1)
        length = reach * OVER * draw.uniform(0.72, 1.0)
        stem = _stem(start, -math.pi / 2 + spread * 0.8, length, spread * 0.9 + draw.uniform(-0.25, 0.25), 15)
        bark = tuple(0.55 * channel + 0.12 for channel in leaf)
        pen.line([(x, y) for x, y, _ in stem], fill=_ink((bark[0] + 0.08, bark[1], bark[2])),
                 width=max(2, int(reach * 0.016 * OVER)), joint="curve")  # fmt: skip
        _leafy(pen, stem, reach * 0.17 * OVER, leaf, petals, draw)
    small = layer.resize((width // OVER, height // OVER), Image.Resampling.BOX)
    lay_image(picture, small, int(mouth[0] - span), int(mouth[1] - span))


def draw_grass(
    picture: Field,
    base: float,
    tall: float,
    colours: tuple[Colour, Colour],
    draw: random.Random,
    *,
    blades: int,
) -> None:
    """Grasses across the picture, in place: `base` is the y of their feet, `tall` their height in pixels."""
    width = picture.shape[1]
    height = int(tall * 1.25)
    layer = Image.new("RGBA", (width * OVER, height * OVER), (*_ink(colours[0])[:3], 0))
    pen = ImageDraw.Draw(layer)
    for _ in range(blades):
        x = draw.uniform(-0.05, 1.05) * width * OVER
        length = tall * draw.betavariate(2, 2.5) * OVER * 1.2
        lean = draw.gauss(0.1, 0.22)
        mixed = draw.random()
        ink = tuple(a + (b - a) * mixed for a, b in zip(*colours, strict=True))
        stem = _stem((x, height * OVER), -math.pi / 2 + lean * 0.4, length, lean, 6)
        breadth = max(1.0, length * 0.012)
        left = [(px - breadth * (1 - i / 6.5), py) for i, (px, py, _) in enumerate(stem)]
        right = [(px + breadth * (1 - i / 6.5), py) for i, (px, py, _) in enumerate(stem)]
        pen.polygon(left + right[::-1], fill=_ink((ink[0], ink[1], ink[2])))
        if draw.random() < 0.22:
            tip_x, tip_y, heading = stem[-1]
            pen.polygon(
                _leaf((tip_x, tip_y), heading, length * 0.16, length * 0.02), fill=_ink(colours[1], 1.15)
            )
    small = layer.resize((width, height), Image.Resampling.BOX)
    lay_image(picture, small, 0, int(base - height))
