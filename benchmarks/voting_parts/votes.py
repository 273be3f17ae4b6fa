"""How many key presses until the best is found: ours, random pairs with Elo, and the predecessor's rule."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from report import Figure
from voting_parts import simulation, thresholds
from voting_parts.simulation import Setting
from voting_parts.thresholds import Reached

SEEDS, QUICK_SEEDS = 1_000, 50
SEEDS_OF_DUEL = 4_000
"""P(best) of duels rises so slowly about 0.7 that 1,000 seeds leave an interval of 20 presses."""
SECOND = 1_000_000
"""First seed of the set that confirms."""
ELO_PRESSES = 4_500
LAPSE, LAPSE_FACTOR = 0.1, 1.4
TIMES_FEWER = 30.0
CALIBRATION = 0.05
REGRET, FOUND, RECALL = range(3)


@dataclass(frozen=True)
class Goal:
    """A threshold that the average contest is to pass.

    Attributes:
        name: for the table.
        column: of `simulation.COLUMNS`.
        threshold: to be passed.
        presses: until then at most; the claim.
    """

    name: str
    column: int
    threshold: float
    presses: int

    def of(self, runs: simulation.Runs) -> Reached:
        """Presses in these contests."""
        rising = self.column != REGRET
        return thresholds.reached(runs.curves[:, :, self.column], self.threshold, rising=rising)


CLAIMS: dict[str, tuple[Setting, tuple[Goal, ...]]] = {
    "duel": (
        Setting(2, 130),
        (Goal("regret ≤ 0.25", REGRET, 0.25, 75), Goal("P(best) ≥ 0.7", FOUND, 0.7, 90)),
    ),
    "grid": (
        Setting(4, 70),
        (Goal("regret ≤ 0.25", REGRET, 0.25, 36), Goal("P(best) ≥ 0.7", FOUND, 0.7, 42)),
    ),
    "duel for the top 5": (Setting(2, 210, k=5), (Goal("recall ≥ 0.8", RECALL, 0.8, 165),)),
    "grid for the top 5": (Setting(4, 120, k=5), (Goal("recall ≥ 0.8", RECALL, 0.8, 92),)),
}
LAPSE_PRESSES = {"duel": 150, "grid": 85, "duel for the top 5": 250, "grid for the top 5": 150}


def figures(quick: bool, keep: Path | None, processes: int) -> Iterator[Figure]:
    """All claims on the first set of seeds, then on the second, then beside the alternatives."""
    # Matrices this small are four times slower where each process spreads them over all cores.
    with ProcessPoolExecutor(processes, initializer=threadpool_limits, initargs=(1,)) as pool:
        first = {
            name: simulation.simulate(pool, setting, 0, _seeds(name, quick), keep)
            for name, (setting, _) in CLAIMS.items()
        }
        yield from _claims(first, "")
        yield from _calibration(first)
        yield from _beside(first, quick)
        second = {
            name: simulation.simulate(pool, setting, SECOND, _seeds(name, quick), keep)
            for name, (setting, _) in CLAIMS.items()
        }
        yield from _claims(second, ", second seeds")
        lapsed = {
            name: simulation.simulate(
                pool,
                replace(setting, lapse=LAPSE, presses=LAPSE_PRESSES[name]),
                0,
                _seeds(name, quick),
                keep,
            )
            for name, (setting, _) in CLAIMS.items()
        }
        yield from _claims(lapsed, ", 10 % random presses", LAPSE_FACTOR)


def _seeds(name: str, quick: bool) -> int:
    return QUICK_SEEDS if quick else SEEDS_OF_DUEL if name == "duel" else SEEDS


def _claims(found: dict[str, simulation.Runs], words: str, factor: float = 1.0) -> Iterator[Figure]:
    for name, runs in found.items():
        for goal in CLAIMS[name][1]:
            presses = goal.of(runs)
            print(f"  {name}, {goal.name}{words}: {presses.words()}, {len(runs.curves)} seeds", flush=True)
            yield Figure(
                f"{name}, {goal.name}{words}", presses.presses, "presses", "<=", goal.presses * factor
            )


def _calibration(found: dict[str, simulation.Runs]) -> Iterator[Figure]:
    """The largest difference between what P(best) says and how often it was right, over the deciles."""
    stated_at, right_at = simulation.LOOKS.index("stated"), simulation.LOOKS.index("right")
    looks = np.concatenate([found["duel"].looks, found["grid"].looks])
    deciles = thresholds.calibration(looks[:, stated_at], looks[:, right_at])
    for stated, right, count in deciles:
        print(f"  stated {stated:.2f}, right {right:.2f}, {count} looks", flush=True)
    worst = max((abs(stated - right) for stated, right, _ in deciles), default=math.nan)
    yield Figure("calibration of P(best), worst decile", worst, "", "<=", CALIBRATION)


def _beside(found: dict[str, simulation.Runs], quick: bool) -> Iterator[Figure]:
    """The alternatives with the same goals; one that never arrives counts with the votes that it had."""
    seeds = _seeds("duel", quick)
    for name, unvoted in (("random pairs with Elo", False), ("the predecessor's rule", True)):
        parts = range(0, seeds, SEEDS)
        played = [
            simulation.elo(50, 2.0, ELO_PRESSES, first, min(SEEDS, seeds), unvoted=unvoted) for first in parts
        ]
        curves = np.concatenate(played)
        runs = simulation.Runs(curves, np.empty((0, len(simulation.LOOKS))))
        for way in ("duel", "grid"):
            for goal in CLAIMS[way][1]:
                theirs, ours = goal.of(runs), goal.of(found[way])
                print(f"  {name}, {goal.name}: {theirs.words()}", flush=True)
                least = min(theirs.presses, curves.shape[1])
                claimed = TIMES_FEWER if goal.column == FOUND and not unvoted else None
                yield Figure(
                    f"times fewer presses than {name}, {way}, {goal.name}",
                    least / ours.presses,
                    "×",
                    ">=",
                    claimed,
                    least,
                )
