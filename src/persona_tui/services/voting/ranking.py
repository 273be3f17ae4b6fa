"""The maths of a contest: a Gaussian posterior over qualities, its update by a vote, the next duel.

A quality is in logits: P(i beats j) = σ(θ_i − θ_j); of several shown, one is taken by Plackett–Luce.
numpy only; knows neither tables nor pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PRIOR_SD = 2.0
"""Standard deviation of qualities before any vote, in logits."""
ELO_PER_LOGIT = 173.72
"""400 / ln 10: one logit on Elo's scale."""
_POINTS = 512
_SAMPLES = 256
_DUEL_CANDIDATES = 12


def _fixed_points(dimensions: int) -> Array:
    """Antithetic, whitened normal points, the same in every process: shape (512, dimensions)."""
    half = np.random.default_rng(20260101).standard_normal((_POINTS // 2, dimensions))
    points = np.concatenate([half, -half])
    spread = np.linalg.cholesky(np.cov(points, rowvar=False, bias=True).reshape(dimensions, dimensions))
    return np.asarray(points @ np.linalg.inv(spread).T)


_QUADRATURE = {size: _fixed_points(size) for size in (2, 3, 4)}


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

    def extended(self, size: int) -> Posterior:
        """The same belief with new members at the end."""
        grown = Posterior.prior(size)
        known = len(self.mean)
        mean, covariance = grown.mean, grown.covariance
        mean[:known] = self.mean
        covariance[:known, :known] = self.covariance
        return Posterior(mean, covariance)

    def elo(self) -> list[int]:
        """Scores for people: round(1000 + 173.72 μ)."""
        return [round(1000 + ELO_PER_LOGIT * value) for value in self.mean]


def update(belief: Posterior, shown: tuple[int, ...], chosen: int | None) -> Posterior:
    """The belief after one vote.

    Moment matching over 512 fixed points of the shown members' joint distribution, weighted by the
    Plackett–Luce likelihood of the choice; the rest follows by the linear-Gaussian rule.

    Args:
        shown: two to four indices.
        chosen: the index taken, or None for 'not sure', which pulls the shown together.
    """
    index = np.array(shown)
    factor = np.linalg.cholesky(belief.covariance[np.ix_(index, index)] + 1e-9 * np.eye(len(index)))
    points = _QUADRATURE[len(index)]
    qualities = belief.mean[index] + points @ factor.T
    shares = _softmax(qualities)
    if chosen is None:
        likelihood = np.prod(shares, axis=1)
    else:
        likelihood = shares[:, shown.index(chosen)]
    weights = likelihood / likelihood.sum()
    centre = weights @ points
    spread = (points * weights[:, None]).T @ points - np.outer(centre, centre)
    gain = belief.covariance[:, index] @ np.linalg.inv(factor).T
    mean = belief.mean + gain @ centre
    covariance = belief.covariance + gain @ (spread - np.eye(len(index))) @ gain.T
    return Posterior(mean, (covariance + covariance.T) / 2)


def best_shares(belief: Posterior, active: tuple[int, ...], rng: np.random.Generator) -> Array:
    """P(best) of each active member, by 4,096 samples: shape (len(active),)."""
    samples = _sample(belief, active, rng, 4096)
    return np.bincount(samples.argmax(axis=1), minlength=len(active)) / len(samples)


def top_share(belief: Posterior, active: tuple[int, ...], k: int, rng: np.random.Generator) -> float:
    """P(the k highest means really are the k best), by 4,096 samples."""
    if k >= len(active):
        return 1.0
    samples = _sample(belief, active, rng, 4096)
    expected = set(np.argsort(-belief.mean[list(active)], kind="stable")[:k].tolist())
    order = np.argpartition(-samples, k - 1, axis=1)[:, :k]
    return float(np.mean([set(row) == expected for row in order.tolist()]))


def choose_duel(belief: Posterior, active: tuple[int, ...], rng: np.random.Generator) -> tuple[int, int]:
    """The pair whose vote tells most about which member is the best.

    Expected information gain on the best, estimated on 256 samples over the 12 members most often best.

    Returns:
        Two different indices out of `active`, sides drawn at random.
    """
    if len(active) < 2:
        raise ValueError("a duel needs two members")
    samples = _sample(belief, active, rng, _SAMPLES)
    best = samples.argmax(axis=1)
    counts = np.bincount(best, minlength=len(active))
    upper = belief.mean[list(active)] + np.sqrt(np.diag(belief.covariance)[list(active)])
    candidates = np.lexsort((-upper, -counts))[:_DUEL_CANDIDATES]
    pair = max(
        ((i, j) for at, i in enumerate(candidates) for j in candidates[at + 1 :]),
        key=lambda ij: _information(samples[:, ij[0]] - samples[:, ij[1]], best),
    )
    left, right = rng.permutation(pair)
    return active[int(left)], active[int(right)]


def _information(gaps: Array, best: NDArray[np.intp]) -> float:
    """Mutual information between the vote and which member is best, in nats."""
    share = 1 / (1 + np.exp(-gaps))
    groups = np.bincount(best)
    wins = np.bincount(best, weights=share)
    filled = groups > 0
    conditional = wins[filled] / groups[filled]
    return float(_entropy(share.mean()) - (groups[filled] / len(best)) @ _entropy(conditional))


def _entropy(share: Array | np.floating) -> Array:
    clipped = np.clip(share, 1e-12, 1 - 1e-12)
    return np.asarray(-clipped * np.log(clipped) - (1 - clipped) * np.log1p(-clipped))


def _sample(belief: Posterior, active: tuple[int, ...], rng: np.random.Generator, count: int) -> Array:
    index = np.array(active)
    covariance = belief.covariance[np.ix_(index, index)] + 1e-9 * np.eye(len(index))
    draws = rng.standard_normal((count, len(index)))
    return np.asarray(belief.mean[index] + draws @ np.linalg.cholesky(covariance).T)


def _softmax(values: Array) -> Array:
    exponentials = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
