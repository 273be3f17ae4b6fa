"""T6 and T11: several schedulers, stopped for longer than their leases; and 10,000 posts due at once."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from benchmarks.faults_parts.bulk import lay
from benchmarks.faults_parts.play import PUBLISH
from benchmarks.faults_parts.sizes import Row, Run, Sizes
from benchmarks.faults_parts.stage import ROOT, Stage
from sqlalchemy import text
from tests.support.publishing import World

from persona_tui.services.publishing import claims
from persona_tui.services.publishing.policy import PublishPolicy

GAP = timedelta(minutes=30)
PERSONAS = 20
STOPPED = PublishPolicy().lease.total_seconds() + 15.0
"""Seconds of virtual time that a stopped process misses: more than its lease."""
PATIENCE = 1800.0
"""Seconds by the machine's clock."""
FIRST_WITHIN, CLAIM_WITHIN, MEMORY_MB = 5.0, 0.015, 300.0

# Each accepted write of an owned row, with the fence that it named.
_WATCH = """
CREATE TABLE fault_writes (old_fence bigint, new_fence bigint, named text, lease_over boolean);
CREATE FUNCTION note_fault_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO fault_writes VALUES (OLD.fence, NEW.fence, current_setting('persona.fence', true),
                                   OLD.lease_until <= persona_now());
  RETURN NULL;
END $$;
CREATE TRIGGER note_fault_write AFTER UPDATE ON scheduling_posts FOR EACH ROW
WHEN (OLD.state IN ('claimed', 'staged', 'creating', 'container', 'publishable', 'sending', 'unknown',
                    'reconciling')) EXECUTE FUNCTION note_fault_write();
"""
_UNWATCH = (
    "DROP TRIGGER note_fault_write ON scheduling_posts; DROP FUNCTION note_fault_write();"
    " DROP TABLE fault_writes"
)
_BEGUN = "SELECT EXISTS (SELECT FROM scheduling_posts WHERE fence > 0)"
_STRANGE = (
    "SELECT count(*) FILTER (WHERE named <> old_fence::text AND NOT (new_fence > old_fence AND lease_over)),"
    " count(*) FILTER (WHERE new_fence > old_fence) FROM fault_writes"
)


