"""Trainings as they are at this moment, for the commands that show them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persona_tui.resources import Resources
    from persona_tui.services.training.runs import TrainingView


def catch_up(opened: Resources) -> None:
    """Note and register what has ended while no app and no scheduler ran."""
    from persona_tui.services.training.runs import list_trainings

    with opened.database.session_scope() as reading:
        live = list_trainings(reading, live=True)
    if live:
        from persona_tui.services.training.watch import TrainingWatch

        asyncio.run(TrainingWatch(opened.trainings).catch_up())


def current(opened: Resources, run_id: int) -> TrainingView:
    """One training, with what its folder tells brought into the database."""
    from persona_tui.services.training.runs import get_training

    with opened.database.session_scope() as reading:
        view = get_training(reading, run_id)
    if not view.is_live:
        return view
    catch_up(opened)
    with opened.database.session_scope() as reading:
        return get_training(reading, run_id)
