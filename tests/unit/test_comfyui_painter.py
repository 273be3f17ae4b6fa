"""The stand-in's painter: pictures that differ as their hidden quality says."""

from __future__ import annotations

import numpy as np
import pytest

from persona_tui.sandbox.comfyui import painter
from persona_tui.sandbox.comfyui.painter import Pixels
from persona_tui.sandbox.comfyui.palette import PALETTES, choose_palette, choose_subject

PROMPTS = {
    "still_life": "a celadon vase on a table in morning light",
    "landscape": "mountains at dawn",
    "sea": "a sail on the sea at sunset",
    "kiln": "pots before the kiln, embers",
}


def seeds(low: float, high: float, count: int) -> list[int]:
    found = (seed for seed in range(100_000) if low <= painter.quality(seed) <= high)
    return [next(found) for _ in range(count)]


def distance(first: Pixels, second: Pixels) -> float:
    return float(np.abs(first.astype(np.float32) - second.astype(np.float32)).mean())


def roughness(picture: Pixels) -> float:
    """How much neighbouring pixels differ: noise."""
    grey = picture.astype(np.float32).mean(axis=-1)
    return float(np.median(np.abs(np.diff(grey, axis=1))))


def test_quality_is_spread_evenly_and_fixed_by_the_seed() -> None:
    qualities = np.asarray([painter.quality(seed) for seed in range(2000)])
    assert np.histogram(qualities, bins=5, range=(0, 1))[0].min() > 320
    assert painter.quality(17) == painter.quality(17)
    assert 0 <= painter.quality(2**64 - 1) <= 1


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_a_picture_is_fixed_by_prompt_and_seed_and_fills_its_range(prompt: str) -> None:
    (seed,) = seeds(0.9, 1.0, 1)
    first, again = (painter.paint(prompt, seed, 104, 130) for _ in range(2))
    assert np.array_equal(first, again)
    assert (first.shape, first.dtype) == ((130, 104, 3), np.uint8)
    assert first.std() > 15
    assert 30 < first.mean() < 225
    other = painter.paint(prompt, seeds(0.9, 1.0, 2)[1], 104, 130)
    assert distance(first, other) > 3


@pytest.mark.parametrize("size", [(8, 8), (16, 64), (64, 16), (513, 40), (40, 513), (128, 160)])
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_every_size_can_be_painted(prompt: str, size: tuple[int, int]) -> None:
    for seed in range(6):
        assert painter.paint(prompt, seed, *size).shape == (size[1], size[0], 3)


def test_bad_seeds_show() -> None:
    prompt = PROMPTS["still_life"]
    good = [painter.paint(prompt, seed, 128, 160) for seed in seeds(0.85, 1.0, 24)]
    bad = [painter.paint(prompt, seed, 128, 160) for seed in seeds(0.0, 0.15, 24)]

    def oddness(picture: Pixels) -> float:
        """Distance of brightness from the good ones' middle, or noise, whichever is worse."""
        middle = float(np.mean([one.mean() for one in good]))
        return max(abs(float(picture.mean()) - middle) / 40, roughness(picture) / 6)

    assert np.mean([oddness(one) for one in bad]) > 1.5 * np.mean([oddness(one) for one in good])


def test_words_choose_colours_and_subject() -> None:
    import random

    assert choose_palette("sunset over the sea") == PALETTES["sunset"]
    assert choose_palette("a kiln at work") == PALETTES["kiln"]
    assert choose_palette("xyzzy") == choose_palette("xyzzy")
    assert choose_palette("a vase", style="mira@1.0") != choose_palette("a vase")
    for subject, prompt in PROMPTS.items():
        assert choose_subject(prompt, random.Random(1)) == subject


@pytest.mark.parametrize("denoise", [0.2, 0.5, 0.8])
def test_a_repainted_picture_keeps_its_parent_recognisable(denoise: float) -> None:
    prompt = PROMPTS["still_life"]
    parent_seed, child_seed = seeds(0.85, 1.0, 2)
    parent = painter.paint(prompt, parent_seed, 128, 160)
    child = painter.repaint(parent, prompt, child_seed, denoise, parent=0.9)
    stranger = painter.paint(prompt, child_seed, 128, 160)
    assert child.shape == parent.shape
    assert 0.5 < distance(child, parent) < 0.8 * distance(stranger, parent)


def test_denoise_at_its_ends_keeps_all_or_nothing() -> None:
    parent = painter.paint("a bowl", 3, 64, 80)
    assert np.array_equal(painter.repaint(parent, "a bowl", 4, 0.0), parent)
    assert np.array_equal(painter.repaint(parent, "a bowl", 4, 1.0), painter.paint("a bowl", 4, 64, 80))


def test_children_are_on_average_better_than_their_parents() -> None:
    for parent in (0.2, 0.5, 0.8):
        children = [painter.child_quality(parent, seed, 0.5) for seed in range(300)]
        assert all(0 <= one <= 1 for one in children)
        assert np.mean(children) > parent or parent == 0.8
    assert painter.child_quality(None, 5, 0.5) == painter.child_quality(0.5, 5, 0.5)
