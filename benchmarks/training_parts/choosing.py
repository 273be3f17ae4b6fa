"""Which checkpoint is proposed and when a run is stopped, on simulated curves with measured noise."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from persona_tui.gpu.training.choosing import (
    EARLIEST,
    Curve,
    Evaluation,
    proposed,
    reason_to_stop,
)
from report import Figure

NOISE = Path(__file__).with_name("evaluation_noise.json")
_CURVES = 200
_STEPS = 2000
_EVERY = 100
_PICTURES = 20


@dataclass(frozen=True)
class Truth:
    """A run without noise, at each evaluation.

    Attributes:
        likeness: rises, then falls where it overfits.
        training: rises on and on.
        prompt: falls as the LoRA drowns the words.
    """

    at: Curve
    likeness: Curve
    training: Curve
    prompt: Curve

    @property
    def value(self) -> Curve:
        """What a checkpoint is worth."""
        return self.likeness * self.prompt

    @property
    def right(self) -> float:
        """The share of the steps at which 99 % of the likeness that there will be is reached."""
        return float(self.at[np.argmax(self.likeness >= self._start + 0.99 * self._gain)])

    @property
    def _start(self) -> float:
        return float(self.likeness[0])

    @property
    def _gain(self) -> float:
        return float(self.likeness.max()) - self._start


def drawn(random: np.random.Generator) -> Truth:
    """A run: how fast it learns, how far it comes and how it overfits all differ."""
    at = np.arange(0, _STEPS + 1, _EVERY) / _STEPS
    start, top = random.uniform(0.02, 0.15), random.uniform(0.45, 0.7)
    pace = np.exp(random.uniform(np.log(0.05), np.log(0.35)))
    learnt = 1 - np.exp(-((at / pace) ** random.uniform(1.0, 1.6)))
    begins, fall = random.uniform(0.3, 0.9), random.uniform(0, 0.4)
    over = np.maximum(at - begins, 0)
    likeness = start + (top - start) * learnt - fall * over**1.5
    training = start + (top - start) * learnt * random.uniform(1.0, 1.1) + random.uniform(0.05, 0.3) * over
    prompt = random.uniform(0.28, 0.34) * (
        1 - random.uniform(0.02, 0.12) * learnt - random.uniform(0, 0.4) * over
    )
    return Truth(at, likeness, training, prompt)


def measured(truth: Truth, noise: dict[str, float], random: np.random.Generator) -> list[Evaluation]:
    """The run as evaluations show it: each figure with the relative noise of repeated evaluations."""
    seen = {
        name: curve + random.standard_normal(len(curve)) * noise[key] * abs(float(curve.mean()))
        for name, curve, key in (
            ("likeness", truth.likeness, "likeness"),
            ("training", truth.training, "training_likeness"),
            ("prompt", truth.prompt, "prompt"),
        )
    }
    return [
        Evaluation(
            round(share * _STEPS),
            {},
            likeness=float(seen["likeness"][place]),
            training_likeness=float(seen["training"][place]),
            gap=float(seen["training"][place] - seen["likeness"][place]),
            prompt=float(seen["prompt"][place]),
        )
        for place, share in enumerate(truth.at)
    ]


def stopped_at(evaluations: list[Evaluation]) -> int:
    """How many evaluations a run sees until it is stopped, or ends."""
    for seen in range(1, len(evaluations)):
        if reason_to_stop(evaluations[:seen], _STEPS, _PICTURES):
            return seen
    return len(evaluations)


def figures(_quick: bool) -> Iterable[Figure]:
    """Shares of runs in which the choice was good enough, and of how late they were stopped."""
    noise = json.loads(NOISE.read_text())["relative"]
    # Other curves than those that the rules' constants were found on (seed 7).
    random = np.random.default_rng(4001)
    ours, naive, last, late, stops = [], [], [], [], []
    for _ in range(_CURVES):
        truth = drawn(random)
        evaluations = measured(truth, noise, random)
        seen = stopped_at(evaluations)
        worth = truth.value / truth.value.max()
        choice = proposed(evaluations[:seen], _STEPS)
        assert choice is not None
        ours.append(worth[choice.step // _EVERY])
        likenesses = [one.training_likeness or 0.0 for one in evaluations]
        naive.append(worth[int(np.argmax(likenesses))])
        last.append(worth[-1])
        share = float(truth.at[seen - 1])
        stops.append(share)
        late.append(share - max(truth.right, EARLIEST))
    good = [float(np.mean(np.array(values) >= 0.95)) for values in (ours, naive, last)]
    yield Figure("choice within 5 % of the best", good[0], "of runs", ">=", 0.9, good[1])
    yield Figure("the last within 5 % of the best", good[2], "of runs")
    yield Figure(
        "stopped at most 20 % of the steps late", float(np.mean(np.array(late) <= 0.2)), "of runs", ">=", 0.9
    )
    yield Figure("how late, 95th percentile", float(np.percentile(late, 95)), "of the steps")
    yield Figure("earliest stop", min(stops), "of the steps", ">=", EARLIEST)
    yield Figure("mean stop", float(np.mean(stops)), "of the steps")
