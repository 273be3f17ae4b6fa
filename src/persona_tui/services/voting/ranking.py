"""The maths of a contest: a Gaussian posterior over qualities and its update by a vote.

A quality is in logits: P(i beats j) = σ(θ_i − θ_j); of several shown, one is taken by Plackett–Luce.
numpy only; knows neither tables nor pictures. What to show next is in `choosing`, what is known in `outlook`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
"""Samples: three digits are enough for them, and half as many bytes are twice as fast."""

PRIOR_SD = 2.0
"""Standard deviation of qualities before any vote, in logits."""
ELO_PER_LOGIT = 173.72
"""400 / ln 10: one logit on Elo's scale."""
_POINTS = 512
_WEIGHT, _WEIGHT_SD = 0.3, 0.4
"""Prior of a hint's weight: its correlation with the qualities is learnt with the votes."""


def _fixed_points(dimensions: int) -> Array:
    """Antithetic, whitened normal points, the same in every process: shape (512, dimensions)."""
    half = np.random.default_rng(20260101).standard_normal((_POINTS // 2, dimensions))
    points = np.concatenate([half, -half])
    spread = np.linalg.cholesky(np.cov(points, rowvar=False, bias=True).reshape(dimensions, dimensions))
    return np.asarray(points @ np.linalg.inv(spread).T)


_NORMALS = np.random.default_rng(20260102).standard_normal(2**20, dtype=np.float32)
"""Standard normal numbers for samples; 4 MiB."""
_QUADRATURE = {size: _fixed_points(size) for size in (3, 4)}
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
"""Gauss and Hermite's rule for one standard normal number: a duel tells of one difference only."""


@dataclass(frozen=True)
class Posterior:
    """What is believed about the members' qualities.

    Attributes:
        mean: shape (n,), logits.
        covariance: shape (n, n), logits².
    """

    mean: Array
    covariance: Array

    @staticmethod
    def prior(size: int) -> Posterior:
        """Nothing is known: mean 0, standard deviation 2 logits, independent."""
        return Posterior(np.zeros(size), np.eye(size) * PRIOR_SD**2)

    @staticmethod
    def prior_from(hints: Sequence[float | None]) -> Posterior:
        """The belief before any vote of members that bring a hint along: an old rating, or a prediction.

        θ = 2 (w x + u) with the standardised hint x and w ~ N(0.3, 0.4²), so that votes also tell how much
        the hints are worth; one that says nothing does little harm (docs/ranking.md).

        Args:
            hints: a number on any scale, or None, for each member.
        """
        known = np.array([value is not None for value in hints], dtype=bool)
        ratings = np.array([value or 0 for value in hints], dtype=float)
        if known.sum() < 2 or np.ptp(ratings[known]) == 0:
            return Posterior.prior(len(hints))
        x = np.where(known, (ratings - ratings[known].mean()) / ratings[known].std(), 0.0)
        own = np.where(known, 1 - _WEIGHT**2, 1.0)
        return Posterior(
            _WEIGHT * PRIOR_SD * x, PRIOR_SD**2 * (np.diag(own) + _WEIGHT_SD**2 * np.outer(x, x))
        )

    def extended(self, size: int) -> Posterior:
        """The same belief with new members at the end."""
        known = len(self.mean)
        if known == size:
            return self
        grown = Posterior.prior(size)
        mean, covariance = grown.mean, grown.covariance
        mean[:known] = self.mean
        covariance[:known, :known] = self.covariance
        return Posterior(mean, covariance)

    def elo(self) -> list[int]:
        """Scores for people: round(1000 + 173.72 μ)."""
        return [round(value) for value in (1000 + ELO_PER_LOGIT * self.mean).tolist()]

    def deviations(self) -> Array:
        """Standard deviation of each member's quality, in logits."""
        return np.sqrt(np.diag(self.covariance))

    def sample(self, members: Sequence[int], count: int, rng: np.random.Generator) -> Floats:
        """Qualities of some members drawn together: shape (count, len(members)).

        The normal numbers are a stretch of a fixed table, from a place drawn by `rng`: drawing them anew was
        a third of a choice's time.
        """
        index = np.asarray(members)
        covariance = self.covariance[index[:, None], index]
        covariance[np.diag_indices(len(index))] += 1e-9
        factor = np.linalg.cholesky(covariance).astype(np.float32)
        draws = _normals(count * len(index), rng).reshape(count, len(index))
        return np.asarray(self.mean[index].astype(np.float32) + draws @ factor.T)


def _normals(count: int, rng: np.random.Generator) -> Floats:
    if count > len(_NORMALS) // 2:
        return rng.standard_normal(count, dtype=np.float32)
    begin = int(rng.integers(len(_NORMALS) - count))
    return _NORMALS[begin : begin + count]


def update(belief: Posterior, shown: Sequence[int], chosen: int | None) -> Posterior:
    """The belief after one vote.

    Moment matching of what the vote tells of, weighted by the Plackett–Luce likelihood of the choice: of two
    shown their difference, by quadrature; of more their joint distribution, at 512 fixed points. The rest
    follows by the linear-Gaussian rule.

    Args:
        shown: two to four indices.
        chosen: the index taken, or None for 'not sure', which pulls the shown together: its likelihood is
            the product of the shown's shares, largest where all are alike (as Davidson's tie, 1970,
            but with any number shown).
    """
    return _after_duel(belief, shown, chosen) if len(shown) == 2 else _after_grid(belief, shown, chosen)


def _after_duel(belief: Posterior, shown: Sequence[int], chosen: int | None) -> Posterior:
    left, right = shown
    along = belief.covariance[:, left] - belief.covariance[:, right]
    deviation = math.sqrt(max(along[left] - along[right], 1e-12))
    wins = 1 / (1 + np.exp(belief.mean[right] - belief.mean[left] - deviation * _NODES))
    likelihood = wins * (1 - wins) if chosen is None else wins if chosen == left else 1 - wins
    weights = _NODE_WEIGHTS * likelihood
    weights /= weights.sum()
    centre = float(weights @ _NODES)
    spread = float(weights @ _NODES**2) - centre**2
    gain = along / deviation
    return Posterior(belief.mean + gain * centre, belief.covariance + (spread - 1) * np.outer(gain, gain))


def _after_grid(belief: Posterior, shown: Sequence[int], chosen: int | None) -> Posterior:
    index = np.asarray(shown)
    factor = np.linalg.cholesky(belief.covariance[index[:, None], index] + 1e-9 * np.eye(len(index)))
    points = _QUADRATURE[len(index)]
    shares = _softmax(belief.mean[index] + points @ factor.T)
    likelihood = np.prod(shares, axis=1) if chosen is None else shares[:, list(shown).index(chosen)]
    weights = likelihood / likelihood.sum()
    centre = weights @ points
    spread = (points * weights[:, None]).T @ points - np.outer(centre, centre)
    gain = belief.covariance[:, index] @ np.linalg.inv(factor).T
    covariance = belief.covariance + gain @ (spread - np.eye(len(index))) @ gain.T
    return Posterior(belief.mean + gain @ centre, (covariance + covariance.T) / 2)


def _softmax(values: Array) -> Array:
    exponentials = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
