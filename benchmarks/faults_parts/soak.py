"""T18: weeks in virtual time, with kills and faults; T12: clocks that jump, days of 23 or 25 hours."""

from __future__ import annotations

import asyncio
import random
import signal
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from benchmarks.faults_parts.bulk import lay
from benchmarks.faults_parts.sizes import Row, Run, Sizes
from benchmarks.faults_parts.stage import Stage
from tests.support.publishing import World

from persona_tui.services.publishing import posts

EVERY = 8 * 3600
"""Seconds between a persona's posts: three a day."""
GAP = 30
FAULTS = 0.01 / 7
"""Of each of the seven kinds: 1 % of calls together."""
A_KILL = (60, 190)
"""Boundaries until the next kill: about an hour of twenty personas."""
WITHOUT_A_PERSON, LATE_WITHIN = 0.99, 60.0
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Africa/Casablanca",
    "America/St_Johns",
)
JUMPS = (7200.0, -7200.0, -600.0, 600.0, 8 * 3600.0)
"""Seconds that the wall clock is set by; the last is a suspend, in which the boot clock goes on."""


def weeks(stage: Stage, *, seed: int, days: int, personas: int) -> Row:
    """T18: three posts a day for each persona, 1 % faults on every call, a kill about every hour."""
    worlds = stage.begin(seed, personas=personas)
    stage.hostile(seed, share=FAULTS, quota_total=50)
    rng = random.Random(f"T18 {seed}")
    began = worlds[0].now() + timedelta(minutes=1)
    for number, world in enumerate(worlds):
        first = began + timedelta(seconds=number * EVERY / personas)
        lay(world, 3 * days, first, apart=EVERY, grace_minutes=360)
    kills, exits = 0, 0
    while exits < 3:
        seconds = (days + 2) * 86_400.0
        ended = stage.order(worlds[0], n=rng.randint(*A_KILL), seconds=seconds, gap=GAP)
        kills += ended["signal"] == signal.SIGKILL
        if ended["exit"] == 0:
            break
        exits += ended["exit"] is not None
    row = stage.verdict().as_row()
    alone = row["ends"].get("published", 0) / max(row["posts"], 1)
    return row | {"kills": kills, "alone": round(alone, 4), "broken": alone < WITHOUT_A_PERSON}


def clocks(stage: Stage, *, seed: int, count: int = 24) -> Row:
    """T12: the clock is set, back and forth, and the machine sleeps; each slot comes once, none too early."""
    (world,) = stage.begin(seed)
    stage.behave(container_seconds=1, quota_total=1000)
    lay(world, count, world.now(), apart=3600)
    rng = random.Random(seed)
    jumps: list[float] = []

    async def jump(_now: datetime) -> None:
        if rng.random() < 0.2 and len(jumps) < 12:
            jumps.append(rng.choice(JUMPS))
            await asyncio.to_thread(stage.clock.advance, jumps[-1])

    player = stage.player(world, each_round=jump)
    asyncio.run(player.until_still(timedelta(days=7)))
    row = stage.verdict().as_row()
    early = world.one(
        "SELECT count(*) FROM scheduling_posts WHERE published_at < scheduled_at - interval '5 s'"
    )
    return row | {"jumps": len(jumps), "early": early, "broken": row["published"] != row["posts"]}


def slots(stage: Stage, *, seed: int, zone: str) -> Row:
    """T12: a post for each day at the same time on the wall, over a year's changes of the clock."""
    (world,) = stage.begin(seed)
    rng = random.Random(f"{seed} {zone}")
    wrong, planned = 0, 0
    wall = (rng.choice((1, 2, 3, 9, 23)), rng.choice((0, 15, 30, 45)))
    for day in _days_of_change(ZoneInfo(zone), world.now().year + 1):
        for around in (-1, 0, 1):
            wanted = day.replace(hour=wall[0], minute=wall[1], tzinfo=None) + timedelta(days=around)
            planned += 1
            wrong += not _kept(world, wanted, zone)
    return {"posts": planned, "published": 0, "wrong_times": wrong, "broken": wrong > 0}


def _days_of_change(zone: ZoneInfo, year: int) -> list[datetime]:
    """Days on which the zone's distance from UTC changes; where none does, the first of January."""
    days = [datetime(year, 1, 1, 12, tzinfo=UTC) + timedelta(days=number) for number in range(366)]
    offsets = [day.astimezone(zone).utcoffset() for day in days]
    changes = [
        day for day, before, after in zip(days[1:], offsets, offsets[1:], strict=False) if before != after
    ]
    return changes or days[:1]


def _kept(world: World, wanted: datetime, zone: str) -> bool:
    """Whether a post planned for that time on the wall shows it; in a gap, the time that comes instead."""
    local = wanted.replace(tzinfo=ZoneInfo(zone))
    with world.db.session_scope() as session:
        draft = posts.draft_for_winner(session, world.candidate(session))
        view = posts.schedule(session, draft.id, local, zone)
    assert view.scheduled_at is not None
    shown = view.scheduled_at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    there = local.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return shown == there and (there == wanted or there > wanted)


def plan_t18(run: Run, size: Sizes) -> None:
    """T18: weeks in virtual time."""
    run("T18", seed=size.seed, days=size.days, personas=20 if size.days > 2 else 2)


def plan_t12(run: Run, size: Sizes) -> None:
    """T12: clocks and zones."""
    for zone in ZONES:
        run("T12", seed=size.seed, zone=zone)
    for seed in range(size.seed, size.seed + size.repeats):
        run("T12", seed=seed)


def _t12(stage: Stage, *, seed: int, zone: str | None = None, count: int = 24) -> Row:
    return clocks(stage, seed=seed, count=count) if zone is None else slots(stage, seed=seed, zone=zone)


PLAYS: dict[str, Any] = {"T12": _t12, "T18": weeks}
PLANS: dict[str, Any] = {"T12": plan_t12, "T18": plan_t18}
