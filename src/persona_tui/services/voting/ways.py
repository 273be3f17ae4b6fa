"""Duel or grid: which finds the winner sooner for this voter, by seconds and consistency in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

Way = Literal["duel", "grid"]

SHOWN: dict[Way, int] = {"duel": 2, "grid": 4}
PRESSES: dict[Way, float] = {"duel": 68.0, "grid": 27.0}
"""Until the regret is a quarter of a logit among 50 pictures, at the same reliability (docs/ranking.md)."""
RELIABILITIES = (0.2, 0.4, 0.6, 0.8, 1.0)
AGREEMENT: dict[Way, tuple[float, ...]] = {
    "duel": (0.535, 0.628, 0.704, 0.774, 0.813),
    "grid": (0.279, 0.353, 0.429, 0.503, 0.561),
}
"""How often a repeated showing is answered as before, at these reliabilities: mean of Σ p² over the showings
of 30 simulated contests of 50 pictures."""
ASSUMED_REPEATS = 10
"""Repeats at full reliability that are assumed of everybody: few real ones say little."""
ENOUGH_VOTES = 8
"""Timed votes of a way before anything is said about its pace."""


@dataclass(frozen=True)
class Habit:
    """How the voter votes in one way, lately.

    Attributes:
        times: milliseconds of each timed vote.
        repeats: hidden repeats; `same` of them were answered as before.
    """

    times: tuple[int, ...] = ()
    repeats: int = 0
    same: int = 0

    @property
    def consistency(self) -> float | None:
        """Share of repeats answered as before; None before the first."""
        return self.same / self.repeats if self.repeats else None

    @staticmethod
    def of(rows: Sequence[tuple[int | None, bool | None]]) -> Habit:
        """From (milliseconds or None, answered as before or None when it was no repeat) of each vote."""
        told = [same for _, same in rows if same is not None]
        return Habit(tuple(ms for ms, _ in rows if ms is not None), len(told), sum(told))


def reliability(way: Way, habit: Habit) -> float:
    """Factor on the differences as the voter sees them, from the hidden repeats: 0.2 to 1."""
    most = AGREEMENT[way][-1]
    agreement = (habit.same + ASSUMED_REPEATS * most) / (habit.repeats + ASSUMED_REPEATS)
    return float(np.interp(agreement, AGREEMENT[way], RELIABILITIES))


def seconds_to_winner(way: Way, habit: Habit) -> float:
    """How long finding a winner among 50 would take: presses · median time / reliability².

    What a press tells falls with the square of the reliability: at 0.8 and 0.6 simulated grids needed 1.4
    and 2.6 times the presses (docs/ranking.md), 1 / r² is 1.6 and 2.8.
    """
    return PRESSES[way] * median(habit.times) / 1000 / reliability(way, habit) ** 2


def faster(duel: Habit, grid: Habit) -> Way | None:
    """The way that finds the winner sooner; None while one of them was tried too little."""
    if min(len(duel.times), len(grid.times)) < ENOUGH_VOTES:
        return None
    return "grid" if seconds_to_winner("grid", grid) <= seconds_to_winner("duel", duel) else "duel"
