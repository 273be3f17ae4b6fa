"""What to show next: two or four members, by what the operator looks for.

* Duel for the best: the largest expected gain, by Gini, on which member is the best.
* Duel for the top K: one above the bar and one below it, by the knowledge gradient of their difference.
* Grid for the best: first every unseen member once, then four put together greedily by the same gain.
* Grid for the top K: the first round likewise, then greedily by the gain on whether each member is among the
  K best.

Methods and constants are those that docs/ranking.md measures.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from persona_tui.services.voting.ranking import Array, Floats, Posterior

_SAMPLES = 256
_CANDIDATES, _CANDIDATES_OF_GRID, _CANDIDATES_FOR_TOP = 20, 14, 12
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
    begun = [] if kept is None else [kept]
    return _telling(_who_is_best(belief, active, rng, begun, _CANDIDATES), begun, 2)


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
    if len(begun) == count:
        return begun
    if k > 1:
        return _telling(_who_is_above(belief, active, rng, begun, k), begun, count)
    return _telling(_who_is_best(belief, active, rng, begun, _CANDIDATES_OF_GRID), begun, count)


@dataclass(frozen=True)
class _Question:
    """What is looked for, by samples of the posterior.

    Attributes:
        candidates: the members that may be shown.
        strength: exp(θ) by candidate and sample.
        gain: how much the votes on some showings tell of the answer, given P(chosen) by showing, place and
            sample.
    """

    candidates: NDArray[np.intp]
    strength: Floats
    gain: Callable[[Floats], Floats]


def _who_is_best(
    belief: Posterior, active: Sequence[int], rng: np.random.Generator, begun: Sequence[int], most: int
) -> _Question:
    samples = belief.sample(active, _SAMPLES, rng)
    best = samples.argmax(axis=1)
    counts = np.bincount(best, minlength=len(active))
    candidates = _first(np.lexsort((-_upper(belief, active), -counts)), most, begun)
    named = best[:, None] == candidates[None, :]
    groups = np.column_stack([named, ~named.any(axis=1)]).astype(np.float32)
    return _Question(candidates, _strength(samples, candidates), partial(_gain_on_best, groups))


def _who_is_above(
    belief: Posterior, active: Sequence[int], rng: np.random.Generator, begun: Sequence[int], k: int
) -> _Question:
    samples = belief.sample(active, _SAMPLES, rng)
    bar = np.partition(samples, -k, axis=1)[:, [-k]]
    inside = samples >= bar
    share = inside.mean(axis=0)
    order = np.lexsort((-_upper(belief, active), -share * (1 - share)))
    candidates = _first(order, _CANDIDATES_FOR_TOP, begun)
    open_ones = candidates[(share[candidates] > 0) & (share[candidates] < 1)]
    members = inside[:, open_ones].astype(np.float32)
    return _Question(candidates, _strength(samples, candidates), partial(_gain_on_members, members))


def _telling(question: _Question, begun: Sequence[int], count: int) -> list[int]:
    """Begin with the most telling pair unless it is begun, then add the one that tells most beside those."""
    order = question.candidates.tolist()
    taken = [order.index(place) for place in begun]
    if not taken:
        pairs = np.column_stack(np.triu_indices(len(order), 1))
        taken = pairs[_gains(question, pairs).argmax()].tolist()
    while len(taken) < count:
        others = [place for place in range(len(order)) if place not in taken]
        showings = np.array([[*taken, other] for other in others])
        taken.append(others[int(_gains(question, showings).argmax())])
    return [order[place] for place in taken]


def _gains(question: _Question, showings: NDArray[np.intp]) -> Floats:
    strength = question.strength[showings]
    return question.gain(strength / strength.sum(axis=1, keepdims=True))


def _first(order: NDArray[np.intp], most: int, begun: Sequence[int]) -> NDArray[np.intp]:
    """The first of an order, and those that are begun with."""
    rest = order[~np.isin(order, begun)]
    return np.concatenate([np.asarray(begun, dtype=order.dtype), rest])[:most]


def _upper(belief: Posterior, active: Sequence[int]) -> Array:
    index = np.asarray(active)
    return np.asarray(belief.mean[index] + belief.deviations()[index])


def _strength(samples: Floats, candidates: NDArray[np.intp]) -> Floats:
    return np.asarray(np.exp(np.ascontiguousarray(samples[:, candidates].T)))


def _gain_on_best(groups: Floats, shares: Floats) -> Floats:
    """How much a vote on each showing tells of the best one's group: the expected Σ P(group | vote)².

    One less Gini's impurity; what it was before the vote is the same for all showings.

    Args:
        groups: one-hot by sample and group.
        shares: P(chosen) by showing, place and sample.
    """
    overall, joint = _joint(groups, shares)
    return np.asarray(((joint**2).sum(axis=2) / np.maximum(overall, 1e-6)).sum(axis=1))


def _gain_on_members(members: Floats, shares: Floats) -> Floats:
    """Sum over candidates of the mutual information, in nats, between a vote and their membership.

    Args:
        members: 1 or 0 by sample and candidate; of those who are neither in all samples nor in none.
        shares: P(chosen) by showing, place and sample.
    """
    overall, joint = _joint(members, shares)
    within, overall = members.mean(axis=0), overall[:, :, None]
    kept = _spread(joint / within) @ within + _spread((overall - joint) / (1 - within)) @ (1 - within)
    return np.asarray(_spread(overall)[:, 0] * len(within) - kept)


def _joint(groups: Floats, shares: Floats) -> tuple[Floats, Floats]:
    """P(chosen) by showing and place, and P(chosen, group) by showing, place and group."""
    showings, places, samples = shares.shape
    joint = (shares.reshape(-1, samples) @ groups / samples).reshape(showings, places, -1)
    return shares.mean(axis=2), joint


def _spread(shares: Floats) -> Floats:
    """Entropy over the places, which are the second axis."""
    safe = np.clip(shares, 1e-9, 1)
    return np.asarray(-(safe * np.log(safe)).sum(axis=1))
