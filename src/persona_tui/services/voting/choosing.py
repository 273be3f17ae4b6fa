"""What to show next: two or four members, by what the operator looks for.

* Duel for the best: the largest expected gain, by Gini, on which member is the best.
* Duel for the top K: one above the bar and one below it, by the knowledge gradient of their difference.
* Grid for the best: first every unseen member once, then four by top-four Thompson sampling.
* Grid for the top K: the first round likewise, then four put together greedily by the gain on whether each
  member is among the K best.

Methods and constants are those that docs/ranking.md measures.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from persona_tui.services.voting.ranking import Array, Floats, Posterior

_SAMPLES = 256
_GRID_SAMPLES = 64
_CANDIDATES, _CANDIDATES_FOR_TOP = 20, 12
_AHEAD = 8
"""Votes on the same pair by which a duel for the top K looks ahead: one alone seldom turns two round."""
_AGAIN = 1e-9
"""Factor on the gain of what was shown lately: it comes where nothing else is left to ask."""
_NOISE = 8 / math.pi
"""Variance, in logits², of the normal noise whose choices are most like a logistic one's (MacKay, 1992)."""


def choose(
    belief: Posterior,
    active: Sequence[int],
    rng: np.random.Generator,
    *,
    count: int = 2,
    k: int = 1,
    unseen: Collection[int] = (),
    beside: int | None = None,
    lately: Sequence[tuple[int, ...]] = (),
) -> tuple[int, ...]:
    """The members whose vote tells most, in an order drawn at random.

    Args:
        active: indices that may be shown.
        count: how many to show; fewer where there are fewer.
        k: 1 looks for the best one, more for the K best.
        unseen: active indices that no vote has shown yet; a grid shows them first.
        beside: an active index that must be among the shown.
        lately: what the last votes showed, the latest last; a duel for the top K shows no two of them again.

    Raises:
        ValueError: fewer than two are active.
    """
    if len(active) < 2:
        raise ValueError("a showing needs two members")
    if len(active) <= count:
        return tuple(active[int(place)] for place in rng.permutation(len(active)))
    kept = None if beside is None else active.index(beside)
    goal = k if k < len(active) else 1
    if count == 2:
        places = (
            _duel(belief, active, rng, kept) if goal == 1 else _across(belief, active, goal, kept, lately)
        )
    else:
        places = _grid(belief, active, rng, count, goal, unseen, kept)
    return tuple(active[place] for place in rng.permutation(places).tolist())


def _duel(belief: Posterior, active: Sequence[int], rng: np.random.Generator, kept: int | None) -> list[int]:
    samples = belief.sample(active, _SAMPLES, rng)
    best = samples.argmax(axis=1)
    counts = np.bincount(best, minlength=len(active))
    candidates = _first(np.lexsort((-_upper(belief, active), -counts)), _CANDIDATES, kept)
    left, right = _pairs(candidates, kept)
    strength = _strength(samples, candidates)
    shares = strength[left] / (strength[left] + strength[right])
    at = int(_gain_on_best(shares, _groups_of_best(best, candidates)).argmax())
    return [int(candidates[left[at]]), int(candidates[right[at]])]


