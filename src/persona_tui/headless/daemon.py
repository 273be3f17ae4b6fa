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
    signs: asyncio.Task[None] | None = None
    await core.start()
    try:
        await core.working()
        say(f"{kind}: {'leading' if core.leader else 'standing by'}. Stop with Ctrl+C.")
        log.info("started", kind=kind, leader=core.leader)
        supervision.tell(READY="1", STATUS=_told(core))
        if kind == "scheduler":
            signs = asyncio.create_task(supervision.give_signs(lambda: core.good_rounds, lambda: _told(core)))
        await stop.wait()
        say("Stopping…")
    finally:
        supervision.tell(STOPPING="1")
        if signs is not None:
            signs.cancel()
        await core.stop()
        log.info("stopped", kind=kind)


def _told(core: Core) -> str:
    trouble = core.status().trouble
    return trouble[0] if trouble else "leading" if core.leader else "standing by"


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
