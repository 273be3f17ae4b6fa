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
        publishes: posts of T2 and of T3, in batches with a seed each.
    """

    seed: int
    kill_seeds: int
    kill_points: int
    publishes: int

    @property
    def seeds(self) -> range:
        """Of T1."""
        return range(self.seed, self.seed + self.kill_seeds)


def sizes(seed: int, *, quick: bool) -> Sizes:
    """The long run's, or the quick one's."""
    return Sizes(seed, 2, 20, 100) if quick else Sizes(seed, 12, 0, 5000)
