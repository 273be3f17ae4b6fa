"""T14 and T20: the database's disk, locks and server fail; a backup of before is restored."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from benchmarks.faults_parts.bulk import lay
from benchmarks.faults_parts.play import Player
from benchmarks.faults_parts.sizes import Row, Run, Sizes
from benchmarks.faults_parts.stage import Stage
from tests.support.database import throwaway_database
from tests.support.publishing import World

from persona_tui import boundaries
from persona_tui.database.backup import backup
from persona_tui.database.engine import Database
from persona_tui.database.restore import restore
from persona_tui.errors import PersonaError
from persona_tui.services.publishing.restore import check_incarnation, confirm_restore, survey_restore

LIMIT = timedelta(hours=6)
ENDURED = 4
"""Rounds that a full disk lasts; where the server ends, the round ends with it."""
OPERATOR = 600.0
"""Seconds until the operator looks at what was restored."""
LOCKED_SECONDS = 3.0
"""By the machine's clock; the sessions' own lock timeouts are shorter than the thirty seconds of F.2."""
DISK_MB = 400
_PLACE = "SELECT pg_walfile_name_offset(pg_current_wal_insert_lsn())"
_JUNK = "INSERT INTO junk SELECT repeat(md5(n::text), 200) FROM generate_series(1, 1000) AS n"
_STOPPED = "SELECT count(*) FROM instagram_accounts WHERE status <> 'active'"
_INTENTS = "SELECT creation_id FROM publish_attempts WHERE sent_at IS NOT NULL"


def broken_storage(stage: Stage, *, seed: int, kind: str) -> Row:
    """T14: the database is locked, killed, has a torn log or a full disk, at a boundary drawn by the seed.

    Once it is well again nothing complains, no account is stopped and no post is left to a person.

    Args:
        kind: `locked`, `crash`, `wal` or `full`.
    """
    with _own_stage(stage, disk=kind == "full") as (here, disk):
        (world,) = here.begin(seed)
        here.behave(container_seconds=1)
        lay(world, 4, world.now())
        wreck = _WRECKS[kind]
        rng = random.Random(f"T14 {kind} {seed}")
        alarms, false = _play_through(here, world, rng, lambda: wreck(here.db, disk))
        entries = here.entries()
        row = here.verdict(entries).as_row()
        written = {creation for (creation,) in world.rows(_INTENTS)}
        called = {entry["container_id"] for entry in entries if entry["event"] == "publish_called"}
        unwritten = len(called - written)
        stopped = world.one(_STOPPED)
        broken = bool(unwritten or false or stopped or row["unresolved"])
        return row | {
            "unwritten": unwritten,
            "alarms": alarms,
            "false_alarms": false,
            "stopped": stopped,
            "broken": broken,
        }


@contextmanager
def _own_stage(stage: Stage, *, disk: bool) -> Iterator[tuple[Stage, Path]]:
    """A database of its own that may be wrecked, on a small disk where asked, and the common sandbox."""
    stage.entries()
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="persona-", dir=_tmp())))
        base.chmod(0o711)
        if disk:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(base)], check=True)
            stack.callback(subprocess.run, ["umount", "-l", str(base)], check=False)
            base.chmod(0o711)
            before, tempfile.tempdir = tempfile.tempdir, str(base)
            stack.callback(setattr, tempfile, "tempdir", before)
        db = stack.enter_context(throwaway_database())
        tempfile.tempdir = None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="persona-faults-")))
        here = Stage(db, folder)
        stack.callback(here.close)
        yield here, base


def _tmp() -> str:
    return tempfile.gettempdir()


def _play_through(
    here: Stage, world: World, rng: random.Random, wreck: Callable[[], Callable[[], None]]
) -> tuple[int, int]:
    """Publish, wreck at one boundary, mend after the round, go on.

    Returns:
        How often there was an alarm, and how often while nothing was broken.
    """
    at, count, alarms, false = rng.randint(5, 120), 0, 0, 0
    mend: list[Callable[[], None]] = []
    broken, endured = False, 0
    lock = threading.Lock()

    def observe(_boundary: str) -> None:
        nonlocal count, broken
        with lock:
            count += 1
            if count == at:
                broken = True
                mend.append(wreck())

    def make_whole() -> None:
        nonlocal broken, endured
        with lock:  # what is being wrecked is wrecked first
            while mend:
                mend.pop()()
            broken, endured = False, 0

    async def mend_in_time(_now: object) -> None:
        nonlocal endured
        endured += broken
        if endured >= ENDURED:
            await asyncio.to_thread(make_whole)

    boundaries.observe(observe)
    try:
        for _ in range(50):
            player = here.player(world, each_round=mend_in_time)
            try:
                asyncio.run(_rounds(player))
                break
            except (PersonaError, psycopg.Error):
                alarms += 1
                false += not broken
            finally:
                make_whole()
                here.db.wait_until_back(60)
                here.clock.reconnect(here.db.conninfo("owner"))
    finally:
        boundaries.observe(None)
    return alarms, false


async def _rounds(player: Player) -> None:
    await player.until_still(LIMIT)


def _lock(db: Database, _disk: Path) -> Callable[[], None]:
    """Hold the posts' table locked for a while, from the moment when the transaction under way has ended."""
    connection = db.connect("owner")

    def hold() -> None:
        connection.execute("LOCK TABLE scheduling_posts IN ACCESS EXCLUSIVE MODE")
        time.sleep(LOCKED_SECONDS)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    return holder.join


