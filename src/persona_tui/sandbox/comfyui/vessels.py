"""Turned pots and round fruit: profiles rotated about an axis, lit, glazed and laid into a picture."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from persona_tui.sandbox.comfyui.canvas import Field, clouds, colour, lay, mix, smoothstep
from persona_tui.sandbox.comfyui.palette import Colour

PROFILES: dict[str, tuple[tuple[float, float], ...]] = {
    # (place from the top 0…1, radius relative to the greatest)
    "moon jar": (
        (0, 0.36),
        (0.05, 0.34),
        (0.1, 0.42),
        (0.3, 0.86),
        (0.52, 1),
        (0.74, 0.88),
        (0.95, 0.5),
        (1, 0.46),
    ),
    "bottle": (
        (0, 0.24),
        (0.03, 0.2),
        (0.3, 0.17),
        (0.42, 0.3),
        (0.6, 0.86),
        (0.75, 1),
        (0.93, 0.88),
        (1, 0.72),
    ),
    "vase": ((0, 0.52), (0.04, 0.44), (0.17, 0.38), (0.34, 0.72), (0.5, 1), (0.75, 0.8), (1, 0.44)),
    "amphora": ((0, 0.5), (0.05, 0.42), (0.2, 0.38), (0.36, 0.82), (0.5, 1), (0.8, 0.64), (1, 0.36)),
    "cylinder": ((0, 0.82), (0.03, 0.78), (0.2, 0.84), (0.5, 0.92), (0.85, 1), (0.97, 0.94), (1, 0.86)),
    "bowl": ((0, 1), (0.1, 0.985), (0.4, 0.86), (0.72, 0.56), (0.88, 0.36), (1, 0.38)),
    "cup": ((0, 0.94), (0.05, 0.92), (0.5, 1), (0.85, 0.92), (1, 0.74)),
    "fruit": (
        (0, 0.2),
        (0.04, 0.42),
        (0.16, 0.74),
        (0.34, 0.95),
        (0.55, 1),
        (0.78, 0.84),
        (0.93, 0.5),
        (1, 0.26),
    ),
    "pear": (
        (0, 0.16),
        (0.06, 0.3),
        (0.2, 0.42),
        (0.38, 0.56),
        (0.58, 0.9),
        (0.75, 1),
        (0.92, 0.7),
        (1, 0.4),
    ),
}
SHAPE_RATIO = {
    # height in greatest widths
    "moon jar": 0.98, "bottle": 1.9, "vase": 1.45, "amphora": 1.6, "cylinder": 1.7, "bowl": 0.52, "cup": 0.86,
    "fruit": 0.94, "pear": 1.3,
}  # fmt: skip
TALL = ("moon jar", "bottle", "vase", "amphora", "cylinder")
SOLID = ("fruit", "pear")
FIRST_PLACE, LAST_PLACE, STEPS = -0.05, 1.05, 2048
TILT = 0.15  # seen from a little above: a level circle shows as an ellipse this flat


@dataclass(frozen=True)
class Lamp:
    """The light of a scene.

    Attributes:
        direction: unit vector to the light; x right, y down, z to the viewer.
        warm: colour of lit surfaces.
        ambient: colour that fills the shade.
        strength: how far the lit side outshines the shade.
    """

    direction: tuple[float, float, float]
    warm: Colour
    ambient: Colour
    strength: float = 0.78


@dataclass(frozen=True)
class Vessel:
    """One thing on the table, in pixels of the picture.

    Attributes:
        shape: key of PROFILES.
        x: centre; base: y of its foot; width: greatest diameter; all in pixels.
        glaze: its main colour; clay: the bare body below the glaze.
        dip: where the glaze ends, from the top 0…1 (1: covers all).
        gloss: 0 matt … 1 glassy.
    """

    shape: str
    x: float
    base: float
    width: float
    glaze: Colour
    clay: Colour
    dip: float = 1.0
    gloss: float = 0.6

    @property
    def height(self) -> float:
        """In pixels."""
        return self.width * SHAPE_RATIO[self.shape]

    @property
    def mouth(self) -> tuple[float, float, float]:
        """Centre x, y and radius of the opening."""
        return self.x, self.base - self.height, self.width / 2 * PROFILES[self.shape][0][1]


@functools.cache
def _turned(shape: str) -> tuple[Field, Field]:
    """Radius (relative to half the width) and slope of a shape, from above its top to below its foot."""
    points = PROFILES[shape]
    at = np.asarray([point[0] for point in points])
    value = np.asarray([point[1] for point in points])
    tangent = np.gradient(value, at)
    dense = np.linspace(FIRST_PLACE, LAST_PLACE, STEPS)
    inside = np.clip(dense, 0, 1)
    left = np.clip(np.searchsorted(at, inside, side="right") - 1, 0, len(at) - 2)
    span = at[left + 1] - at[left]
    t = (inside - at[left]) / span
    # Cubic Hermite through the points, with the slopes of their neighbours.
    radius = (
        (2 * t**3 - 3 * t**2 + 1) * value[left]
        + (t**3 - 2 * t**2 + t) * span * tangent[left]
        + (3 * t**2 - 2 * t**3) * value[left + 1]
        + (t**3 - t**2) * span * tangent[left + 1]
    )
    window = np.hanning(97)
    smooth = np.convolve(np.pad(radius, 48, mode="edge"), window / window.sum(), mode="valid")
    slope = np.gradient(smooth, dense)
    return smooth.astype(np.float32), slope.astype(np.float32)


def _profile(shape: str, places: Field) -> tuple[Field, Field]:
    """Radius and its slope at these places from the top 0…1."""
    radius, slope = _turned(shape)
    scale = np.float32((STEPS - 1) / (LAST_PLACE - FIRST_PLACE))
    step = np.clip((places - np.float32(FIRST_PLACE)) * scale + 0.5, 0, STEPS - 1).astype(np.intp)
    return radius[step], slope[step]


def draw_vessel(picture: Field, vessel: Vessel, lamp: Lamp, rng: np.random.Generator) -> None:
    """Draw the vessel into the picture in place."""
    half, height = vessel.width / 2, vessel.height
    foot = half * PROFILES[vessel.shape][-1][1] * TILT
    rim = 0.0 if vessel.shape in SOLID else vessel.mouth[2] * TILT
    left, top = int(vessel.x - half) - 3, int(vessel.base - height - rim) - 3
    columns, rows = int(vessel.width) + 7, int(height + rim + foot) + 7
    x = np.arange(left, left + columns, dtype=np.float32)[None, :] - np.float32(vessel.x)
    y = np.arange(top, top + rows, dtype=np.float32)[:, None] - np.float32(vessel.base - height)
    # Level circles bulge downwards: look up the profile above the pixel by the circle's drop there.
    across = np.clip(x / np.float32(half), -1, 1)
    drop = np.sqrt(np.clip(1 - across**2, 0, 1)) * np.float32(TILT * half)
    body, _ = _profile(vessel.shape, y / np.float32(height))
    inside = np.sqrt(np.clip(1 - (x / (half * body)) ** 2, 0, 1))
    place = (y - inside * np.float32(TILT * half) * body) / np.float32(height)
    radius, slope = _profile(vessel.shape, place)
    silhouette = np.clip(half * body - np.abs(x) + 0.5, 0, 1)
    silhouette = np.where(y > height, np.clip(half * radius - np.abs(x) + 0.5, 0, 1), silhouette)
    below = np.clip((height + drop * PROFILES[vessel.shape][-1][1] - y) + 0.5, 0, 1)
    above = np.clip(y + 0.5, 0, 1)
    turn = np.clip(x / np.maximum(half * radius, 1), -0.999, 0.999)
    surface = _surface(vessel, place, turn, rng)
    shaded = _lit(vessel, lamp, surface, turn, slope * np.float32(half / height), place)
    lay(picture, shaded, np.asarray(silhouette * below * above, dtype=np.float32), left, top)
    if vessel.shape not in SOLID:
        _draw_mouth(picture, vessel, lamp, x, y, left, top)


def _surface(vessel: Vessel, place: Field, turn: Field, rng: np.random.Generator) -> Field:
    """Colour of the bare surface: glaze above, clay below a running edge, a breath of unevenness."""
    rows, columns = place.shape[0], turn.shape[1]
    uneven = clouds(rng, columns, rows, 3, 4, 3)[..., None]
    glaze = colour(vessel.glaze) * (1 + np.float32(0.07) * uneven)
    if vessel.shape in SOLID:
        blush = smoothstep(-0.2, 0.9, turn + 0.5 * uneven[..., 0])[..., None]
        return mix(glaze, colour(vessel.clay), 0.55 * blush)
    pooled = smoothstep(0.0, 0.5, place)[..., None]
    glaze = glaze * (1.06 - 0.13 * pooled)
    if vessel.dip >= 1:
        return np.asarray(glaze, dtype=np.float32)
    angle = np.arcsin(turn)
    waves = sum(
        rng.uniform(0.006, 0.022) * np.sin(rng.integers(2, 9) * angle + rng.uniform(0, 6)) for _ in range(4)
    )
    edge = place - np.float32(vessel.dip) - waves
    clay = colour(vessel.clay) * (1 + 0.05 * np.sin(place * 150)[..., None] + 0.09 * uneven)
    bare = smoothstep(-0.006, 0.006, edge)[..., None]
    rimmed = glaze * (1 - 0.28 * np.exp(-(((edge + 0.012) / 0.012) ** 2)))[..., None]
    return mix(rimmed, clay, bare)


def _lit(vessel: Vessel, lamp: Lamp, surface: Field, turn: Field, slope: Field, place: Field) -> Field:
    """Shade the surface: wrapped diffuse light, fill, bounce from the table, highlights, a rim of air."""
    front = np.sqrt(1 - turn**2)
    scale = 1 / np.sqrt(1 + slope**2)
    normal = (turn * scale, -slope * scale, front * scale)
    towards = sum(n * np.float32(d) for n, d in zip(normal, lamp.direction, strict=True))
    lit = np.clip((towards + 0.3) / 1.3, 0, 1)[..., None] ** np.float32(1.25)
    bounce = (smoothstep(0.3, 1.0, normal[1]) * 0.25 + 0.12 * smoothstep(0.2, 1, turn))[..., None]
    fill = colour(lamp.ambient) * np.float32(0.62)
    light = mix(fill, colour(lamp.warm) * np.float32(1.22), lit * np.float32(lamp.strength)) + bounce * 0.35
    light = light * (1 - 0.42 * smoothstep(0.72, 1.03, place) ** 2)[..., None]
    halfway = np.asarray(lamp.direction, dtype=np.float32) + np.asarray((0, 0, 1), dtype=np.float32)
    halfway /= np.linalg.norm(halfway)
    facing = np.clip(sum(n * h for n, h in zip(normal, halfway, strict=True)), 0, 1)
    shine = 0.62 * facing ** np.float32(90) + 0.16 * facing ** np.float32(14)
    edge = (1 - front) ** 3 * np.float32(0.16)
    gloss = np.float32(vessel.gloss)
    return np.asarray(
        surface * light
        + (shine * gloss)[..., None] * colour(lamp.warm)
        + edge[..., None] * colour(lamp.ambient),
        dtype=np.float32,
    )


def _draw_mouth(picture: Field, vessel: Vessel, lamp: Lamp, x: Field, y: Field, left: int, top: int) -> None:
    """The opening: an ellipse, dark towards the light, a bright lip around it."""
    reach = vessel.mouth[2]
    flat = max(reach * TILT, 1.5)
    away = np.sqrt((x / reach) ** 2 + (y / flat) ** 2)
    sharp = np.float32(flat)
    whole = np.clip((1 - away) * sharp + 0.5, 0, 1)
    lip = max(0.06, 2.2 / reach)
    hollow = np.clip((1 - lip - away) * sharp + 0.5, 0, 1)
    far_side = 0.5 - 0.5 * np.sign(lamp.direction[0]) * np.clip(x / reach, -1, 1)
    depth = (0.2 + 0.5 * far_side * (0.5 + 0.5 * np.clip(-y / flat, -1, 1)))[..., None]
    inner = colour(vessel.glaze) * colour(lamp.warm) * depth
    towards_light = 0.5 + 0.5 * np.sign(lamp.direction[0]) * np.clip(x / reach, -1, 1)
    rim = colour(vessel.glaze) * colour(lamp.warm) * (0.92 + 0.25 * towards_light)[..., None]
    layer = mix(np.broadcast_to(rim, inner.shape), inner, hollow[..., None])
    lay(picture, layer, np.asarray(whole, dtype=np.float32), left, top)


def outline(vessel: Vessel, *, lean: float = 0.0, squash: float = 1.0) -> list[tuple[float, float]]:
    """The silhouette as a polygon in pixels, for shadows.

    Args:
        lean: shift to the right at the top, in heights; squash: its height relative to the vessel's.
    """
    places = np.linspace(0, 1, 24, dtype=np.float32)
    radius, _ = _profile(vessel.shape, places)
    half, height = vessel.width / 2, vessel.height
    rise = (1 - places) * height
    right = [
        (vessel.x + half * r + lean * up, vessel.base - squash * up)
        for r, up in zip(radius, rise, strict=True)
    ]
    left = [
        (vessel.x - half * r + lean * up, vessel.base - squash * up)
        for r, up in zip(radius, rise, strict=True)
    ]
    return [(float(a), float(b)) for a, b in right + left[::-1]]
