"""Simulated contests: the product's own functions choose and update; a voter with known qualities answers.

Qualities are normal with a standard deviation `sd` in logits (or Student's t with 3 degrees, scaled to it). A
vote takes one of the shown by Plackett–Luce. Deviations of the voter: random presses, a lean to the left, and
grids in which differences count less (`reliability`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from persona_tui.services.voting import choosing, outlook, ranking
from persona_tui.services.voting.state import LATELY

Array = NDArray[np.float64]
CHUNK = 25
"""Seeds that one process takes at a time."""
LOOK_EVERY = 10
"""Presses between two looks at what the posterior says of itself."""
COLUMNS = ("regret", "found", "recall")
LOOKS = ("press", "stated", "right", "regret", "top_k", "top_right")


@dataclass(frozen=True)
class Setting:
    """One kind of contest and voter.

    Attributes:
        shown: 2 is a duel, 4 a grid.
        k: 1 looks for the best, 5 for the best five.
        presses: votes until a contest ends.
        lapse: share of presses that are random.
        left: share of presses that take the leftmost.
        reliability: factor on all differences as the voter sees them.
        old: correlation of old ratings with the qualities; None without old ratings.
    """

    shown: int
    presses: int
    members: int = 50
    sd: float = 2.0
    k: int = 1
    lapse: float = 0.0
    left: float = 0.0
    heavy: bool = False
    reliability: float = 1.0
    old: float | None = None

    def key(self) -> str:
        """A name for files: of the setting and of the code that is measured."""
        code = [Path(module.__file__ or "").read_bytes() for module in (choosing, ranking, outlook)]
        return hashlib.sha256(b"".join([repr(self).encode(), *code])).hexdigest()[:16]


@dataclass(frozen=True)
class Runs:
    """What came of many contests.

    Attributes:
        curves: by seed, press and column of `COLUMNS`.
        looks: rows of `LOOKS`.
    """

    curves: NDArray[np.floating]
    looks: Array


def qualities(setting: Setting, rng: np.random.Generator) -> Array:
    """The true qualities of one contest, in logits."""
    if setting.heavy:
        return np.asarray(rng.standard_t(3, setting.members) * setting.sd / 3**0.5)
    return rng.normal(0, setting.sd, setting.members)


def answer(setting: Setting, truth: Array, shown: tuple[int, ...], rng: np.random.Generator) -> int:
    """Which of the shown the voter takes."""
    fate = rng.random()
    if fate < setting.lapse:
        return shown[int(rng.integers(len(shown)))]
    if fate < setting.lapse + setting.left:
        return shown[0]
    seen = setting.reliability * truth[list(shown)]
    return shown[int((seen + rng.gumbel(size=len(shown))).argmax())]


def play(setting: Setting, seed: int) -> tuple[Array, list[tuple[float, ...]]]:
    """One contest: its curve, and its looks."""
    rng = np.random.default_rng(seed)
    truth = qualities(setting, rng)
    belief = _prior(setting, truth, rng)
    active = tuple(range(setting.members))
    unseen = set(active) if setting.old is None else set()
    top = set(np.argsort(-truth)[:5].tolist())
    curve, looks = np.empty((setting.presses, len(COLUMNS))), []
    lately: list[tuple[int, ...]] = []
    for press in range(setting.presses):
        shown = choosing.choose(
            belief, active, rng, count=setting.shown, k=setting.k, unseen=unseen, lately=lately
        )
        lately = [*lately, shown][-LATELY:]
        belief = ranking.update(belief, shown, answer(setting, truth, shown, rng))
        unseen -= set(shown)
        leader = int(belief.mean.argmax())
        leading = set(np.argpartition(-belief.mean, 5)[:5].tolist())
        curve[press] = (
            truth.max() - truth[leader],
            truth[leader] == truth.max(),
            len(top & leading) / 5,
        )
        if press % LOOK_EVERY == LOOK_EVERY - 1:
            seen = outlook.look(belief, active, setting.k, rng)
            found = (press + 1, seen.best, curve[press, 1], seen.regret, seen.top_k, float(top == leading))
            looks.append(found)
    return curve, looks


def _prior(setting: Setting, truth: Array, rng: np.random.Generator) -> ranking.Posterior:
    if setting.old is None:
        return ranking.Posterior.prior(setting.members)
    noise = rng.normal(0, setting.sd * (1 - setting.old**2) ** 0.5, setting.members)
    return ranking.Posterior.prior_from(
        np.round(1000 + 100 * (setting.old * truth + noise)).astype(int).tolist()
    )


def play_many(setting: Setting, seeds: Iterable[int]) -> Runs:
    """Several contests in this process."""
    played = [play(setting, seed) for seed in seeds]
    return Runs(
        np.stack([curve for curve, _ in played]), np.array([row for _, rows in played for row in rows])
    )


def simulate(
    pool: ProcessPoolExecutor, setting: Setting, first: int, count: int, folder: Path | None
) -> Runs:
    """So many contests, by seed from `first` on; chunks that lie in the folder are not played again."""
    starts = range(first, first + count, CHUNK)
    parts = list(pool.map(_chunk, *zip(*((setting, start, folder) for start in starts), strict=True)))
    curves = np.concatenate([part.curves for part in parts])[:count]
    return Runs(curves, np.concatenate([part.looks for part in parts]))


def _chunk(setting: Setting, start: int, folder: Path | None) -> Runs:
    kept = None if folder is None else folder / f"{setting.key()}-{start}.npz"
    if kept is not None and kept.exists():
        with np.load(kept) as arrays:
            return Runs(arrays["curves"], arrays["looks"])
    runs = play_many(setting, range(start, start + CHUNK))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, curves=runs.curves, looks=runs.looks)
    return runs


def elo(
    members: int, sd: float, presses: int, first: int, count: int, *, unvoted: bool
) -> NDArray[np.float32]:
    """Random pairs scored by Elo with K = 32, as the predecessor rounds it, for many contests at once.

    Args:
        unvoted: the predecessor's rule: a pair that was voted on is never shown again, so that votes end with
            the pairs.

    Returns:
        By seed, press and column of `COLUMNS`.
    """
    rng = np.random.default_rng((first, 32))
    truth = rng.normal(0, sd, (count, members))
    pairs = np.stack(np.triu_indices(members, 1))
    presses = min(presses, pairs.shape[1]) if unvoted else presses
    every = np.arange(count)
    order = rng.permuted(np.tile(np.arange(pairs.shape[1]), (count, 1)), axis=1)
    top = np.zeros((count, members), bool)
    np.put_along_axis(top, np.argsort(-truth, axis=1)[:, :5], True, axis=1)
    scores, curve = np.full((count, members), 1000.0), np.empty((count, presses, len(COLUMNS)), np.float32)
    for press in range(presses):
        drawn = order[:, press] if unvoted else rng.integers(pairs.shape[1], size=count)
        left, right = pairs[:, drawn]
        wins = rng.random(count) < 1 / (1 + np.exp(truth[every, right] - truth[every, left]))
        expected = 1 / (1 + 10 ** ((scores[every, right] - scores[every, left]) / 400))
        change = np.round(32 * (wins - expected))
        scores[every, left] += change
        scores[every, right] -= change
        leader = scores.argmax(axis=1)
        leading = np.argpartition(-scores, 5, axis=1)[:, :5]
        curve[:, press, 0] = truth.max(axis=1) - truth[every, leader]
        curve[:, press, 1] = curve[:, press, 0] == 0
        curve[:, press, 2] = np.take_along_axis(top, leading, axis=1).mean(axis=1)
    return curve
