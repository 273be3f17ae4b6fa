"""The core without a screen: until a signal ends it, or for one round."""

from __future__ import annotations

import asyncio
import signal
from asyncio import to_thread
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import text

from persona_tui.headless import supervision
from persona_tui.resources import Say
from persona_tui.runtime import Core, wait_until
from persona_tui.services.leadership import ProcessKind
from persona_tui.settings import Settings

log = structlog.get_logger("persona_tui.daemon")

ONE_ROUND = timedelta(minutes=10)
LOOK_EVERY = 1.0
"""Seconds between two looks at whether this process leads."""


@dataclass(frozen=True)
class RoundReport:
    """What one round did."""

    led: bool
    sentence: str
    published: int
    jobs_left: int


async def run_until_stopped(settings: Settings, *, kind: ProcessKind, say: Say) -> None:
    """Run the core until SIGINT, SIGTERM or SIGHUP; what is under way is finished or recorded.

    Raises:
        PersonaError: it can't start.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    core = Core(settings, kind=kind, say=say)
    beside: list[asyncio.Task[None]] = []
    await core.start()
    try:
        await core.working()
        say(f"{kind}: {_told(core, kind)}. Stop with Ctrl+C.")
        log.info("started", kind=kind, leader=core.leader)
        supervision.tell(READY="1", STATUS=_told(core, kind))
        beside.append(asyncio.create_task(_say_changes(core, kind, say)))
        if kind == "scheduler":
            signs = supervision.give_signs(lambda: core.good_rounds, lambda: _told(core, kind))
            beside.append(asyncio.create_task(signs))
        await stop.wait()
        say("Stopping…")
    finally:
        supervision.tell(STOPPING="1")
        for task in beside:
            task.cancel()
        await core.stop()
        log.info("stopped", kind=kind)


def _told(core: Core, kind: ProcessKind) -> str:
    """What it does now, without a full stop."""
    trouble = core.status().trouble
    if trouble:
        return trouble[0].removesuffix(".")
    if kind == "worker":
        return "working"
    return "leading" if core.leader else "standing by"


async def _say_changes(core: Core, kind: ProcessKind, say: Say) -> None:
    """Say it when leadership or trouble come and go; never ends."""
    said = _told(core, kind)
    while True:
        await asyncio.sleep(LOOK_EVERY)
        now = _told(core, kind)
        if now != said:
            said = now
            say(f"{kind}: {said}.")


_BUSY = text(
    "SELECT (SELECT count(*) FROM comfyui_jobs WHERE state IN"
    "         ('queued', 'submitting', 'submitted', 'running', 'storing'))"
    "     + (SELECT count(*) FROM generation_slots s JOIN pipeline_runs r ON r.id = s.run_id"
    "         WHERE s.state = 'open' AND r.status IN ('pending', 'running')),"
    "  (SELECT count(*) FROM scheduling_posts WHERE (state = 'scheduled' AND scheduled_at <= persona_now())"
    "     OR state IN ('claimed', 'staged', 'creating', 'container', 'publishable', 'sending')),"
    "  (SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
    "     AND (scheduled_at IS NULL OR scheduled_at <= clock_timestamp())),"
    "  (SELECT count(*) FROM scheduling_posts WHERE state = 'published')"
)


async def run_once(settings: Settings) -> RoundReport:
    """Lead, do all that is due now, and end. When another process leads, do nothing.

    Raises:
        PersonaError: it can't start.
    """
    core = Core(settings, kind="scheduler")
    await core.start()
    try:
        await core.working()
        before = await to_thread(_work, core)
        if not core.leader:
            return RoundReport(False, "Another process leads; this one did nothing.", 0, before[2])

        async def idle() -> bool:
            generation, posts, jobs, _ = await to_thread(_work, core)
            return generation == posts == jobs == 0

        await core.look_after_trainings()
        await core.tick(await core.now())
        finished = await wait_until(idle, timeout=ONE_ROUND, pause=0.2)
        after = await to_thread(_work, core)
        published = after[3] - before[3]
        words = f"{published} posts published" if finished else "The round's time ran out; work is left."
        return RoundReport(True, words, published, after[2])
    finally:
        await core.stop()


def _work(core: Core) -> tuple[int, int, int, int]:
    with core.database.session_scope() as session:
        row = session.execute(_BUSY).one()
    return row[0], row[1], row[2], row[3]
