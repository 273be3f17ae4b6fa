"""Small films: real H.264 and AAC, made in a moment."""

from __future__ import annotations

import io
from fractions import Fraction
from functools import cache

import av
import numpy as np


@cache
def film(
    *, seconds: float = 3.2, rate: int = 24, codec: str = "libx264", kind: str = "mp4", seed: int = 0
) -> bytes:
    """A film with sound, its index last and a note in its metadata, as cameras and generators write them."""
    out = io.BytesIO()
    with av.open(out, "w", format=kind) as container:
        container.metadata["comment"] = '{"workflow": "secret"}'
        picture = container.add_stream(codec, rate=rate)
        picture.width, picture.height, picture.pix_fmt = 72, 128, "yuv420p"
        sound = container.add_stream("aac", rate=8000)
        shades = np.random.default_rng(seed).integers(0, 255, (128, 72, 3), dtype=np.uint8)
        for number in range(round(seconds * rate)):
            frame = av.VideoFrame.from_ndarray(np.roll(shades, number, axis=0), format="rgb24")
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        for start in range(0, int(seconds * 8000), 1024):
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate, silence.pts, silence.time_base = 8000, start, Fraction(1, 8000)
            container.mux(sound.encode(silence))
        container.mux(sound.encode())
    return out.getvalue()
