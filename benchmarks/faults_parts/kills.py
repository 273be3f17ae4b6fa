"""T1: kill -9 at each boundary, found by counting (R22); then the post is out once, under its own id."""

from __future__ import annotations

import random
import signal
from collections.abc import Sequence
from typing import Any

from benchmarks.faults_parts.sizes import Row, Run, Sizes
from benchmarks.faults_parts.stage import FRESH_EVERY, Stage
from tests.support.publishing import World

from persona_tui.clients.instagram_login import LoginName

PICTURES = 10
AGAIN = 1 / 3
"""Chance that the restarted process is killed, too."""
RESTARTS = 8
OTHERS: Sequence[tuple[str, LoginName, int]] = (
    ("single", "facebook", 4),
    ("carousel", "instagram", 64),
    ("carousel", "facebook", 64),
    ("reel", "instagram", 8),
    ("reel", "facebook", 8),
)
"""Kind of post, login, and the stride: each seed kills at every so-manieth boundary, the next in between.

Under the faults of R23 a single picture comes through some 150 boundaries, a carousel of ten through 1,000.
"""


def kill(stage: Stage, *, seed: int, n: int, kind: str = "single", account: LoginName | None = None) -> Row:
    """One post, whose process is killed at the n-th boundary; a third of the restarted ones as well.

    Args:
        n: 0 kills nobody.
        account: as in `Stage.begin`.
    """
    rng = random.Random(f"T1 {kind} {seed} {n}")
    (world,) = stage.begin(seed, account=account)
    stage.hostile(seed)
    _plan_post(world, kind)
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


def _plan_post(world: World, kind: str) -> None:
    if kind == "carousel":
        world.carousel(PICTURES)
    elif kind == "reel":
        world.reel()
    else:
        world.post()


def plan(run: Run, size: Sizes) -> None:
    """T1: kill -9 at each boundary."""
    for seed in size.seeds:
        _each_boundary(run, size.kill_points, seed=seed, kind="single")
    for kind, account, stride in OTHERS:
        for number in range(size.other_seeds):
            given = {"seed": size.seed + number, "kind": kind, "account": account}
            first = 1 + number * stride // size.other_seeds
            _each_boundary(run, size.kill_points // 2, first=first, stride=stride, **given)


def _each_boundary(run: Run, points: int, *, first: int = 1, stride: int = 1, **case: Any) -> None:
    """Kill at every so-manieth boundary until a run passes untouched; or at some, drawn by the seed."""
    if points:
        found = run("T1", n=0, **case)["boundaries"]
        drawn = random.Random(case["seed"]).sample(range(1, found + 1), min(points, found))
        for n in sorted(drawn):
            run("T1", n=n, **case)
        return
    n = first
    while run("T1", n=n, **case)["hit"]:
        n += stride


PLAYS: dict[str, Any] = {"T1": kill}
PLANS: dict[str, Any] = {"T1": plan}
