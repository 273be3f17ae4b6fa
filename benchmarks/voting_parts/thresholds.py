"""How many presses until the average contest is good enough, with intervals; and if P(best) is calibrated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SMOOTHED = 7
STAYS = 8
RESAMPLES = 400


@dataclass(frozen=True)
class Reached:
    """Presses to a threshold.

    Attributes:
        presses: infinite where it was not reached.
        low, high: 90 % interval by bootstrap over seeds.
    """

    presses: float
    low: float
    high: float

    def words(self) -> str:
        """For a table: `38 [35–41]`."""
        return f"{_count(self.presses)} [{_count(self.low)}–{_count(self.high)}]"


def _count(presses: float) -> str:
    return f"{presses:.0f}" if np.isfinite(presses) else "never"


def reached(values: Array, threshold: float, *, rising: bool, seed: int = 0) -> Reached:
    """The first press at which the mean over seeds, averaged over 7 presses, passes and stays so for 8.

    Args:
        values: by seed and press.
        rising: at least, not at most, the threshold.
    """
    rng = np.random.default_rng(seed)
    means = [values.mean(axis=0)]
    for _ in range(RESAMPLES):
        weights = np.bincount(rng.integers(len(values), size=len(values)), minlength=len(values))
        means.append(weights @ values / len(values))
    found = [first_press(mean, threshold, rising=rising) for mean in means]
    low, high = np.quantile(found[1:], (0.05, 0.95), method="nearest")
    return Reached(found[0], float(low), float(high))


def first_press(mean: Array, threshold: float, *, rising: bool) -> float:
    """The press, counted from 1, or infinity."""
    smooth = np.convolve(mean, np.ones(SMOOTHED) / SMOOTHED, mode="valid")
    passes = smooth >= threshold if rising else smooth <= threshold
    for place in range(len(passes) - STAYS + 1):
        if passes[place : place + STAYS].all():
            return float(place + SMOOTHED // 2 + 1)
    return float("inf")


def calibration(stated: Array, right: Array, at_least: int = 200) -> list[tuple[float, float, int]]:
    """Stated probability, share that was right, and samples, for each decile with enough samples."""
    deciles = np.minimum((stated * 10).astype(int), 9)
    return [
        (float(stated[inside].mean()), float(right[inside].mean()), int(inside.sum()))
        for inside in (deciles == decile for decile in range(10))
        if inside.sum() >= at_least
    ]
