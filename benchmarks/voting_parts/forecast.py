"""Whether half of the contests are sure after as many votes as were said to be still to come.

Contests of 20, 50 and 100 pictures, as duels and as grids, are played until sure; at every fifth vote what
`forecast.votes_to_go` says is kept beside what really came.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import numpy as np
from threadpoolctl import threadpool_limits

from persona_tui.services.voting import choosing, forecast, outlook, ranking
from report import Figure
from voting_parts import simulation
from voting_parts.simulation import Setting

MEMBERS, WAYS = (20, 50, 100), {"duel": 2, "grid": 4}
SEEDS, QUICK_SEEDS = 120, 16
FIRST = 9_000_000
"""First seed; none of them was used to fit the formula."""
MOST = 800
LOOK_EVERY = 5
BANDS = ((0.0, 0.5), (0.5, 0.9), (0.9, 1.01))
"""Of what is said, as a share of what is said while everything is open."""
TOLERANCE = 0.15


def figures(quick: bool, processes: int) -> Iterator[Figure]:
    """The share of looks after which no more votes came than were said, for each way and size."""
    seeds = QUICK_SEEDS if quick else SEEDS
    with ProcessPoolExecutor(processes, initializer=threadpool_limits, initargs=(1,)) as pool:
        for way, members in product(WAYS, MEMBERS):
            jobs = [(members, WAYS[way], FIRST + number) for number in range(seeds)]
            looks = np.concatenate(list(pool.map(until_sure, *zip(*jobs, strict=True))))
            said, came = looks.T
            most = said.max()
            for low, high in BANDS:
                inside = (said >= low * most) & (said < high * most)
                share = float((came[inside] <= said[inside]).mean())
                print(
                    f"  {way} of {members}, {low:.1f}–{high:.1f} of {most:.0f}: {share:.2f} of {inside.sum()}"
                )
            within = float((came <= said).mean())
            yield Figure(f"forecast kept, {way} of {members}", abs(within - 0.5), "off half", "<=", TOLERANCE)


def until_sure(members: int, shown: int, seed: int) -> np.ndarray:
    """One contest: votes that were said to be to come, and that came, at every fifth vote."""
    rng = np.random.default_rng(seed)
    setting = Setting(shown, MOST, members=members)
    truth = simulation.qualities(setting, rng)
    belief, active = ranking.Posterior.prior(members), tuple(range(members))
    unseen, said = set(active), []
    for press in range(1, MOST + 1):
        pictures = choosing.choose(belief, active, rng, count=shown, unseen=unseen)
        belief = ranking.update(belief, pictures, simulation.answer(setting, truth, pictures, rng))
        unseen -= set(pictures)
        if press % LOOK_EVERY == 0:
            seen = outlook.look(belief, active, 1, rng)
            if seen.sure(1):
                return np.array([(words, press - at) for at, words in said]).reshape(-1, 2)
            said.append((press, forecast.votes_to_go(seen, members, 1, shown)))
    return np.array([(words, np.inf) for _, words in said])
