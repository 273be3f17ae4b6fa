"""How much a long or a quick run plays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
Run = Callable[..., Row]
"""(test, **case) → what came of it; plays it, or finds it in the book."""


@dataclass(frozen=True)
class Sizes:
    """How much is played.

    Attributes:
        seed: the first seed; others follow it.
        kill_seeds: seeds of T1, each gone through to its last boundary.
        kill_points: boundaries of a seed at which T1 kills; 0: all.
        publishes: posts of T2, in batches with a seed each; the other tests of answers take a part of it.
        crowd: posts of T6.
        personas, each: accounts of T11, and their posts.
    """

    seed: int
    kill_seeds: int
    kill_points: int
    publishes: int
    crowd: int
    personas: int
    each: int

    @property
    def seeds(self) -> range:
        """Of T1."""
        return range(self.seed, self.seed + self.kill_seeds)


def sizes(seed: int, *, quick: bool) -> Sizes:
    """The long run's, or the quick one's."""
    return Sizes(seed, 2, 20, 100, 40, 10, 20) if quick else Sizes(seed, 12, 0, 5000, 1000, 100, 100)
