"""Colours, light and subject of a painting, chosen by the prompt's words."""

from __future__ import annotations

import colorsys
import hashlib
import random
import re
from dataclasses import dataclass, replace
from typing import Literal

Colour = tuple[float, float, float]
Subject = Literal["still_life", "landscape", "sea", "kiln"]


@dataclass(frozen=True)
class Palette:
    """The colours of one painting; each channel 0…1 in display space.

    Attributes:
        high: wall or sky at the top.
        low: wall or sky near the horizon.
        ground: table, land or water in the foreground.
        accents: glazes, fruit, flowers.
        light: colour of the lit side.
        shade: colour that shadows lean to.
    """

    high: Colour
    low: Colour
    ground: Colour
    accents: tuple[Colour, ...]
    light: Colour
    shade: Colour


def _rgb(text: str) -> Colour:
    value = int(text, 16)
    return (value >> 16) / 255, (value >> 8 & 255) / 255, (value & 255) / 255


def _palette(high: str, low: str, ground: str, accents: str, light: str, shade: str) -> Palette:
    return Palette(
        _rgb(high), _rgb(low), _rgb(ground), tuple(map(_rgb, accents.split())), _rgb(light), _rgb(shade)
    )


PALETTES = {
    "dawn": _palette("7d93b8", "f6cdb0", "b98b6f", "e9a58c d7c4b7 8fa3b0 f3e4d2 c4745c", "ffe2c2", "4a4660"),
    "morning": _palette(
        "d5dcd8", "f4e9d4", "c9a67c", "f5efe2 9db4a0 e0b07a 7f9aa6 d8826a", "fff1d6", "5d6470"
    ),
    "sunset": _palette(
        "4b4a78", "f2a065", "8a5848", "f0c27a d9694a 7c5a78 f4e2c4 3f5a6b", "ffc98a", "382f4a"
    ),
    "night": _palette("141c34", "34476b", "26304a", "c9d4e6 6f86b0 d8b98a 8c7aa8 3d5876", "c6d6f2", "0a0e1c"),
    "sea": _palette("8fbccb", "e4ece4", "3f7f8f", "f2ead8 2f6f83 e7b98a 86b7b4 d96f57", "fff4dc", "1f4354"),
    "kiln": _palette("241816", "6b2e18", "4a3026", "c8642c 8e7b68 e0a050 5d6a68 d9c8ae", "ffb060", "140c0a"),
    "glaze": _palette("d9d8c8", "f0e6d2", "b8906a", "9fbfa8 ece2cc 4f7f80 c98b5b 6b8ca6", "fff0d6", "565a54"),
    "clay": _palette("d9b79a", "efdcc4", "9c6a4c", "b9623f e6cfae 7d4a36 d99a68 8c9384", "ffe8c8", "5a3a30"),
    "garden": _palette(
        "a9bf9a", "e6ead0", "7f8c5a", "f2e6c8 c9653f 5f7f56 e8bf5a b7c9a4", "fff6d2", "35462f"
    ),
    "winter": _palette(
        "b4c4d4", "eef2f4", "cfd8e0", "e8eef2 7f98b0 b05a54 c8b8a0 56708a", "ffffff", "54647c"
    ),
    "lavender": _palette(
        "b7aed0", "f0dfe4", "8f7f9c", "efe6ee 8a76b4 d99ab0 a8bfa8 e8c88a", "fff0ea", "4a4066"
    ),
    "desert": _palette(
        "8fb0c0", "f2d6a8", "c98f56", "e0a060 a8583a f2e2c0 6f8f8a d8b888", "ffe6b4", "6a4030"
    ),
    "coffee": _palette(
        "8a7664", "d8c2a4", "6b4a36", "efe4d2 4a3a32 b98a5a 8f9a8a d0a878", "ffe6c2", "2e221c"
    ),
    "rain": _palette("7f8c96", "c4ccce", "5f6a70", "d8dcd8 5a7684 a8b4a8 c49a78 8a8496", "eef2f0", "333c44"),
}

