"""Contests that begin with predictions: what a good one saves, and what one that says nothing costs.

The predictions correlate with the true qualities by 0.5, or not at all; how much they are worth is learnt in
each contest by its votes. Then the taste itself: how well weights learnt from so many votes on pictures of
earlier contests foretell the qualities in a new one.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from persona_tui.services.voting.taste import learn
from report import Figure
from voting_parts import simulation
from voting_parts.votes import CLAIMS, QUICK_SEEDS, SEEDS

FIRST = 3_000_000
PRESSES = {"duel": (75, 160, 1.25), "grid": (36, 90, 1.20)}
"""Claimed with a good prediction; played at most; claimed factor with one that says nothing."""
VOTES = (30, 100, 300, 1000)
DIMENSIONS, FACTORS, PICTURES = 512, 24, 50
SHARE = 0.7
"""Correlation of the qualities with what is linear in the embeddings: no taste can do better."""


def figures(quick: bool, keep: Path | None, processes: int) -> Iterator[Figure]:
    """Presses to P(best) ≥ 0.7 with a prediction of 0.5, the damage of one of 0, and what is learnt."""
    seeds = QUICK_SEEDS if quick else SEEDS
    with ProcessPoolExecutor(processes, initializer=threadpool_limits, initargs=(1,)) as pool:
        for way, (most, presses, factor) in PRESSES.items():
            setting = replace(CLAIMS[way][0], presses=presses)
            goal = CLAIMS[way][1][1]
            found = {
                old: goal.of(simulation.simulate(pool, replace(setting, old=old), FIRST, seeds, keep))
                for old in (None, 0.5, 0.0)
            }
            for old, words in ((None, "none"), (0.5, "0.5"), (0.0, "0")):
                print(f"  {way}, prediction {words}: {found[old].words()}", flush=True)
            without = found[None].presses
            yield Figure(f"{way}, prediction 0.5", found[0.5].presses, "presses", "<=", most, without)
            yield Figure(f"{way}, damage of prediction 0", found[0.0].presses / without, "×", "<=", factor)
    for votes in VOTES:
        learnt = float(np.mean([learnt_correlation(votes, seed) for seed in range(3 if quick else 12)]))
        yield Figure(
            f"correlation learnt from {votes} votes", learnt, "", ">=", 0.5 if votes >= 300 else None
        )


def learnt_correlation(votes: int, seed: int) -> float:
    """Of utilities and qualities in contests that come after, for pictures made of hidden factors."""
    rng = np.random.default_rng(FIRST + seed)
    loadings = rng.normal(size=(FACTORS, DIMENSIONS)) * np.linspace(2, 0.3, FACTORS)[:, None]
    liking = rng.normal(size=FACTORS) * np.linspace(2, 0.3, FACTORS)

    def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
        factors = rng.normal(size=(count, FACTORS))
        vectors = factors @ loadings + 0.5 * rng.normal(size=(count, DIMENSIONS))
        linear = factors @ liking / np.linalg.norm(liking)
        qualities = 2 * (SHARE * linear + (1 - SHARE**2) ** 0.5 * rng.normal(size=count))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), qualities

    vectors, qualities = pictures(max(PICTURES, votes))
    shown = np.full((votes, 4), -1)
    for vote in range(votes):
        contest = PICTURES * int(rng.integers(len(vectors) // PICTURES))
        shown[vote, :2] = contest + rng.choice(PICTURES, 2, replace=False)
    gap = qualities[shown[:, 1]] - qualities[shown[:, 0]]
    weights = learn(vectors, shown, (rng.random(votes) < 1 / (1 + np.exp(-gap))).astype(int))
    later, truth = pictures(2_000)
    return float(np.corrcoef(later @ weights, truth)[0, 1])
