"""A plain look at a picture: what a vision model might say of it, always the same of the same picture."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageStat

_SIDE = 64
_HUES = ("brick", "ceramics", "straw", "leaves", "sea", "sky", "violet cloth", "blossom")
"""By hue, in eighths of the circle from red on."""


def look(picture: bytes) -> dict[str, Any]:
    """{caption, objects, aesthetic} of a picture.

    Raises:
        OSError: it is none.
    """
    with Image.open(io.BytesIO(picture)) as image:
        small = image.convert("RGB").resize((_SIDE, _SIDE))
    hue, colourful, bright = ImageStat.Stat(small.convert("HSV")).mean
    contrast = ImageStat.Stat(small.convert("L")).stddev[0]
    place = "a dim room" if bright < 90 else "daylight" if bright > 160 else "soft light"
    thing = _HUES[int(hue * len(_HUES) / 256)] if colourful > 40 else "a plain wall"
    surface = "hard shadows" if contrast > 60 else "an even tone"
    return {
        "caption": f"{thing.capitalize()} in {place}, {surface}.",
        "objects": [
            {"label": thing, "confidence": round(0.5 + colourful / 512, 2)},
            {"label": place, "confidence": 0.6},
        ],
        "aesthetic": round(min(3 + contrast / 16 + colourful / 128, 9.5), 1),
    }