# The first palette with a word in the prompt wins; several words of one palette weigh more.
WORDS = {
    "dawn": "dawn sunrise daybreak peach blush pink rose early",
    "morning": "morning breakfast bright airy linen fresh daylight window soft white cozy cosy home",
    "sunset": "sunset dusk evening golden hour amber warm glow autumn fall",
    "night": "night moon moonlit midnight stars starry dark indigo candle",
    "sea": "sea ocean beach coast wave waves shore harbour harbor lake water sail island surf blue",
    "kiln": "kiln fire flame ember embers firing raku wood-fired smoke furnace forge",
    "glaze": "glaze glazed celadon porcelain ceramic ceramics pottery vase bowl tea cup jar studio stoneware",
    "clay": "clay terracotta earthenware wheel throwing hands potter earth rustic brick",
    "garden": "garden forest leaf leaves green plant plants meadow herb spring field moss olive tree",
    "winter": "winter snow ice frost cold snowy christmas",
    "lavender": "lavender lilac violet purple provence orchid",
    "desert": "desert sand dune dunes canyon dry cactus mesa",
    "coffee": "coffee cafe café espresso bakery wood library book chocolate market",
    "rain": "rain rainy fog foggy grey gray cloudy storm city street",
}
# Words of light say more on colours than words of place.
LIGHTS = {"dawn": 2.5, "sunset": 2.5, "night": 2.5, "winter": 2.0, "rain": 2.0, "kiln": 1.5}
SUBJECTS: dict[Subject, str] = {
    "kiln": "kiln firing raku furnace forge wood-fired",
    "sea": "sea ocean beach coast shore harbour harbor lake sail island surf waves wave",
    "landscape": "landscape mountain mountains hill hills valley field fields meadow desert dune dunes sky "
    "horizon forest outdoor outdoors hike travel vineyard view road snow winter",
    "still_life": "vase bowl jar cup tea ceramic ceramics pottery porcelain glaze still life table kitchen "
    "studio fruit flower flowers breakfast coffee shelf clay stoneware interior window",
}


def words_of(prompt: str) -> list[str]:
    """The prompt's words in lower case, in order."""
    return re.findall(r"[a-zà-ÿ-]+", prompt.lower())


def _points(words: list[str], listed: str) -> float:
    """How well a list fits; an earlier word weighs a little more."""
    known = set(listed.split())
    return sum(1.0 / (1.0 + 0.03 * place) for place, word in enumerate(words) if word in known)


def _draw(prompt: str, salt: str) -> random.Random:
    return random.Random(hashlib.sha256(f"{salt}:{prompt}".encode()).digest())


def choose_palette(prompt: str, style: str = "") -> Palette:
    """The palette that fits the prompt's words best; without a known word, one drawn from the prompt.

    Args:
        style: `weights|lora@strength|…`; the weights turn all hues a little, so that a style is recognisable,
            each LoRA turns them further, the stronger the more.
    """
    words = words_of(prompt)
    points = {name: _points(words, listed) * LIGHTS.get(name, 1.0) for name, listed in WORDS.items()}
    best = max(points, key=lambda name: points[name])
    if not points[best]:
        best = _draw(prompt, "palette").choice(["dawn", "morning", "glaze", "garden", "sunset", "clay"])
    return turned(PALETTES[best], _turn_of(style)) if style else PALETTES[best]


def _turn_of(style: str) -> float:
    """How far a style turns the colour circle."""
    weights, *loras = style.split("|")
    turn = _draw(weights, "style").uniform(-0.03, 0.03)
    for lora in loras:
        name, _, strength = lora.rpartition("@")
        turn += _draw(name, "lora").uniform(0.08, 0.16) * float(strength)
    return turn


def choose_subject(prompt: str, draw: random.Random) -> Subject:
    """What to paint: by the prompt's words; without a known word mostly a still life."""
    words = words_of(prompt)
    points = {subject: _points(words, listed) for subject, listed in SUBJECTS.items()}
    best = max(points, key=lambda subject: points[subject])
    if points[best]:
        return best
    return "landscape" if draw.random() < 0.3 else "still_life"


def turned(palette: Palette, turn: float) -> Palette:
    """The palette with hues turned by `turn` of the colour circle."""
    return Palette(
        high=_turn(palette.high, turn),
        low=_turn(palette.low, turn),
        ground=_turn(palette.ground, turn),
        accents=tuple(_turn(colour, turn) for colour in palette.accents),
        light=palette.light,
        shade=_turn(palette.shade, turn),
    )


def _turn(colour: Colour, turn: float) -> Colour:
    hue, lightness, saturation = colorsys.rgb_to_hls(*colour)
    return colorsys.hls_to_rgb((hue + turn) % 1.0, lightness, saturation)


def garish(palette: Palette, amount: float, draw: random.Random) -> Palette:
    """The palette with accents that clash: hues thrown about and saturation driven up by `amount` 0…1."""
    accents = []
    for colour in palette.accents:
        hue, lightness, saturation = colorsys.rgb_to_hls(*colour)
        hue = (hue + amount * draw.uniform(-0.4, 0.4)) % 1.0
        accents.append(colorsys.hls_to_rgb(hue, lightness, min(1.0, saturation * (1 + 1.2 * amount))))
    return replace(palette, accents=tuple(accents))
