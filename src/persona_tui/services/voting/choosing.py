"""What to show next: two or four members, by what the operator looks for.

* Duel for the best: the largest expected information gain on which member is the best.
* Duel for the top K: the largest sum, over members, of the gain on whether each is among the K best.
* Grid for the best: first every unseen member once, then four by top-four Thompson sampling.
* Grid for the top K: the first round likewise, then four put together greedily by the gain on membership.

Methods and constants are those that docs/ranking.md measures.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from persona_tui.services.voting.ranking import Array, Posterior

_SAMPLES = 256
_GRID_SAMPLES = 64
_BEST_CANDIDATES = 12
_TOP_CANDIDATES = 16


def choose(
    belief: Posterior,
    active: Sequence[int],
    rng: np.random.Generator,
    *,
    count: int = 2,
    k: int = 1,
    unseen: Collection[int] = (),
    beside: int | None = None,
) -> tuple[int, ...]:
    """The members whose vote tells most, in an order drawn at random.

    Args:
        active: indices that may be shown.
        count: how many to show; fewer where there are fewer.
        k: 1 looks for the best one, more for the K best.
        unseen: active indices that no vote has shown yet; a grid shows them first.
        beside: an active index that must be among the shown.

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
        places = _duel(belief, active, rng, goal, kept)
    else:
        places = _grid(belief, active, rng, count, goal, unseen, kept)
    return tuple(active[place] for place in rng.permutation(places).tolist())


def _duel(
    belief: Posterior, active: Sequence[int], rng: np.random.Generator, k: int, kept: int | None
) -> list[int]:
    samples = belief.sample(active, _SAMPLES, rng)
    if k == 1:
        best = samples.argmax(axis=1)
        candidates = _most_often(best, belief, active, kept)
        groups = _groups_of_best(best, candidates)
    else:
        groups = _membership(samples, k)
        candidates = _most_doubtful(groups, belief, active, kept)
    left, right = _pairs(candidates, kept)
    shares = 1 / (1 + np.exp(samples[:, right] - samples[:, left]))
    gains = _gain_on_best(shares, groups) if k == 1 else _gain_on_membership(_two_ways(shares), groups)
    at = int(gains.argmax())
    return [int(left[at]), int(right[at])]


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
    if k > 1 and len(begun) < count and not fresh:
        return _grid_for_top(belief, active, rng, count, k, begun)
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


def _grid_for_top(
    belief: Posterior, active: Sequence[int], rng: np.random.Generator, count: int, k: int, begun: list[int]
) -> list[int]:
    """Begin with the most telling pair, then add the one that tells most beside those."""
    samples = belief.sample(active, _SAMPLES, rng)
    groups = _membership(samples, k)
    kept = begun[0] if begun else None
    candidates = _most_doubtful(groups, belief, active, kept)
    left, right = _pairs(candidates, kept)
    shares = 1 / (1 + np.exp(samples[:, right] - samples[:, left]))
    at = int(_gain_on_membership(_two_ways(shares), groups).argmax())
    taken = [int(left[at]), int(right[at])]
    strength = np.exp(samples - samples.max(axis=1, keepdims=True))
    while len(taken) < count:
        others = np.array([place for place in candidates.tolist() if place not in taken])
        fixed = np.repeat(strength[:, None, taken], len(others), axis=1)
        shown = np.concatenate([fixed, strength[:, others, None]], axis=2)
        gains = _gain_on_membership(shown / shown.sum(axis=2, keepdims=True), groups)
        taken.append(int(others[gains.argmax()]))
    return taken


def _most_often(
    best: NDArray[np.intp], belief: Posterior, active: Sequence[int], kept: int | None
) -> NDArray[np.intp]:
    """The members that are the best in most samples; ties by mean plus standard deviation."""
    counts = np.bincount(best, minlength=len(active))
    return _first(np.lexsort((-_upper(belief, active), -counts)), _BEST_CANDIDATES, kept)


def _most_doubtful(
    inside: Array, belief: Posterior, active: Sequence[int], kept: int | None
) -> NDArray[np.intp]:
    """The members of which it is least known whether they are among the K best."""
    share = inside.mean(axis=0)
    return _first(np.lexsort((-_upper(belief, active), -share * (1 - share))), _TOP_CANDIDATES, kept)


def _first(order: NDArray[np.intp], count: int, kept: int | None) -> NDArray[np.intp]:
    first = order[:count]
    if kept is None or kept in first:
        return first
    return np.append(first[:-1], kept)


def _upper(belief: Posterior, active: Sequence[int]) -> Array:
    index = np.asarray(active)
    return np.asarray(belief.mean[index] + belief.deviations()[index])


def _pairs(candidates: NDArray[np.intp], kept: int | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    if kept is not None:
        others = candidates[candidates != kept]
        return np.full(len(others), kept), others
    left, right = np.triu_indices(len(candidates), 1)
    return candidates[left], candidates[right]


def _groups_of_best(best: NDArray[np.intp], candidates: NDArray[np.intp]) -> Array:
    """One column for each candidate and one for all others: 1 where that is the sample's best."""
    named = best[:, None] == candidates[None, :]
    return np.column_stack([named, ~named.any(axis=1)]).astype(float)


def _membership(samples: Array, k: int) -> Array:
    """1 where a member is among the sample's K best, by sample and member."""
    bar = np.partition(samples, -k, axis=1)[:, [-k]]
    return (samples >= bar).astype(float)


def _two_ways(shares: Array) -> Array:
    return np.stack([shares, 1 - shares], axis=2)


def _gain_on_best(shares: Array, groups: Array) -> Array:
    """Mutual information, in nats, between each pair's vote and the group that holds the best.

    Args:
        shares: P(left wins) by sample and pair.
        groups: one-hot by sample and group.
    """
    sizes = groups.sum(axis=0)
    filled = sizes > 0
    conditional = (shares.T @ groups[:, filled]) / sizes[filled]
    weights = sizes[filled] / len(groups)
    return np.asarray(_entropy(shares.mean(axis=0)) - _entropy(conditional) @ weights)


def _gain_on_membership(shares: Array, inside: Array) -> Array:
    """Sum over members of the mutual information, in nats, between each showing's vote and their membership.

    Args:
        shares: P(chosen) by sample, showing and place.
        inside: 1 or 0 by sample and member.
    """
    within = inside.mean(axis=0)
    doubtful = (within > 0) & (within < 1)
    if not doubtful.any():
        return np.zeros(shares.shape[1])
    inside, within = inside[:, doubtful], within[doubtful]
    samples, showings, places = shares.shape
    overall = shares.mean(axis=0)
    flat = shares.reshape(samples, showings * places)
    joint = (flat.T @ inside / samples).reshape(showings, places, -1)
    conditional = joint / within
    opposite = (overall[:, :, None] - joint) / (1 - within)
    kept = within * _spread(conditional) + (1 - within) * _spread(opposite)
    return np.asarray((_spread(overall[:, :, None]) - kept).sum(axis=1))


def _spread(shares: Array) -> Array:
    """Entropy over the places, which are the second axis."""
    safe = np.clip(shares, 1e-12, 1)
    return np.asarray(-(safe * np.log(safe)).sum(axis=1))


def _entropy(share: Array) -> Array:
    safe = np.clip(share, 1e-12, 1 - 1e-12)
    return np.asarray(-safe * np.log(safe) - (1 - safe) * np.log1p(-safe))
