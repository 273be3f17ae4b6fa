"""A consent that ends: what is trained under it stops, whether or not anybody watches trainings."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import col, select

from persona_tui.errors import PersonaError
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.models.training import Dataset, TrainingRun
from persona_tui.services import lease
from persona_tui.services.safety.consents import ConsentView, withdraw_consent
from persona_tui.services.training.datasets import SessionScope
from persona_tui.services.training.orders import note_act
from persona_tui.services.training.runs import LIVE, TrainingView, get_training


@dataclass(frozen=True)
class Withdrawn:
    """A consent that was withdrawn.

    Attributes:
        stopping: trainings under it that were at work, and stop at their next step.
    """

    consent: ConsentView
    stopping: tuple[int, ...]


def withdraw(scope: SessionScope, consent_id: int, reason: str = "") -> Withdrawn:
    """End a consent for good, and have what is trained under it stop at its next step.

    The order is given here and not left to who watches trainings: a training goes on without app and
    scheduler. One that waits in line is not started; what is done already is not registered any more.

    Raises:
        UnknownName: it is not there.
        NotAllowedNow: it is withdrawn already.
    """
    with scope() as session:
        consent = withdraw_consent(session, consent_id, reason)
    with scope() as session:
        query = (
            select(TrainingRun.id)
            .join(Dataset, col(Dataset.id) == col(TrainingRun.dataset_id))
            .where(col(Dataset.consent_id) == consent_id, col(TrainingRun.status).in_(LIVE))
            .order_by(col(TrainingRun.id))
        )
        views = [get_training(session, run_id) for run_id in session.exec(query)]
    for view in views:
        _stop(view)
        with scope() as session:
            note_act(session, view.persona_id, view.id, "training.stop")
    return Withdrawn(consent, tuple(view.id for view in views))


def _stop(view: TrainingView) -> None:
    """By its folder; where that is gone or full, by a signal, which its stage takes at the next step, too."""
    folder = RunFolder(Path(view.folder))
    try:
        if folder.run_file.is_file():
            folder.order("stop")
            return
    except PersonaError:
        pass
    pid = lease.living(view.holder)
    if pid is not None:
        with suppress(OSError):
            os.kill(pid, signal.SIGTERM)