def together(stage: Stage, *, seed: int, processes: int, posts: int) -> Row:
    """T6: several schedulers on one database, at random stopped for longer than the lease."""
    worlds = stage.begin(seed, personas=min(PERSONAS, posts))
    stage.hostile(seed, container_seconds=0)
    for world in worlds:
        lay(world, posts // len(worlds), world.now())
    with worlds[0].db.connect("owner", autocommit=True) as owner:
        owner.execute(_WATCH.encode())
        try:
            stops = _run_crowd(stage, worlds[0], random.Random(seed), processes)
            strange, taken_over = owner.execute(_STRANGE.encode()).fetchone() or (0, 0)
        finally:
            owner.execute(_UNWATCH.encode())
    row = stage.verdict().as_row()
    return row | {"stops": stops, "taken_over": taken_over, "fenced_writes": strange, "broken": strange > 0}


def _run_crowd(stage: Stage, world: World, rng: random.Random, processes: int) -> int:
    order = json.dumps({"world": stage.facts(world), "crowd": True, "seconds": PATIENCE})
    command = [sys.executable, "-m", "benchmarks.faults_parts.child", "--once", order, os.devnull]
    crowd = [subprocess.Popen(command, cwd=ROOT) for _ in range(processes)]
    stops, deadline = 0, time.monotonic() + PATIENCE
    try:
        while not world.one(_BEGUN) and time.monotonic() < deadline:
            time.sleep(0.05)
        while any(one.poll() is None for one in crowd) and time.monotonic() < deadline:
            time.sleep(rng.uniform(0.2, 1.0))
            alive = [one for one in crowd if one.poll() is None]
            if not alive:
                break
            stopped = rng.choice(alive)
            os.kill(stopped.pid, signal.SIGSTOP)
            stage.clock.advance(STOPPED)
            time.sleep(rng.uniform(0.2, 1.0))
            os.kill(stopped.pid, signal.SIGCONT)
            stops += 1
    finally:
        for one in crowd:
            with suppress(ProcessLookupError):
                one.kill()
            one.wait()
    return stops


def after_outage(stage: Stage, *, seed: int, personas: int, each: int, grace_minutes: int = 360) -> Row:
    """T11: posts of all personas came due while the program was away; what is past its grace is missed."""
    worlds = stage.begin(seed, personas=personas)
    stage.behave(container_seconds=1, quota_total=50)
    began = worlds[0].now()
    for world in worlds:
        lay(world, each, began - timedelta(hours=5), apart=5 * 3600 / each, grace_minutes=grace_minutes)
    with worlds[0].db.connect("owner", autocommit=True) as owner:
        owner.execute("ANALYZE")  # as autovacuum has long done when posts come due
    (claim, empty), planning = _claim_p95(worlds[0]), planning_p95(worlds[0])
    first = _first_publish(stage, worlds[0].with_gap(30))
    ended = stage.order(worlds[0], seconds=12 * 3600.0, gap=30)
    row = stage.verdict().as_row()
    gaps = _shortest_gap(worlds[0])
    broken = (
        first > FIRST_WITHIN or claim - empty > CLAIM_WITHIN or ended["memory_mb"] > MEMORY_MB or gaps < 29.9
    )
    return row | {
        "first_publish": round(first, 2),
        "claim_p95_ms": round(1000 * claim, 2),
        "empty_p95_ms": round(1000 * empty, 2),
        "planning_p95_ms": round(1000 * planning, 2),
        "memory_mb": ended["memory_mb"],
        "shortest_gap_minutes": gaps,
        "broken": broken,
    }


def on_time(stage: Stage, *, seed: int, personas: int, each: int) -> Row:
    """Lateness without any fault: containers are ready after 5 s, posts come due at odd moments."""
    worlds = stage.begin(seed, personas=personas)
    stage.behave(container_seconds=5, quota_total=1000)
    rng = random.Random(seed)
    for world in worlds:
        lay(world, each, world.now() + timedelta(seconds=rng.uniform(0, 600)), apart=900 + rng.uniform(0, 60))
    asyncio.run(stage.player(worlds[0]).until_still(timedelta(days=1)))
    return stage.verdict().as_row()


def planning_p95(world: World) -> float:
    """Of 200 questions which accounts have something due, seconds."""
    now, times = world.now(), []
    with world.db_session() as session:
        for _ in range(200):
            began = time.perf_counter()
            claims.waiting_accounts(session, now, GAP)
            times.append(time.perf_counter() - began)
    return _p95(times)


def _claim_p95(world: World) -> tuple[float, float]:
    """Of 200 claims that are taken back at once, and of as many empty transactions between them, seconds."""
    accounts = [row[0] for row in world.rows("SELECT id FROM instagram_accounts")]
    now, times, empty = world.now(), [], []
    for number in range(200):
        with world.db_session() as session:
            began = time.perf_counter()
            session.execute(text("SELECT 1"))
            session.commit()
            empty.append(time.perf_counter() - began)
            session.connection()
            began = time.perf_counter()
            claim = claims.claim_next(
                session,
                accounts[number % len(accounts)],
                now=now,
                min_gap=GAP,
                lease=PublishPolicy().lease,
                owner="bench",
                epoch=None,
            )
            times.append(time.perf_counter() - began)
            assert claim is not None
            session.rollback()
    return _p95(times), _p95(empty)


def _p95(times: list[float]) -> float:
    return sorted(times)[int(0.95 * len(times))]


def _first_publish(stage: Stage, world: World) -> float:
    """Seconds by the machine's clock from the start of a publisher to the first item that is out."""
    # In virtual time more are worked on at once than the program does.
    usual = replace(PUBLISH, at_once=PublishPolicy().at_once)
    player = stage.player(world, real_time=True, publish=usual)

    async def first() -> float:
        began = time.monotonic()
        working = asyncio.create_task(player.round())
        while not await asyncio.to_thread(_any_out, world):
            await asyncio.sleep(0.02)
        took = time.monotonic() - began
        working.cancel()
        await player.aclose()
        return took

    return asyncio.run(first())


def _any_out(world: World) -> bool:
    with world.db.engine.connect() as connection:
        out = "SELECT EXISTS (SELECT FROM scheduling_posts WHERE state = 'published')"
        return bool(connection.execute(text(out)).scalar_one())


def _shortest_gap(world: World) -> float:
    """Minutes between two posts of an account."""
    found: Any = world.one(
        "SELECT extract(epoch FROM min(gap)) / 60 FROM (SELECT published_at - lag(published_at)"
        " OVER (PARTITION BY account_id ORDER BY published_at) AS gap FROM scheduling_posts) AS gaps"
    )
    return round(float(found), 2) if found is not None else 0.0


def plan_t6(run: Run, size: Sizes) -> None:
    """T6: several schedulers at once."""
    for processes in (2, 5):
        run("T6", seed=size.seed, processes=processes, posts=size.crowd)


def plan_t11(run: Run, size: Sizes) -> None:
    """T11: posts that came due during an outage."""
    run("T11", seed=size.seed, personas=size.personas, each=size.each)
    run(
        "T11", seed=size.seed, personas=size.personas // 2, each=max(size.each // 5, 1), grace_minutes=24 * 60
    )


PLAYS: dict[str, Any] = {"T6": together, "T11": after_outage}
PLANS: dict[str, Any] = {"T6": plan_t6, "T11": plan_t11}
