"""When a training has learnt what it will, and which of its checkpoints to propose. Knows numbers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]

EARLIEST = 0.4
"""Share of the steps before which nothing is stopped."""
FEWEST_PICTURES = 8
"""Training pictures; with fewer, held-out likeness rests on too little to stop by itself (M13)."""
_WINDOW = 0.25
"""Share of the steps over which a trend is looked for."""
_FEWEST = 5
"""Evaluations in the window; fewer make no trend."""
_SURE, _STILL = 2.0, 0.5
"""Standard errors from which on a trend is sure, and under which there is none."""
_WIDTH = 0.1
"""Share of the steps that smoothing reaches to each side (one standard deviation)."""
_DRAWS = 2000
"""Samples of a bootstrap."""
_GAIN = 0.02
"""Share of what was gained so far; a trend that would bring less within a window is flat."""


@dataclass(frozen=True)
class Evaluation:
    """What was found at one step; None where it can't be had.

    Attributes:
        loss: on held-out pictures, by noise level.
        likeness: of samples to the held-out references; more is better, as all that follows but the next
            three.
        training_likeness: of samples to the nearest training picture.
        gap: how much nearer samples are to a training picture than to a held-out one (copy-paste).
        leakage: likeness of pictures whose prompt names the class and not the trigger word.
        prompt: how well samples show what their prompts say (CLIP).
        diversity: how unlike each other samples of one prompt are.
    """

    step: int
    loss: Mapping[float, float]
    likeness: float | None = None
    training_likeness: float | None = None
    gap: float | None = None
    leakage: float | None = None
    prompt: float | None = None
    diversity: float | None = None

    @property
    def mean_loss(self) -> float | None:
        """Over all noise levels."""
        return float(np.mean(list(self.loss.values()))) if self.loss else None


@dataclass(frozen=True)
class Proposal:
    """A checkpoint worth taking.

    Attributes:
        front: steps that no other one beats in both likeness and prompt following, the proposed one among
            them.
        by: what was gone by.
        alike: other steps with a checkpoint of which it is not sure that they are less like the persona.
    """

    step: int
    front: tuple[int, ...]
    by: str
    alike: tuple[int, ...] = ()


@dataclass(frozen=True)
class Beside:
    """One checkpoint's samples beside another's of the same prompts and seeds.

    Attributes:
        difference: mean of how much more alike they are; below 0 they are less so.
        low, high: between these it lies with 90 %.
        pairs: that were compared.
    """

    difference: float
    low: float
    high: float
    pairs: int


def reason_to_stop(evaluations: Sequence[Evaluation], steps: int, pictures: int) -> str | None:
    """Why a run may end now, in a sentence; None while it is worth going on.

    Args:
        evaluations: so far, in order.
        steps: that were planned.
        pictures: that are learnt from.
    """
    known = [one for one in evaluations if one.likeness is not None and one.step > 0]
    if pictures < FEWEST_PICTURES or not known or known[-1].step < EARLIEST * steps:
        return None
    recent = [one for one in known if one.step > known[-1].step - _WINDOW * steps]
    if len(recent) < _FEWEST:
        return None
    first = next((one.likeness for one in evaluations if one.likeness is not None), 0.0)
    at = np.array([one.step for one in recent]) / steps
    slope, error = trend(at, np.array([one.likeness for one in recent], float))
    gained = max(float(np.mean([one.likeness for one in recent])) - float(first or 0.0), 1e-9)
    if slope * _WINDOW < _GAIN * gained or slope < _STILL * error:
        return "Likeness to the held-out pictures no longer rises."
    gaps = [one.gap for one in recent if one.gap is not None]
    if len(gaps) == len(recent):
        growing, error = trend(at, np.array(gaps, float))
        # A gap that grows slower than likeness does is what learning a face looks like.
        if growing > _SURE * error and growing > slope:
            return "The samples come nearer to the training pictures than to the held-out ones: it copies."
    return None


def trend(at: Curve, values: Curve) -> tuple[float, float]:
    """Least-squares slope and its standard error."""
    away = at - at.mean()
    square = float((away**2).sum())
    slope = float((away * (values - values.mean())).sum()) / square
    left = values - values.mean() - slope * away
    return slope, float(np.sqrt((left**2).sum() / max(len(at) - 2, 1) / square))


def smoothed(at: Curve, values: Curve, width: float) -> Curve:
    """A curve without most of its noise: a straight line round each point, near ones weighing more.

    Local linear regression with a normal kernel (Cleveland and Devlin, 1988), so that its ends don't bend.
    """
    found = np.empty(len(values))
    for place, here in enumerate(at):
        away = at - here
        weight = np.exp(-0.5 * (away / width) ** 2)
        mean, value = np.average(away, weights=weight), np.average(values, weights=weight)
        square = (weight * (away - mean) ** 2).sum()
        slope = (weight * (away - mean) * (values - value)).sum() / square if square > 0 else 0.0
        found[place] = value - slope * mean
    return found


def scores(evaluations: Sequence[Evaluation], steps: int) -> dict[int, float]:
    """Step → how good its checkpoint is; more is better. Empty where nothing was measured.

    Likeness times prompt following, each without its noise; likeness alone where prompts can't be judged;
    and without faces the loss on held-out pictures, turned round.
    """
    return {step: like * follows for step, (like, follows) in _judged(evaluations, steps)[0].items()}


def proposed(
    evaluations: Sequence[Evaluation], steps: int, kept: Sequence[int] | None = None
) -> Proposal | None:
    """The checkpoint on the front of likeness and prompt following where their product is greatest.

    Args:
        kept: steps that have a checkpoint; None: all.
    """
    judged, by = _judged(evaluations, steps)
    there = {step: pair for step, pair in judged.items() if kept is None or step in kept}
    if not there:
        return None
    front = tuple(
        step
        for step, pair in sorted(there.items())
        if not any(other[0] >= pair[0] and other[1] >= pair[1] and other != pair for other in there.values())
    )
    return Proposal(max(front, key=lambda step: there[step][0] * there[step][1]), front, by)


def beside(
    one: Mapping[str, float], other: Mapping[str, float], rng: np.random.Generator | None = None
) -> Beside | None:
    """How much more one checkpoint's samples are like the persona than another's, and how sure that is.

    A paired bootstrap (Efron and Tibshirani, 1993, chapter 8): the pairs of one prompt and seed are drawn
    again and again, so that what is hard to draw for both says nothing of either.

    Args:
        one, other: prompt and seed → likeness; what only one of them has is left out.

    Returns:
        None with fewer than two pairs.
    """
    both = sorted(one.keys() & other.keys())
    if len(both) < 2:
        return None
    apart = np.array([one[name] - other[name] for name in both])
    drawn = (rng or np.random.default_rng(0)).integers(len(apart), size=(_DRAWS, len(apart)))
    low, high = np.quantile(apart[drawn].mean(axis=1), (0.05, 0.95))
    return Beside(float(apart.mean()), float(low), float(high), len(both))


def alike(each: Mapping[int, Mapping[str, float]], step: int, kept: Sequence[int]) -> tuple[int, ...]:
    """Other kept steps whose samples are not surely less like the persona than this step's.

    Args:
        each: step → prompt and seed → likeness.
    """
    found = {other: beside(each[other], each[step]) for other in kept if other in each and step in each}
    return tuple(
        other
        for other, told in sorted(found.items())
        if other != step and told is not None and told.high >= 0
    )


def _judged(evaluations: Sequence[Evaluation], steps: int) -> tuple[dict[int, tuple[float, float]], str]:
    """Step → likeness and prompt following, smoothed; and what they are."""
    last = {one.step: one for one in evaluations if one.step > 0}
    known = [last[step] for step in sorted(last)]
    faces = [one for one in known if one.likeness is not None]
    if not faces:
        losses = [(one.step, -one.mean_loss) for one in known if one.mean_loss is not None]
        return {step: (value, 1.0) for step, value in _smooth(losses, steps).items()}, "validation loss"
    likeness = _smooth([(one.step, one.likeness or 0.0) for one in faces], steps)
    if any(one.prompt is None for one in faces):
        return {step: (value, 1.0) for step, value in likeness.items()}, "likeness"
    prompt = _smooth([(one.step, one.prompt or 0.0) for one in faces], steps)
    pairs = {step: (max(likeness[step], 0.0), max(prompt[step], 0.0)) for step in likeness}
    return pairs, "likeness and prompt following"


def _smooth(points: Sequence[tuple[int, float]], steps: int) -> dict[int, float]:
    at = np.array([step for step, _ in points], float) / steps
    values = smoothed(at, np.array([value for _, value in points], float), _WIDTH)
    return {step: float(value) for (step, _), value in zip(points, values, strict=True)}
