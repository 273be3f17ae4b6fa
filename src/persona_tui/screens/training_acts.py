"""What the keys do with a training; each act asks where it can't be undone, and says what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.training_reading import Row
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.fields import IntegerField
from persona_tui.widgets.form import FormDialog

if TYPE_CHECKING:
    from persona_tui.services.training.overview import TrainingView

Act = Callable[[PersonaScreen, Row], Coroutine[Any, Any, None]]
MOST_STEPS = 100_000


def _is_working(row: Row) -> bool:
    return row.look is not None and row.look.sign == "alive" and row.look.wanted.want == "run"


def _rests(row: Row) -> bool:
    look = row.look
    return look is not None and look.sign in ("silent", "resting") and row.status != "done"


def _has_steps_to_come(row: Row) -> bool:
    return row.look is not None and row.look.sign != "gone" and row.status not in ("done", "exporting")


POSSIBLE: dict[str, Callable[[Row], bool]] = {
    "pause": _is_working,
    "stop": lambda row: _is_working(row) or row.status == "paused",
    "resume": _rests,
    "steps": _has_steps_to_come,
    "lora": lambda row: row.run.lora_id is not None,
}
"""Acts that not every training allows."""


async def pause(screen: PersonaScreen, row: Row) -> None:
    """Have it write a checkpoint and rest."""
    await _order(row.run, want="pause")
    key = screen.shell.registry.label("training.resume")
    screen.flash(f"{row.run.name} writes a checkpoint and rests; [{key}] goes on.")


async def stop(screen: PersonaScreen, row: Row) -> None:
    """End it, after asking."""
    question = ConfirmDialog(
        f"Stop the training of {row.run.name} at step {row.step}?",
        "A checkpoint is written first, so it can be resumed later; no LoRA is made of it.",
        yes="Stop",
        dangerous=True,
    )
    if await screen.ask(question):
        await _order(row.run, want="stop")
        screen.flash(f"{row.run.name} writes a checkpoint and ends.")


async def change_steps(screen: PersonaScreen, row: Row) -> None:
    """Ask for another number of steps."""
    field = IntegerField(
        name="steps", label="Steps", value=row.steps or None, required=True, minimum=1, maximum=MOST_STEPS,
        hint=f"It is at step {row.step}. Nothing before another last step changes.",
    )  # fmt: skip
    typed = await screen.ask(FormDialog(f"Steps of {row.run.name}", [field]))
    if typed is not None:
        await _order(row.run, steps=typed["steps"])
        screen.flash(f"{row.run.name} takes {typed['steps']} steps.")


async def resume(screen: PersonaScreen, row: Row) -> None:
    """Go on from the last checkpoint."""
    raise NotImplementedError


async def begin(screen: PersonaScreen) -> int | None:
    """Plan a training with the operator and start it; its id, or None where it was left."""
    raise NotImplementedError


async def _order(run: TrainingView, **order: Any) -> None:
    from persona_tui.gpu.training.folder import RunFolder

    await asyncio.to_thread(RunFolder(run.folder).order, **order)