def _across(
    belief: Posterior,
    active: Sequence[int],
    k: int,
    kept: int | None,
    lately: Sequence[tuple[int, ...]],
) -> list[int]:
    """Of one of the K highest means and one of the others, the pair that is worth asking most.

    That is the expected gain of taking the better one after some votes on them, the knowledge gradient:
    s · (φ(z) + z Φ(z)) with z = −gap / s, where s² is what the votes take from the difference's variance
    (Frazier, Powell and Dayanik, 2008; several votes ahead: Frazier and Powell, 2010). It would ask the same
    pair again and again, which a voter who answers as before makes worth nothing: hence `lately`.
    """
    index = np.asarray(active)
    order = np.argsort(-belief.mean[index], kind="stable")
    above, below = order[:k], order[k:]
    if kept is not None:
        above, below = (np.array([kept]), below) if kept in above else (above, np.array([kept]))
    upper, lower = index[above], index[below]
    gap = belief.mean[upper][:, None] - belief.mean[lower]
    variance = np.diag(belief.covariance)
    variance = variance[upper][:, None] + variance[lower] - 2 * belief.covariance[upper[:, None], lower]
    variance = np.maximum(variance, 1e-12)
    taken = variance / np.sqrt(variance + _NOISE / _AHEAD)
    z = -gap / taken
    beyond = np.reshape([math.erfc(value) for value in (-z / math.sqrt(2)).ravel().tolist()], z.shape) / 2
    gain = taken * (np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) + z * beyond)
    row = {member: place for place, member in enumerate(upper.tolist())}
    column = {member: place for place, member in enumerate(lower.tolist())}
    for shown in lately[max(len(lately) - gain.size // 4, 0) :]:
        for one, other in itertools.product(row.keys() & set(shown), column.keys() & set(shown)):
            gain[row[one], column[other]] *= _AGAIN
    at, under = divmod(int(gain.argmax()), len(below))
    return [int(above[at]), int(below[under])]


def _grid(
    belief: Posterior,
    active: Sequence[int],
    rng: np.random.Generator,
    count: int,
    k: int,
    unseen: Collection[int],
    kept: int | None,
) -> list[int]:
    fresh = [place for place, member in enumerate(active) if member in unseen and place != kept]
    begun = ([] if kept is None else [kept]) + rng.permutation(fresh).tolist()
    begun = [int(place) for place in begun[:count]]
    if k > 1 and not fresh:
        return _grid_for_top(belief, active, rng, count, k, kept)
    return _thompson(belief, active, rng, count, begun)


def _thompson(
    belief: Posterior, active: Sequence[int], rng: np.random.Generator, count: int, begun: list[int]
) -> list[int]:
    """Fill up with the best of successive samples, then with the first sample's next best."""
    if len(begun) == count:
        return begun
    samples = belief.sample(active, _GRID_SAMPLES, rng)
    for place in (*samples.argmax(axis=1).tolist(), *np.argsort(-samples[0]).tolist()):
        if place not in begun:
            begun.append(place)
            if len(begun) == count:
                break
    return begun


@dataclass(frozen=True)
class _Doubt:
    """Who may be among the K best, by samples.

    Attributes:
        candidates: the members of which that is least known.
        inside: 1 or 0 by sample and candidate, of those who are neither in all samples nor in none.
        strength: exp(θ) by candidate and sample.
    """

    candidates: NDArray[np.intp]
    inside: Floats
    strength: Floats

    @staticmethod
    def of(samples: Floats, k: int, upper: Array, kept: int | None) -> _Doubt:
        bar = np.partition(samples, -k, axis=1)[:, [-k]]
        inside = samples >= bar
        share = inside.mean(axis=0)
        candidates = _first(np.lexsort((-upper, -share * (1 - share))), _CANDIDATES_FOR_TOP, kept)
        named = candidates[(share[candidates] > 0) & (share[candidates] < 1)]
        return _Doubt(candidates, inside[:, named].astype(np.float32), _strength(samples, candidates))

    def gain(self, shares: Floats) -> Floats:
        """Sum over candidates of the mutual information, in nats, between a vote and their membership.

        Args:
            shares: P(chosen) by showing, place and sample.
        """
        showings, places, samples = shares.shape
        within = self.inside.mean(axis=0)
        overall = shares.mean(axis=2, keepdims=True)
        joint = (shares.reshape(-1, samples) @ self.inside / samples).reshape(showings, places, -1)
        kept = _spread(joint / within) @ within + _spread((overall - joint) / (1 - within)) @ (1 - within)
        return np.asarray(_spread(overall)[:, 0] * len(within) - kept)


def _telling_pair(doubt: _Doubt, kept: int | None) -> list[int]:
    left, right = _pairs(doubt.candidates, kept)
    wins = doubt.strength[left] / (doubt.strength[left] + doubt.strength[right])
    at = int(doubt.gain(np.stack([wins, 1 - wins], axis=1)).argmax())
    return [int(doubt.candidates[left[at]]), int(doubt.candidates[right[at]])]


def _grid_for_top(
    belief: Posterior, active: Sequence[int], rng: np.random.Generator, count: int, k: int, kept: int | None
) -> list[int]:
    """Begin with the most telling pair, then add the one that tells most beside those."""
    doubt = _Doubt.of(belief.sample(active, _SAMPLES, rng), k, _upper(belief, active), kept)
    order = doubt.candidates.tolist()
    taken = [order.index(place) for place in _telling_pair(doubt, kept)]
    while len(taken) < count:
        others = np.array([place for place in range(len(order)) if place not in taken])
        fixed = np.broadcast_to(doubt.strength[taken], (len(others), len(taken), _SAMPLES))
        shown = np.concatenate([fixed, doubt.strength[others][:, None]], axis=1)
        gains = doubt.gain(shown / shown.sum(axis=1, keepdims=True))
        taken.append(int(others[gains.argmax()]))
    return [order[place] for place in taken]


def _first(order: NDArray[np.intp], most: int, kept: int | None) -> NDArray[np.intp]:
    first = order[:most]
    if kept is None or kept in first:
        return first
    return np.append(first[:-1], kept)


def _upper(belief: Posterior, active: Sequence[int]) -> Array:
    index = np.asarray(active)
    return np.asarray(belief.mean[index] + belief.deviations()[index])


def _pairs(candidates: NDArray[np.intp], kept: int | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """All pairs of candidates, or those with the kept one, as places among them."""
    if kept is None:
        return np.triu_indices(len(candidates), 1)
    others = np.flatnonzero(candidates != kept)
    return np.full(len(others), int(np.flatnonzero(candidates == kept)[0])), others


def _groups_of_best(best: NDArray[np.intp], candidates: NDArray[np.intp]) -> Floats:
    """One column for each candidate and one for all others: 1 where that is the sample's best."""
    named = best[:, None] == candidates[None, :]
    return np.column_stack([named, ~named.any(axis=1)]).astype(np.float32)


def _strength(samples: Floats, candidates: NDArray[np.intp]) -> Floats:
    return np.asarray(np.exp(np.ascontiguousarray(samples[:, candidates].T)))


def _gain_on_best(shares: Floats, groups: Floats) -> Floats:
    """How much each pair's vote tells of the best one's group: the expected Σ P(group | vote)².

    One less Gini's impurity; what it was before the vote is the same for all pairs.

    Args:
        shares: P(left wins) by pair and sample.
        groups: one-hot by sample and group.
    """
    left = shares @ groups / len(groups)
    right = groups.mean(axis=0) - left
    wins = np.clip(shares.mean(axis=1), 1e-6, 1 - 1e-6)
    return np.asarray((left**2).sum(axis=1) / wins + (right**2).sum(axis=1) / (1 - wins))


def _spread(shares: Floats) -> Floats:
    """Entropy over the places, which are the second axis."""
    safe = np.clip(shares, 1e-9, 1)
    return np.asarray(-(safe * np.log(safe)).sum(axis=1))
