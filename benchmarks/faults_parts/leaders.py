"""T15 and the hand-over of leadership: schedulers as programs of their own, hanging, killed, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from benchmarks.faults_parts.bulk import lay
from benchmarks.faults_parts.networks import cut_off
from benchmarks.faults_parts.sizes import Row, Run, Sizes
from benchmarks.faults_parts.stage import ROOT, Stage
from tests.support.publishing import World

from persona_tui.services.publishing.restore import check_incarnation

WATCHDOG = 30.0
"""Seconds, as WatchdogSec in the unit."""
BACK_WITHIN = 45.0
"""Until another is started."""
AFTER_KILL, AFTER_STOP = 5.0, 30.0
START = 120.0
POSTS = 6


def watchdog(stage: Stage, *, seed: int, how: str, seconds: float = WATCHDOG) -> Row:
    """T15: a scheduler hangs; a supervisor that gets no sign kills it and starts another.

    Args:
        how: `stopped` (SIGSTOP) or `locked` (its round waits for ever).
        seconds: the watchdog's.
    """
    world = _prepare(stage, seed)
    with ExitStack() as stack:
        line = stack.enter_context(_notify_socket(stage.folder))
        told: Any = {"NOTIFY_SOCKET": line.getsockname(), "watchdog": seconds}
        first = stack.enter_context(
            scheduler(stage, world, NOTIFY_SOCKET=line.getsockname(), watchdog=seconds)
        )
        _await_sign(line, "READY=1", START)
        _await_sign(line, "WATCHDOG=1", START)
        lay(world, POSTS, world.now(), apart=1)
        began = time.monotonic()
        lock = _hang(world, first, how)
        silence = _await_silence(line, seconds)
        first.kill()
        first.wait()
        if lock is not None:
            lock.close()
        back = time.monotonic() - began
        stack.enter_context(scheduler(stage, world, **told))
        _await_sign(line, "READY=1", START)
        ready = time.monotonic() - began
        _await(lambda: _done(world), START)
    row = stage.verdict().as_row()
    slow = back > BACK_WITHIN + max(seconds - WATCHDOG, 0)
    return row | {
        "silent": silence,
        "back_seconds": round(back, 1),
        "ready_seconds": round(ready, 1),
        "broken": not silence or slow,
    }


def hand_over(stage: Stage, *, seed: int, how: str) -> Row:
    """How long until the standby leads after the leader was killed or stopped; nothing is doubled after.

    Args:
        how: `killed` (SIGKILL) or `stopped` (SIGSTOP, and SIGCONT once the other leads).
    """
    world = _prepare(stage, seed)
    with ExitStack() as stack:
        both = [stack.enter_context(scheduler(stage, world)) for _ in range(2)]
        _await(lambda: len(_leaders(world)) == 1 and _beats(world) == 2, START)
        (leader,) = _leaders(world)
        lay(world, POSTS, world.now(), apart=3)
        time.sleep(1.5)
        (old,) = [one for one in both if one.pid == leader]
        began = time.monotonic()
        old.send_signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        _await(lambda: any(pid != leader for pid in _leaders(world)), START)
        took = time.monotonic() - began
        if how == "stopped":
            old.send_signal(signal.SIGCONT)
        _await(lambda: _done(world), START)
        time.sleep(2)
    row = stage.verdict().as_row()
    limit = AFTER_KILL if how == "killed" else AFTER_STOP
    return row | {"took_seconds": round(took, 2), "broken": took > limit}


def _prepare(stage: Stage, seed: int) -> World:
    (world,) = stage.begin(seed)
    stage.behave(container_seconds=1, quota_total=1000)
    with world.db.session_scope() as session:
        check_incarnation(session, world.folder / "config" / "incarnation.json", world.db.settings.data_dir)
    return world


@contextmanager
def scheduler(
    stage: Stage, world: World, *, watchdog: float = 0.0, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """`persona-tui scheduler` on the world's database, as a program of its own."""
    settings = world.db.settings
    given = {
        "PERSONA_DATA_DIR": str(settings.data_dir),
        "PERSONA_CONFIG_DIR": str(world.folder / "config"),
        "PERSONA_DATABASE_SCHEMA": settings.database_schema,
        "PERSONA_ENVIRONMENT": "sandbox",
        "PERSONA_INSTAGRAM__BASE_URL": world.site.instagram,
        "PERSONA_INSTAGRAM__MIN_GAP_MINUTES": "0",
        "PERSONA_MEDIA__URL": f"file:{world.settings.media_dir / 'originals'}",
        "PERSONA_MEDIA__PUBLISH_URL": f"file://{world.site.media_dir}",
        "PERSONA_MEDIA__PUBLIC_BASE_URL": world.site.media,
        **environment,
    }
    if watchdog:
        given["WATCHDOG_USEC"] = str(int(watchdog * 1_000_000))
    log = (stage.folder / "scheduler.log").open("ab")
    command = [sys.executable, "-m", "persona_tui", "scheduler"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **given}, stdout=log, stderr=log)
    try:
        yield process
    finally:
        for number in (signal.SIGCONT, signal.SIGTERM):
            with suppress(ProcessLookupError):
                process.send_signal(number)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


@contextmanager
def _notify_socket(folder: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(folder / "notify"))
        yield line
    (folder / "notify").unlink()


def _await_sign(line: socket.socket, sign: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        line.settimeout(max(deadline - time.monotonic(), 0.01))
        with suppress(TimeoutError):
            if sign in line.recv(4096).decode().splitlines():
                return
    raise AssertionError(f"no {sign} within {seconds:.0f} s")


def _await_silence(line: socket.socket, seconds: float) -> bool:
    """Whether so many seconds pass without a sign; those that were under way are waited for."""
    for _ in range(5):
        try:
            _await_sign(line, "WATCHDOG=1", seconds)
        except AssertionError:
            return True
    return False


def _hang(world: World, process: subprocess.Popen[bytes], how: str) -> psycopg.Connection[Any] | None:
    if how == "stopped":
        process.send_signal(signal.SIGSTOP)
        return None
    connection = world.db.connect("owner")
    connection.execute("LOCK TABLE scheduling_posts IN ACCESS EXCLUSIVE MODE")
    return connection


def _await(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError("it did not come to pass")
        time.sleep(0.05)


def _done(world: World) -> bool:
    return bool(
        world.one("SELECT count(*) = count(*) FILTER (WHERE state = 'published') FROM scheduling_posts")
    )


def _leaders(world: World) -> list[int]:
    recent = "beat_at > clock_timestamp() - interval '1 minute'"
    return [pid for (pid,) in world.rows(f"SELECT pid FROM heartbeats WHERE leader AND {recent}")]


def _beats(world: World) -> int:
    return int(world.one("SELECT count(*) FROM heartbeats"))


def plan_t15(run: Run, size: Sizes) -> None:
    """T15: a scheduler hangs."""
    for how in ("stopped", "locked"):
        run("T15", seed=size.seed, how=how)


def plan_leaders(run: Run, size: Sizes) -> None:
    """T21: leadership changes hands."""
    for seed in range(size.seed, size.seed + min(size.repeats, 5)):
        for how in ("killed", "stopped", "cut"):
            run("T21", seed=seed, how=how)


def _t21(stage: Stage, *, seed: int, how: str) -> Row:
    return cut_off(stage, seed=seed) if how == "cut" else hand_over(stage, seed=seed, how=how)


PLAYS: dict[str, Any] = {"T15": watchdog, "T21": _t21}
PLANS: dict[str, Any] = {"T15": plan_t15, "T21": plan_leaders}
