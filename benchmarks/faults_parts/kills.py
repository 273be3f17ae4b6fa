"""T1: kill -9 at each boundary, found by counting (R22); then the post is out once, under its own id."""

from __future__ import annotations

import random
import signal
from typing import Any

from benchmarks.faults_parts.sizes import Row, Run, Sizes
from benchmarks.faults_parts.stage import FRESH_EVERY, Stage
from tests.support.publishing import World

PICTURES = 10
KINDS = ("single", "carousel") if hasattr(World, "carousel") else ("single",)
AGAIN = 1 / 3
"""Chance that the restarted process is killed, too."""
RESTARTS = 8


def kill(stage: Stage, *, seed: int, n: int, kind: str = "single") -> Row:
    """One post, whose process is killed at the n-th boundary; a third of the restarted ones as well.

    Args:
        n: 0 kills nobody.
    """
    rng = random.Random(f"T1 {kind} {seed} {n}")
    (world,) = stage.begin(seed)
    stage.hostile(seed)
    world.carousel(PICTURES) if kind == "carousel" else world.post()
    ended = stage.order(world, n=n, fresh=n > 0 and n % FRESH_EVERY == 0)
    kills = hits = int(ended["signal"] == signal.SIGKILL)
    for _ in range(RESTARTS):
        again = rng.randint(1, 40) if hits and kills == 1 and rng.random() < AGAIN else 0
        last = stage.order(world, n=again)
        kills += last["signal"] == signal.SIGKILL
        if last["exit"] == 0:
            break
    verdict = stage.verdict()
    return {
        "hit": bool(hits),
        "kills": kills,
        "boundary": ended["boundaries"][-1] if hits else "",
        "boundaries": len(ended["boundaries"]),
        "exit": last["exit"],
        **verdict.as_row(),
    }


def plan(run: Run, size: Sizes) -> None:
    """T1: kill -9 at each boundary."""
    for kind in KINDS:
        for seed in size.seeds:
            _each_boundary(run, kind, seed, size.kill_points)


def _each_boundary(run: Run, kind: str, seed: int, points: int) -> None:
    """Kill at n = 1, 2, … until a run passes untouched; or at some, drawn by the seed."""
    if points:
        found = run("T1", kind=kind, seed=seed, n=0)["boundaries"]
        for n in sorted(random.Random(seed).sample(range(1, found + 1), min(points, found))):
            run("T1", kind=kind, seed=seed, n=n)
        return
    n = 1
    while run("T1", kind=kind, seed=seed, n=n)["hit"]:
        n += 1


PLAYS: dict[str, Any] = {"T1": kill}
PLANS: dict[str, Any] = {"T1": plan}
