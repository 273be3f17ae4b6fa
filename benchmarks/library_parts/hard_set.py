"""Pictures that are hard to cluster: crops of 16 photographs under changing light, and 16 that stand alone.

At milder severity every method finds the 16 and the comparison says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_image

PHOTOGRAPHS = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "hubble_deep_field.jpg",
    "retina.jpg",
    "ihc.png",
    "moon.png",
    "coins.png",
    "brick.png",
    "grass.png",
    "gravel.png",
)
SAMPLES = ("china.jpg", "flower.jpg")
ALONE = (
    "cell.png",
    "clock_motion.png",
    "page.png",
    "text.png",
    "horse.png",
    "color.png",
    "logo.png",
    "phantom.png",
    "microaneurysms.png",
    "chessboard_RGB.png",
)
SMALLEST, LARGEST = 6, 80
SIDE = 224
NOISE = 30.0
LIGHT = 0.6
CROP = 0.3


@dataclass(frozen=True)
class Labelled:
    """One picture and what it was made of: 0 to 15, or -1 where it stands alone."""

    image: Image.Image
    label: int


def hard_set(seed: int = 0) -> Iterator[Labelled]:
    """The set, subject by subject, those that stand alone last."""
    rng = np.random.default_rng(seed)
    photographs = [*_packed(PHOTOGRAPHS), *(Image.fromarray(load_sample_image(name)) for name in SAMPLES)]
    sizes = np.linspace(SMALLEST, LARGEST, len(photographs)).round().astype(int)
    for label, (photograph, size) in enumerate(zip(photographs, sizes, strict=True)):
        for _ in range(size):
            yield Labelled(spoiled(photograph, rng), label)
    for image in [*_packed(ALONE), *_made(rng)]:
        yield Labelled(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), -1)


def spoiled(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A crop of 30 to 100 % of the side, lighter or darker by up to 60 %, with noise of σ up to 30."""
    share = rng.uniform(CROP, 1)
    width, height = int(image.width * share), int(image.height * share)
    left, top = rng.integers(0, image.width - width + 1), rng.integers(0, image.height - height + 1)
    cropped = image.crop((int(left), int(top), int(left) + width, int(top) + height))
    level = np.asarray(cropped.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float64)
    level = level * rng.uniform(1 - LIGHT, 1 + LIGHT) + rng.normal(0, rng.uniform(0, NOISE), level.shape)
    return Image.fromarray(level.clip(0, 255).astype(np.uint8))


def _packed(names: tuple[str, ...]) -> Iterator[Image.Image]:
    folder = Path(skimage.data.__file__).parent
    for name in names:
        with Image.open(folder / name) as image:
            yield image.convert("RGB")


def _made(rng: np.random.Generator) -> Iterator[Image.Image]:
    """Six more that stand alone: a face, a depth map, blobs, stripes, rings, and coloured noise."""
    folder = Path(skimage.data.__file__).parent
    yield _grey(np.load(folder / "lfw_subset.npy")[3])
    depth = np.load(folder / "motorcycle_disp.npz")["arr_0"]
    yield _grey(np.where(np.isfinite(depth), depth, 0))
    yield _grey(skimage.data.binary_blobs(256, rng=1).astype(float))
    across, down = np.meshgrid(np.linspace(-1, 1, 256), np.linspace(-1, 1, 256))
    yield _grey(np.sin(40 * (across + down)))
    yield _grey(np.cos(60 * np.hypot(across, down)))
    yield Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))


def _grey(level: np.ndarray) -> Image.Image:
    span = level.max() - level.min()
    return Image.fromarray(((level - level.min()) / span * 255).astype(np.uint8)).convert("RGB")
