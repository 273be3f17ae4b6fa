"""T17: whatever picture comes in, what goes out keeps the feed's rules and says that a model made it."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
from benchmarks.faults_parts.sizes import Row, Run, Sizes
from benchmarks.faults_parts.stage import Stage
from PIL import Image

from persona_tui.errors import PersonaError
from persona_tui.sandbox.instagram.errors import Refused
from persona_tui.sandbox.instagram.pictures import judge
from persona_tui.services.publishing.feed_rules import xmp_of
from persona_tui.services.publishing.prepare import prepare_feed_picture
from persona_tui.services.safety.disclosure import Provenance

BATCH = 100
SHAPES = (
    (1, 1),
    (9, 1600),
    (320, 400),
    (900, 1600),
    (1600, 900),
    (2400, 400),
    (400, 2400),
    (640, 640),
    (37, 41),
)
FORMATS = (
    ("JPEG", "RGB"),
    ("JPEG", "CMYK"),
    ("JPEG", "L"),
    ("PNG", "RGBA"),
    ("PNG", "LA"),
    ("PNG", "P"),
    ("PNG", "I;16"),
    ("PNG", "1"),
    ("TIFF", "RGB"),
    ("TIFF", "CMYK"),
    ("WEBP", "RGBA"),
    ("GIF", "P"),
    ("BMP", "RGB"),
    ("MPO", "RGB"),
)


def fuzz(stage: Stage, *, seed: int, files: int = BATCH) -> Row:
    """T17: a hundred files; each is prepared and taken, or refused in words before anything leaves."""
    del stage
    rng = random.Random(f"T17 {seed}")
    taken, refused, rejected, unmarked, crashed = 0, 0, 0, 0, 0
    for _ in range(files):
        source = _file(rng)
        try:
            jpeg = prepare_feed_picture(source, provenance=Provenance.GENERATED).jpeg
        except PersonaError:
            refused += 1
            continue
        except Exception:
            crashed += 1
            continue
        taken += 1
        unmarked += b"trainedAlgorithmicMedia" not in (xmp_of(jpeg) or b"")
        try:
            judge(jpeg)
        except Refused:
            rejected += 1
    return {
        "posts": 0,
        "published": 0,
        "files": files,
        "taken": taken,
        "refused": refused,
        "rejected": rejected,
        "unmarked": unmarked,
        "crashed": crashed,
        "broken": bool(rejected or unmarked or crashed) or taken < files // 3,
    }


def _file(rng: random.Random) -> bytes:
    kind, mode = rng.choice(FORMATS)
    width, height = rng.choice(SHAPES)
    noise = np.random.default_rng(rng.randrange(2**32)).integers(0, 255, (height, width, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    if mode == "I;16":
        grey = np.asarray(picture.convert("L"), dtype=np.uint16) * 257
        picture = Image.fromarray(grey)
    else:
        picture = picture.convert(mode)
    options: dict[str, Any] = {}
    if kind in {"JPEG", "MPO"} and rng.random() < 0.5:
        exif = Image.Exif()
        exif[0x0112] = rng.randint(1, 9)
        options["exif"] = exif
    if kind == "MPO":
        options |= {"save_all": True, "append_images": [picture.copy()]}
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return _damaged(out.getvalue(), rng)


def _damaged(content: bytes, rng: random.Random) -> bytes:
    """One in ten is cut short, one in ten has a few bytes turned."""
    fate = rng.random()
    if fate < 0.1:
        return content[: rng.randrange(len(content))]
    if fate < 0.2:
        turned = bytearray(content)
        for _ in range(5):
            turned[rng.randrange(len(turned))] = rng.randrange(256)
        return bytes(turned)
    return content


def plan_t17(run: Run, size: Sizes) -> None:
    """T17: pictures of every kind."""
    for seed in range(size.seed, size.seed + max(size.publishes // BATCH, 1)):
        run("T17", seed=seed)


PLAYS: dict[str, Any] = {"T17": fuzz}
PLANS: dict[str, Any] = {"T17": plan_t17}
