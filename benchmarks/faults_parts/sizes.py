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
        kill_points: boundaries of a seed at which T1 kills, half of them of other kinds and logins; 0: all.
        other_seeds: of T1's other kinds of posts and of Facebook Login, each over a part of its boundaries.
        publishes: posts of T2, in batches with a seed each; the other tests of answers take a part of it.
        crowd: posts of T6.
        personas, each: accounts of T11, and their posts.
        repeats: seeds of the tests of outages.
        days: of T18.
    """

    seed: int
    kill_seeds: int
    kill_points: int
    other_seeds: int
    publishes: int
    crowd: int
    personas: int
    each: int
    repeats: int
    days: int

    @property
    def seeds(self) -> range:
        """Of T1."""
        return range(self.seed, self.seed + self.kill_seeds)


def sizes(seed: int, *, quick: bool) -> Sizes:
    """The long run's, or the quick one's."""
    if quick:
        return Sizes(
            seed,
            kill_seeds=2,
            kill_points=10,
            other_seeds=1,
            publishes=300,
            crowd=40,
            personas=10,
            each=20,
            repeats=1,
            days=1,
        )
    return Sizes(
        seed,
        kill_seeds=4,
        kill_points=0,
        other_seeds=4,
        publishes=1500,
        crowd=500,
        personas=100,
        each=100,
        repeats=6,
        days=30,
    )
