"""What the keys do with a training; each act asks where it can't be undone, and says what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.training_reading import Row
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.fields import IntegerField
from persona_tui.widgets.form import FormDialog

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.errors import PersonaError
    from persona_tui.services.training.licences import Notice
    from persona_tui.services.training.runs import TrainingView

Act = Callable[[PersonaScreen, Row], Coroutine[Any, Any, None]]
MOST_STEPS = 100_000


def _is_working(row: Row) -> bool:
    return row.look is not None and row.look.sign == "alive" and row.look.wanted.want == "run"


def _rests(row: Row) -> bool:
    """One whose process died is taken up by whoever leads; there is nothing to press."""
    return row.look is not None and row.look.sign == "resting" and row.status != "done"


POSSIBLE: dict[str, Callable[[Row], bool]] = {
    "pause": _is_working,
    "stop": lambda row: _is_working(row) or row.status in ("paused", "queued"),
    "start": lambda row: _rests(row) and row.status in ("planned", "queued"),
    "resume": lambda row: _rests(row) and row.status not in ("planned", "queued"),
    "queue": lambda row: _rests(row) and row.status in ("planned", "paused", "stopped", "failed"),
    "steps": lambda row: row.look is not None and row.look.sign != "gone" and row.status != "exporting",
    "lora": lambda row: row.run.lora_id is not None,
    "panel": lambda _row: True,
    "switch": lambda _row: True,
}
"""Acts that need a training, and that not every one allows."""


async def pause(screen: PersonaScreen, row: Row) -> None:
    """Have it write a checkpoint and rest."""
    await _order(screen, row.run, "pause")
    key = screen.shell.registry.label("training.resume")
    screen.flash(f"{row.run.name} keeps what it has done and rests; [{key}] goes on.")


async def stop(screen: PersonaScreen, row: Row) -> None:
    """End it, after asking; one that is queued only leaves the line."""
    if row.status == "queued":
        await _order(screen, row.run, "stop")
        screen.flash(f"{row.run.name} waits for no card any more.")
        return
    where, kept = f" at step {row.step}", "A checkpoint is written first"
    if row.status == "encoding":
        where, kept = "", "What was encoded is kept"
    question = ConfirmDialog(
        f"Stop the training of {row.run.name}{where}?",
        f"{kept}, so it can be resumed later; no LoRA is made of it.",
        yes="Stop",
        dangerous=True,
    )
    if await screen.ask(question):
        await _order(screen, row.run, "stop")
        screen.flash(f"{row.run.name} keeps what it has done and ends.")


async def change_steps(screen: PersonaScreen, row: Row) -> None:
    """Ask for another number of steps; one that is done trains on."""
    done = row.status == "done"
    field = IntegerField(
        name="steps", label="Steps", value=row.steps or None, required=True, maximum=MOST_STEPS,
        minimum=max(row.step + done, 1),
        hint="It trains on, and makes another version." if done else "What is learnt until then stays.",
    )  # fmt: skip
    about = f"It is at step {row.step}."
    typed = await screen.ask(FormDialog(f"Steps of {row.run.name}", [field], about=about))
    if typed is None:
        return
    if done:
        from persona_tui.services.training.start import How

        _start_soon(screen, row.run, how=How(steps=typed["steps"]))
        return
    from persona_tui.services.training.orders import change_steps as carry_out

    await asyncio.to_thread(carry_out, screen.shell.database.session_scope, row.run.id, typed["steps"])
    screen.request_reload()
    screen.flash(f"{row.run.name} takes {typed['steps']} steps.")


async def resume(screen: PersonaScreen, row: Row) -> None:
    """Begin a planned one, or go on from the last checkpoint; an unread licence is shown before."""
    if await _has_read_licence(screen, row.run):
        _start_soon(screen, row.run, accept_licence=True)


async def queue(screen: PersonaScreen, row: Row) -> None:
    """Have it begin when its card is free; an unread licence is shown before."""
    if await _has_read_licence(screen, row.run):
        await _queue(screen, row.run.id, row.run.name, accept_licence=True)


async def _queue(screen: PersonaScreen, run_id: int, name: str, *, accept_licence: bool) -> None:
    from persona_tui.services.training.orders import queue as put_in_line

    scope = screen.shell.database.session_scope
    await asyncio.to_thread(put_in_line, scope, run_id, accept_licence=accept_licence)
    screen.request_reload()
    screen.flash(f"{name} begins when its card is free, while this app or the scheduler runs.")


async def _has_read_licence(screen: PersonaScreen, run: TrainingView) -> bool:
    """Whether its weights' licences need no word, or the operator has read them now."""
    question = await screen.read(_licence_question, run.family, run.folder)
    if question is None:
        return True
    answer = await screen.ask(ConfirmDialog(question, title="Licence", yes="I have read it", dangerous=True))
    return answer is True


def _licence_question(session: Session, family: str, folder: Path) -> str | None:
    from persona_tui.services.training.licences import unread
    from persona_tui.services.training.recipe import family_of
    from persona_tui.services.training.scorers import arcface_in

    return licence_words(unread(session, family_of(family), arcface_in(folder))) or None


def licence_words(missing: Sequence[Notice]) -> str:
    """What has to be acknowledged before weights are used that are not for commercial use; empty without."""
    from persona_tui.services.training.licences import KEPT

    return " ".join([*(one.sentence for one in missing), KEPT]) if missing else ""


def _start_soon(screen: PersonaScreen, run: TrainingView, **how: Any) -> None:
    screen.spawn(partial(start, screen, run.id, run.name, **how), group="start")


async def start(screen: PersonaScreen, run_id: int, name: str, **how: Any) -> None:
    """Start it, or go on; the servers of this machine draw what they have begun before.

    Where another one has its card, it is asked whether it is to wait in line.

    Args:
        how: what `start_training` takes besides.
    """
    from persona_tui.services.lease import CardTaken
    from persona_tui.services.training.start import start_training

    screen.flash(f"Starting the training of {name}…", "busy", seconds=600)
    say = partial(screen.flash, level="busy", seconds=600)
    try:
        await start_training(screen.shell.core.resources.trainings, run_id, say, **how)
    except CardTaken as taken:
        screen.flash(f"{name} does not train yet.", "warn")
        if "how" in how:  # more steps of one that is done can't be asked for in advance
            raise
        if await screen.ask(_wait_question(taken)):
            await _queue(screen, run_id, name, accept_licence=how.get("accept_licence", False))
        return
    screen.request_reload()
    screen.flash(f"{name} trains, also while this app is closed.")


def _wait_question(taken: PersonaError) -> ConfirmDialog:
    return ConfirmDialog(
        taken.message,
        "In line, it begins by itself when the card is free, while this app or the scheduler runs.",
        title=taken.title,
        yes="Queue",
        no="Leave it",
    )


async def _order(screen: PersonaScreen, run: TrainingView, want: str) -> None:
    from persona_tui.services.training.orders import order

    await asyncio.to_thread(order, screen.shell.database.session_scope, run.id, want)
    screen.request_reload()