def _crash(db: Database, _disk: Path) -> Callable[[], None]:
    """Kill the server."""
    assert db.server is not None and db.server.pid is not None
    os.kill(db.server.pid, signal.SIGKILL)
    return lambda: None


def _tear_log(db: Database, disk: Path) -> Callable[[], None]:
    """Kill the server and tear what lies behind the last record of its log."""
    assert db.server is not None
    located = (
        db.connect("owner").execute("SELECT pg_walfile_name_offset(pg_current_wal_insert_lsn())").fetchone()
    )
    assert located is not None
    name, offset = str(located[0]).strip("()").split(",")
    _crash(db, disk)
    time.sleep(0.2)
    log = db.server.folders.cluster / "pg_wal" / name
    with log.open("r+b") as file:
        file.seek(int(offset))
        file.write(os.urandom(512))
    return lambda: None


def _fill(db: Database, disk: Path) -> Callable[[], None]:
    """Leave no byte on the database's disk, nor in the pages and logs that the server has set aside."""
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 65536)
    with suppress(psycopg.Error), db.connect("owner", autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS junk (words text)")
        while True:
            connection.execute(_JUNK)
    return filler.unlink


_WRECKS: dict[str, Callable[[Database, Path], Callable[[], None]]] = {
    "locked": _lock,
    "crash": _crash,
    "wal": _tear_log,
    "full": _fill,
}


def restored(stage: Stage, *, seed: int, posts: int) -> Row:
    """T20: a backup taken before so many posts went out is restored."""
    with _own_stage(stage, disk=False) as (here, _):
        worlds = here.begin(seed, personas=5)
        here.hostile(seed, share=0.001)
        record, settings = here.folder / "incarnation.json", here.db.settings
        with here.db.session_scope() as session:
            check_incarnation(session, record, settings.data_dir)
        for world in worlds:
            lay(world, posts // 5, world.now())
        kept = backup(here.db, settings, here.folder / "before.zip", with_media=False)
        asyncio.run(here.player(worlds[0]).until_still(LIMIT))
        entries = here.entries()
        went_out = sum(entry["event"] == "published" for entry in entries)
        here.release()
        restore(settings, kept.path, into_empty=False)
        # The world's clock did not go back with the database.
        worlds[0].do("UPDATE installation SET clock_offset = make_interval(secs => :s)", s=here.clock.moved)
        here.clock.reconnect(here.db.conninfo("owner"))
        with here.db.session_scope() as session:
            found = check_incarnation(session, record, settings.data_dir)
        asyncio.run(here.player(worlds[0]).until_still(timedelta(minutes=5)))
        while_held = here.entries()
        again = sum(entry["event"] == "published" for entry in while_held)
        here.clock.advance(OPERATOR)
        player = here.player(worlds[0])
        shown = asyncio.run(
            survey_restore(here.db.session_scope, make_client=worlds[0].client, keyring=worlds[0].keyring)
        )
        with here.db.session_scope() as session:
            confirm_restore(session, shown, record, settings.data_dir)
        asyncio.run(player.until_still(LIMIT))
        row = here.verdict([*entries, *while_held, *here.entries()]).as_row()
        return row | {"went_out": went_out, "held": found.held, "broken": again > 0 or not found.held}


def plan_t14(run: Run, size: Sizes) -> None:
    """T14: the database fails."""
    for seed in range(size.seed, size.seed + size.repeats):
        for kind in _WRECKS:
            run("T14", seed=seed, kind=kind)


def plan_t20(run: Run, size: Sizes) -> None:
    """T20: a backup of before."""
    run("T20", seed=size.seed, posts=50)


PLAYS: dict[str, Any] = {"T14": broken_storage, "T20": restored}
PLANS: dict[str, Any] = {"T14": plan_t14, "T20": plan_t20}
