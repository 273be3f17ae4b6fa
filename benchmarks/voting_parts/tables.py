"""Contests of other sizes, closer qualities, voters who err: tables with intervals for docs/ranking.md."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from persona_tui.services.voting import choosing, ranking, ways
from report import Figure
from voting_parts import simulation
from voting_parts.simulation import Setting
from voting_parts.votes import CLAIMS

SEEDS, QUICK_SEEDS = 300, 25
FIRST, AGREEMENT_FIRST = 2_000_000, 5_000_000
REPEATABLE = {"duel": 80, "grid": 40}
"""Presses of the contests in which the agreement of repeats is looked at."""
ROWS: dict[str, tuple[Setting, ...]] = {
    "20 pictures": (Setting(2, 90, members=20), Setting(4, 60, members=20)),
    "100 pictures": (Setting(2, 280, members=100), Setting(4, 140, members=100)),
    "20 pictures, deviation 1": (Setting(2, 160, members=20, sd=1), Setting(4, 110, members=20, sd=1)),
    "50 pictures, deviation 1": (Setting(2, 260, sd=1), Setting(4, 180, sd=1)),
    "100 pictures, deviation 1": (Setting(2, 400, members=100, sd=1), Setting(4, 260, members=100, sd=1)),
    "heavy tails": (Setting(2, 130, heavy=True), Setting(4, 70, heavy=True)),
    "5 % take the left one": (Setting(2, 140, left=0.05), Setting(4, 80, left=0.05)),
    "10 % random presses": (Setting(2, 160, lapse=0.1), Setting(4, 90, lapse=0.1)),
    "grid judged at 0.8": (Setting(4, 100, reliability=0.8),),
    "grid judged at 0.6": (Setting(4, 160, reliability=0.6),),
    "old ratings, correlation 0.5": (Setting(2, 120, old=0.5), Setting(4, 70, old=0.5)),
    "old ratings that say nothing": (Setting(2, 150, old=0.0), Setting(4, 90, old=0.0)),
}
"""50 pictures and a deviation of 2 logits where nothing else is said."""
GOALS = CLAIMS["duel"][1]


def figures(quick: bool, keep: Path | None, processes: int) -> Iterator[Figure]:
    """One figure for each row, way and goal, and the table's lines as they come."""
    seeds = QUICK_SEEDS if quick else SEEDS
    with ProcessPoolExecutor(processes, initializer=threadpool_limits, initargs=(1,)) as pool:
        for name, settings in ROWS.items():
            for setting in settings:
                runs = simulation.simulate(pool, setting, FIRST, seeds, keep)
                way = "duel" if setting.shown == 2 else "grid"
                found = [goal.of(runs) for goal in GOALS]
                print(f"| {name} | {way} | " + " | ".join(one.words() for one in found) + " |", flush=True)
                for goal, one in zip(GOALS, found, strict=True):
                    yield Figure(f"{name}, {way}, {goal.name}", one.presses, "presses")
    yield from _agreements(3 if quick else 30)


def _agreements(seeds: int) -> Iterator[Figure]:
    """How often a repeated showing is answered as before, beside what `ways.AGREEMENT` says of it."""
    for way, shown in ways.SHOWN.items():
        for said, reliability in zip(ways.AGREEMENT[way], ways.RELIABILITIES, strict=True):
            setting = Setting(shown, REPEATABLE[way], reliability=reliability)
            found = float(np.mean([_agreement(setting, seed) for seed in range(seeds)]))
            yield Figure(f"answered as before, {way} at {reliability}", found, "", baseline=said)


def _agreement(setting: Setting, seed: int) -> float:
    """Mean of Σ p² over the showings of one contest."""
    rng = np.random.default_rng(AGREEMENT_FIRST + seed)
    truth = simulation.qualities(setting, rng)
    belief, active = ranking.Posterior.prior(setting.members), tuple(range(setting.members))
    unseen, same = set(active), []
    for _ in range(setting.presses):
        pictures = choosing.choose(belief, active, rng, count=setting.shown, unseen=unseen)
        shares = np.exp(setting.reliability * truth[list(pictures)])
        same.append(float(((shares / shares.sum()) ** 2).sum()))
        belief = ranking.update(belief, pictures, simulation.answer(setting, truth, pictures, rng))
        unseen -= set(pictures)
    return float(np.mean(same))
