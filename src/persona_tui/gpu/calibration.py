"""From which likeness on two pictures show one person: found for each persona from its own references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from statistics import fmean

from persona_tui.gpu.likeness import Vector

_PRIOR_SPREAD, _PRIOR_WEIGHT = 0.05, 3
"""What a spread is taken for before there are pairs to measure it, and how many pairs that counts for."""


@dataclass(frozen=True)
class Reference:
    """A picture of somebody who is known.

    Attributes:
        photograph: that it was made of: variants of one photograph are no two photographs of a person.
    """

    person: str
    photograph: str
    vector: Vector


@dataclass(frozen=True)
class Pair:
    """Two references of different photographs."""

    one: Reference
    other: Reference
    likeness: float

    @property
    def same(self) -> bool:
        """Whether both show one person."""
        return self.one.person == self.other.person


@dataclass(frozen=True)
class Spread:
    """Likeness of a kind of pairs."""

    mean: float
    deviation: float
    pairs: int


@dataclass(frozen=True)
class Threshold:
    """What is asked of a picture.

    Attributes:
        least: likeness from which on it counts as the persona's.
        same, other: what it was found from; None where there were no such pairs.
        calibrated: False: it is what the model's makers advise.
    """

    least: float
    same: Spread | None
    other: Spread | None
    calibrated: bool


def pairs_of(references: Sequence[Reference], likeness: Callable[[Vector, Vector], float]) -> list[Pair]:
    """All pairs of different photographs."""
    return [
        Pair(one, other, likeness(one.vector, other.vector))
        for one, other in combinations(references, 2)
        if one.photograph != other.photograph
    ]


def calibrated(pairs: Iterable[Pair], usual: float | None = None) -> Threshold | None:
    """The threshold that is equally many deviations away from both kinds of pairs.

    That is where two normal distributions are crossed with equal shares of errors. Few pairs say little of
    their deviation, which is drawn to a usual one.

    Args:
        usual: taken where a kind of pairs is missing.

    Returns:
        None where a kind is missing and nobody says what is usual.
    """
    told = list(pairs)
    same = _spread([pair.likeness for pair in told if pair.same])
    other = _spread([pair.likeness for pair in told if not pair.same])
    if same is None or other is None or same.mean <= other.mean:
        return None if usual is None else Threshold(usual, same, other, calibrated=False)
    both = same.deviation + other.deviation
    least = (same.mean * other.deviation + other.mean * same.deviation) / both
    return Threshold(least, same, other, calibrated=True)


def errors_without(pairs: Sequence[Pair], usual: float | None = None) -> tuple[int, int]:
    """How often the threshold errs on photographs that it was not found from.

    Each photograph is left out once, with all pairs that it is in; these are then judged.

    Returns:
        Errors, and pairs that were judged (each of two photographs, so twice).
    """
    wrong = judged = 0
    for left_out in sorted({one.photograph for pair in pairs for one in (pair.one, pair.other)}):
        names = [(pair, left_out in (pair.one.photograph, pair.other.photograph)) for pair in pairs]
        threshold = calibrated((pair for pair, is_out in names if not is_out), usual)
        for pair, is_out in names:
            if is_out and threshold is not None:
                judged += 1
                wrong += (pair.likeness >= threshold.least) != pair.same
    return wrong, judged


def _spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    mean = fmean(values)
    squares = sum((value - mean) ** 2 for value in values)
    variance = (squares + _PRIOR_WEIGHT * _PRIOR_SPREAD**2) / (len(values) - 1 + _PRIOR_WEIGHT)
    return Spread(mean, sqrt(variance), len(values))
