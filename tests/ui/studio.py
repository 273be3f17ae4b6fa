"""Runs with pictures, made by the services alone: what an engine would have done, at the test's word."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image
from sqlalchemy import text
from sqlmodel import Session
from textual.pilot import Pilot

from persona_tui.database.engine import Database
from persona_tui.screens.vote import VoteScreen
from persona_tui.services.generation import jobs
from persona_tui.services.generation.keeping import Fetched, Finished, keep
from persona_tui.services.generation.pipelines import ensure_examples
from persona_tui.services.generation.runs import RunView, create_run, run_detail
from persona_tui.services.media import MediaStore
from tests.support.world import Planned
from tests.ui.support import screen_text, settle

ENDPOINT = "http://127.0.0.1:8188"
PROMPT = "A stoneware bowl by the window, morning light, 35 mm"


def painted(number: int, size: tuple[int, int] = (64, 80)) -> bytes:
    """A picture of one colour, another one for each number."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (number * 53 % 256, number * 97 % 256, number * 31 % 256)).save(buffer, "PNG")
    return buffer.getvalue()


def start_run(session: Session, plan: Planned, name: str = "Bowl by the window", **fields: Any) -> RunView:
    """A run of the example "two-step" (4 pictures, then 2 of the best), or of another pipeline."""
    ensure_examples(session)
    given = {
        "persona_id": plan.persona_id,
        "cluster_id": plan.cluster_id,
        "pillar_id": plan.pillar_id,
        "pipeline": "two-step",
        "prompt": PROMPT,
        "seed": 7,
    }
    return create_run(session, {**given, "name": name, **fields})


@dataclass
class Studio:
    """Makes the pictures that runs wait for.

    Attributes:
        made: pictures made so far; each looks different.
    """

    media: MediaStore
    made: int = 0

    def make(self, session: Session, run_id: int, count: int | None = None) -> tuple[int, ...]:
        """Fill open places of a run, all or so many, the first ones first.

        Returns:
            Ids of the candidates.
        """
        query = (
            "SELECT id FROM generation_slots WHERE run_id = :run AND state = 'open' ORDER BY id LIMIT :count"
        )
        slots = session.execute(text(query), {"run": run_id, "count": count}).scalars().all()
        return tuple(candidate for slot in slots for candidate in self._fill(session, slot))

    def _fill(self, session: Session, slot: int) -> tuple[int, ...]:
        job = begin_job(session, slot)
        self.made += 1
        picture = self.media.put(self.paint(self.made))
        provenance = {"endpoint": ENDPOINT, "server_version": "0.8.0", "seconds": 4.25}
        (kept,) = keep(session, [Finished(job, (Fetched(0, picture),), provenance)])
        return kept

    def paint(self, number: int) -> bytes:
        """The next picture's bytes."""
        return painted(number)


def begin_job(session: Session, slot: int) -> jobs.LiveJob:
    """Give a place a job that a server has taken."""
    job_id = jobs.add_job(session, slot, ENDPOINT, wait=0)
    queued = jobs.find_job(session, job_id)
    assert queued is not None and jobs.move(session, queued, ("queued",), "submitted")
    taken = jobs.find_job(session, job_id)
    assert taken is not None
    return taken


def run_with_pictures(
    db: Database, studio: Studio, plan: Planned, count: int | None = None, **fields: Any
) -> RunView:
    """A run with all pictures of its first step, or so many."""
    with db.session_scope() as session:
        run = start_run(session, plan, **fields)
        studio.make(session, run.id, count)
        return run_detail(session, run.id)


async def until(pilot: Pilot[Any], so: Callable[[], object]) -> None:
    """Wait until something is so."""
    for _ in range(400):
        if so():
            return
        await pilot.pause(0.02)
    raise AssertionError(f"it never came; the screen shows:\n{screen_text(pilot)}")


async def opened_vote(pilot: Pilot[Any]) -> VoteScreen:
    """The vote view, once it has read what it shows."""
    await settle(pilot)
    await pilot.press("f5")
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, VoteScreen)
    await until(pilot, lambda: screen.scene is not None)
    return screen


async def opened_duel(pilot: Pilot[Any]) -> VoteScreen:
    """The vote view, once a key counts."""
    screen = await opened_vote(pilot)
    await until(pilot, lambda: screen.ready)
    return screen


async def vote(pilot: Pilot[Any], screen: VoteScreen, key: str) -> None:
    """Press a key as soon as it counts, and wait for the next pair.

    A picture that arrives just then is drawn first, and the press does not count; then press again.
    """
    wanted = _votes(pilot) + 1
    for _ in range(10):
        await until(pilot, lambda: screen.ready)
        await pilot.press(key)
        await settle(pilot)
        if _votes(pilot) == wanted:
            return
    raise AssertionError(f"no vote was counted; the screen shows:\n{screen_text(pilot)}")


def _votes(pilot: Pilot[Any]) -> int:
    with pilot.app.database.session_scope() as session:  # type: ignore[attr-defined]
        return int(session.execute(text("SELECT count(*) FROM votes")).scalar_one())
