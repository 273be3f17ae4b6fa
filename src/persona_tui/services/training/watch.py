"""Watching trainings: progress into the database, the dead taken up again, the finished registered.

The leading process looks every few seconds. No training needs it to go on: what became of one is found out
here, and a supervisor whose process is gone is started anew.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import to_thread
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from sqlmodel import Session, col, select

from persona_tui.errors import NotAllowedNow, PersonaError
from persona_tui.gpu.training.folder import RunFolder, Want
from persona_tui.models.training import Dataset, TrainingRun
from persona_tui.services import events, lease
from persona_tui.services.lease import Lease, Place
from persona_tui.services.training.duration import count_time
from persona_tui.services.training.plan import require_subject
from persona_tui.services.training.progress import (
    forget_passing,
    last_pace,
    note_progress,
    note_stillness,
    say_what_is_repeated,
)
from persona_tui.services.training.registering import place_everywhere, register
from persona_tui.services.training.runs import LIVE, TrainingView, list_trainings
from persona_tui.services.training.start import (
    Starter,
    begin,
    is_alive,
    places_of,
    spawn_for,
    start_training,
)

log = structlog.get_logger("persona_tui.training")

SECONDS = 3.0
"""Between two looks: a dead run is noticed within ten seconds."""
_AT = {"encoding": "encoding", "encoded": "training", "training": "training", "exporting": "exporting"}
"""What a run is at, by what its folder says while a process works on it."""
_ENDED = ("done", "paused", "stopped", "failed")
_RESTS: Mapping[Want, str] = {"pause": "paused", "stop": "stopped"}
"""What a run has become whose process is gone and was to rest: it is not taken up for that."""
_AGAIN = "`persona-tui train resume` tries again."


@dataclass(frozen=True)
class _Next:
    """What is to be done when what was seen is committed.

    Attributes:
        spawn: leases and cards of a run whose supervisor is started anew.
    """

    spawn: tuple[tuple[Lease, ...], tuple[Place, ...]] | None = None
    finished: bool = False


class TrainingWatch:
    """Looks after the trainings of this machine."""

    def __init__(self, starter: Starter, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._starter = starter
        self._clock = clock
        self._starting: asyncio.Task[None] | None = None

    async def run(self, leads: Callable[[], bool], tell: Callable[[str], None]) -> None:
        """Look again and again while this process leads, until cancelled.

        Beside the tick, which a slow service may hold up.

        Args:
            tell: gets what is wrong, in a sentence; empty when all is well.
        """
        try:
            while True:
                await asyncio.sleep(SECONDS)
                if not leads():
                    continue
                try:
                    await self.tick()
                    tell("")
                except Exception as problem:  # the driver and the pool each raise their own
                    tell("Trainings can't be looked after; the log has the details.")
                    log.warning("trainings not looked after", problem=type(problem).__name__)
        finally:
            await self.aclose()

    async def tick(self) -> None:
        """Look once. What is wrong with one training is noted at it.

        Raises:
            PersonaError: the database is away, or the locks' folder can't be written.
        """
        await self.catch_up(take_up=True)
        await to_thread(self._sweep)
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start_next(), name="queued training")

    async def catch_up(self, *, take_up: bool = False) -> None:
        """Bring what the database knows of this machine's trainings to what their folders tell.

        A command does it as well, so that what ended while nobody led is told and registered.

        Args:
            take_up: start those anew whose process was killed, which only the leader does.

        Raises:
            PersonaError: the database is away.
        """
        for view in await to_thread(self._mine):
            try:
                if await to_thread(self._look, view, take_up):
                    await place_everywhere(self._starter, view.id)
            except PersonaError as problem:
                await to_thread(self._trouble, view.id, problem)

    async def aclose(self) -> None:
        """Give up a start that waits for a card."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)

    async def _start_next(self) -> None:
        """Start the training that was queued first, where its card is free; it may wait for servers."""
        for view in await to_thread(self._queued):
            try:
                await start_training(self._starter, view.id)
            except NotAllowedNow as problem:
                if await to_thread(self._is_held, view.cards):
                    continue  # another one has a card of its: it waits
                await to_thread(self._trouble, view.id, problem, "failed")
            except PersonaError as problem:
                await to_thread(self._trouble, view.id, problem, "failed")
            return

    def _queued(self) -> tuple[TrainingView, ...]:
        """Those that wait for a card of this machine, the oldest first, one for each card."""
        host = f"{socket.gethostname()}:"
        with self._starter.scope() as session:
            waiting = [one for one in list_trainings(session) if one.status == "queued"]
        first = {one.card: one for one in waiting if one.card.startswith(host)}
        return tuple(sorted(first.values(), key=lambda one: one.id))

    def _is_held(self, cards: Sequence[str]) -> bool:
        with self._starter.scope() as session:
            return any(held.card in cards for held in lease.held_here(session))

    def _mine(self) -> tuple[TrainingView, ...]:
        """Those that run on this machine, or have ended without anybody having registered their file."""
        host = f"{socket.gethostname()}:"
        with self._starter.scope() as session:
            return tuple(
                one
                for one in list_trainings(session)
                if one.card.startswith(host)
                and (one.is_live or (one.status == "done" and one.lora_id is None and not one.trouble))
            )

    def _sweep(self) -> None:
        with self._starter.scope() as session:
            gone = lease.sweep(session, self._starter.locks, self._starter.cards)
        for held in gone:
            log.info("a card's holder is gone", card=held.card, training=held.training_run_id)

    def _look(self, view: TrainingView, take_up: bool) -> bool:
        """See what a training is at; whether it has just been registered."""
        if view.is_live:
            with self._starter.scope() as session:
                following = self._judged(session, view, take_up)
            if following.spawn is not None:
                spawn_for(self._starter, view.id, *following.spawn)
            if not following.finished:
                return False
        return self._may_register(view.id) and register(self._starter, view.id)

    def _may_register(self, run_id: int) -> bool:
        """Whether somebody still says yes to what was learnt; a run that nobody watched may be done since."""
        with self._starter.scope() as session:
            row = _locked(session, run_id)
            return row is not None and self._is_permitted(session, row, RunFolder(Path(row.folder)))

    def _judged(self, session: Session, view: TrainingView, take_up: bool) -> _Next:
        row = _locked(session, view.id)
        if row is None or row.status not in LIVE or row.attempt != view.attempt:
            return _Next()
        folder, held = RunFolder(view.folder), lease.of_run(session, view.id)
        note_progress(session, row, folder, self._starter.cards)
        permitted = self._is_permitted(session, row, folder)
        if is_alive(view, folder, held):
            if permitted:
                row.status = _AT.get(folder.status(), row.status)
                note_stillness(row, folder.heartbeat(), last_pace(folder))
            for one in held:
                lease.renew(session, one)
            return _Next()
        ended = _end_of(folder) or _RESTS.get(folder.control().want)
        lost = not folder.run_file.is_file()
        if ended is None and permitted:
            return self._take_up(session, row, folder, held) if take_up or lost else _Next()
        self._settle(session, row, folder, ended or "stopped", held)
        return _Next(finished=ended == "done" and permitted)

    def _take_up(
        self, session: Session, row: TrainingRun, folder: RunFolder, held: tuple[Lease, ...]
    ) -> _Next:
        """Have the supervisor of a run started anew whose process is gone; once at each step."""
        lost = not folder.run_file.is_file()
        if lost or (row.resumed_step == row.step and row.pid is not None):
            row.trouble = f"Its process was ended at step {row.step}, where it was taken up before."
            row.hint = _AGAIN
            if lost:
                row.trouble = f"Its folder is gone from {row.folder}, and its process has ended."
                again = f"`persona-tui train resume {row.id} --folder FOLDER`"
                row.hint = f"Put it back and resume it, or say where it is: {again}."
            self._settle(session, row, folder, "failed", held)
            return _Next()
        chosen = places_of((row.card, *row.further_cards), self._starter.cards)
        missing = [place for place in chosen if place.name not in {one.card for one in held}]
        held += lease.take_all(
            session, missing, "training", self._starter.locks, run_id=row.id, cards=self._starter.cards
        )
        row.resumed_step = row.step
        count_time(row, folder)
        begin(session, row, used=int(row.prediction.get("used_before", 0)))
        log.warning("a training is taken up again", training=row.id, step=row.step)
        return _Next(spawn=(held, chosen))

    def _settle(
        self, session: Session, row: TrainingRun, folder: RunFolder, status: str, held: Sequence[Lease]
    ) -> None:
        """Note how a run ended, and let go of its cards."""
        forget_passing(row)
        if status == "failed" and not row.trouble:
            told = folder.manifest()
            row.trouble = str(told.get("message") or "It failed; its log has the details.")
            row.hint = str(told.get("hint") or _AGAIN)
        row.status = status
        if status in ("paused", "stopped"):
            say_what_is_repeated(row, folder)
        count_time(row, folder)
        row.finished_at = None if status == "paused" else self._clock()
        session.add(row)
        for one in held:
            lease.release(session, one)
        events.emit(session, "training", row.id)

    def _is_permitted(self, session: Session, row: TrainingRun, folder: RunFolder) -> bool:
        """Whether somebody still says yes; a consent that is withdrawn stops a run at its next step."""
        try:
            require_subject(session, session.get_one(Dataset, row.dataset_id))
        except PersonaError as problem:
            row.trouble, row.hint = problem.message, problem.hint
            with suppress(PersonaError):
                folder.order("stop")
            return False
        return True

    def _trouble(self, run_id: int, problem: PersonaError, status: str | None = None) -> None:
        log.warning("a training is in trouble", training=run_id, problem=problem.message)
        with self._starter.scope() as session:
            row = _locked(session, run_id)
            if row is not None:
                row.trouble, row.hint = problem.message, problem.hint
                row.status = status or row.status
                session.add(row)


def _end_of(folder: RunFolder) -> str | None:
    """How a run ended, by its folder; None when it did not: it was killed."""
    status = folder.status()
    if status == "done" and not folder.manifest().get("exported"):
        return None
    return status if status in _ENDED else None


def _locked(session: Session, run_id: int) -> TrainingRun | None:
    query = select(TrainingRun).where(col(TrainingRun.id) == run_id).with_for_update()
    return session.exec(query.execution_options(populate_existing=True)).one_or_none()
