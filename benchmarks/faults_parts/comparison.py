"""T19: the same posts, faults and kills for the usual designs and for ours."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from typing import Any

from benchmarks.faults_parts.bulk import lay
from benchmarks.faults_parts.sizes import Row, Run, Sizes
from benchmarks.faults_parts.stage import ROOT, Stage
from tests.support.publishing import World
from tests.support.publishing_rows import picture

DESIGNS = ("job_store", "retry", "ours")
STEPS = {"job_store": (20, 60), "retry": (20, 60), "ours": (150, 450)}
"""Steps until the next kill: about every fifth post in each design."""
MOST_STARTS = 60
SHARE = 0.02
"""Of calls, for each kind of fault."""


def compare(stage: Stage, *, seed: int, design: str, posts: int) -> Row:
    """T19: so many posts under one design, killed at every fifth one or so.

    Args:
        design: `job_store`, `retry` or `ours`.
    """
    (world,) = stage.begin(seed)
    stage.hostile(seed, share=SHARE, container_seconds=0, stale_status=0.0)
    rng = random.Random(f"T19 {seed}")
    if design == "ours":
        lay(world, posts, world.now(), apart=60)
        kills = _ours(stage, world, rng)
        return stage.verdict().as_row() | {"kills": kills}
    kills = _theirs(stage, world, rng, design, posts)
    out = Counter(entry["caption"] for entry in stage.entries() if entry["event"] == "published")
    return {
        "posts": posts,
        "published": len(out),
        "doubled": sum(out.values()) - len(out),
        "lost": posts - len(out),
        "wrong": 0,
        "unresolved": 0,
        "kills": kills,
    }


def _ours(stage: Stage, world: World, rng: random.Random) -> int:
    kills = 0
    for _ in range(MOST_STARTS):
        ended = stage.order(world, n=rng.randint(*STEPS["ours"]))
        kills += ended["signal"] == signal.SIGKILL
        if ended["exit"] == 0:
            break
    return kills


def _theirs(stage: Stage, world: World, rng: random.Random, design: str, posts: int) -> int:
    (world.site.media_dir / "baseline.jpg").write_bytes(_jpeg())
    order = {
        "design": design,
        "posts": posts,
        "name": f"{design}",
        "store": str(stage.folder / f"{design}-{rng.random()}.sqlite"),
        "instagram": world.site.instagram,
        "token": world.token,
        "account": world.ig_user_id,
        "picture": f"{world.site.media}/baseline.jpg",
    }
    kills = 0
    for start in range(MOST_STARTS):
        told = json.dumps({**order, "first": start == 0, "kill": rng.randint(*STEPS[design])})
        command = [sys.executable, "-m", "benchmarks.faults_parts.baseline", told]
        code = subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode
        kills += code == -signal.SIGKILL
        if code == 0:
            break
    return kills


def _jpeg() -> bytes:
    from persona_tui.services.publishing.prepare import prepare_feed_picture
    from persona_tui.services.safety.disclosure import Provenance

    return prepare_feed_picture(picture(1), provenance=Provenance.GENERATED).jpeg


def plan(run: Run, size: Sizes) -> None:
    """T19: beside the usual designs."""
    for design in DESIGNS:
        run("T19", seed=size.seed, design=design, posts=size.publishes // 50)


PLAYS: dict[str, Any] = {"T19": compare}
PLANS: dict[str, Any] = {"T19": plan}
