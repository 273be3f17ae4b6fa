"""Orders to a training: pause, stop, wait in line, another number of steps."""

from __future__ import annotations

from pathlib import Path

from sqlmodel import Session, col, select

from persona_tui.errors import InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.models.training import Dataset, TrainingRun
from persona_tui.services import events
from persona_tui.services.safety import audit
from persona_tui.services.training import licences
from persona_tui.services.training.datasets import SessionScope
from persona_tui.services.training.plan import require_subject
from persona_tui.services.training.recipe import family_of
from persona_tui.services.training.run_folders import folder_of
from persona_tui.services.training.runs import LIVE, TrainingView, get_training
from persona_tui.services.training.scorers import arcface_in


def order(scope: SessionScope, run_id: int, want: str) -> TrainingView:
    """Have a running training pause or stop at its next step, with a checkpoint.

    Args:
        want: pause or stop.

    Raises:
        UnknownName: no such training.
        NotAllowedNow: it does not run, or is being exported.
        InvalidRequest: it runs, and its folder is gone.
        StorageError: its folder can't be written.
    """
    with scope() as session:
        view = get_training(session, run_id)
        rests = view.status in ("paused", "queued")
        if not view.is_live and not (want == "stop" and rests):
            raise NotAllowedNow(
                f"Training {run_id} is {view.status}, so there is nothing to {want}.",
                hint="`persona-tui train status` shows what runs.",
            )
        if view.is_live and RunFolder(view.folder).status() == "exporting":
            raise NotAllowedNow(
                f"Training {run_id} has taken its last step and is being exported.",
                hint="Wait for its end: that takes no longer than loading the base model and two pictures.",
            )
        row = session.get_one(TrainingRun, run_id)
        if view.is_live or RunFolder(view.folder).run_file.is_file():
            folder_of(row).order("pause" if want == "pause" else "stop")
        if rests:
            row.status = "stopped" if row.started_at is not None else "planned"
            session.add(row)
        note_act(session, view.persona_id, run_id, f"training.{want}")
        return get_training(session, run_id)


def queue(scope: SessionScope, run_id: int, *, accept_licence: bool = False) -> TrainingView:
    """Have a training started as soon as its card is free, after those that were queued before it.

    Args:
        accept_licence: the operator has read the licence of a non-commercial base model.

    Raises:
        UnknownName: no such training.
        NotAllowedNow: it runs or is done, its licence was not acknowledged, or nobody says who is in the
            dataset.
        InvalidRequest: the consent is withdrawn, or its folder is gone.
    """
    with scope() as session:
        row = locked_row(session, run_id)
        if row.status not in ("planned", "paused", "stopped", "failed"):
            raise NotAllowedNow(
                f"Training {run_id} is {row.status}.",
                hint="`persona-tui train status` shows what may be queued.",
            )
        require_subject(session, session.get_one(Dataset, row.dataset_id))
        family, arcface = family_of(row.base_family), arcface_in(Path(row.folder))
        if accept_licence:
            licences.acknowledge(session, licences.unread(session, family, arcface))
        licences.require_acknowledged(session, family, arcface)
        folder_of(row)
        row.status, row.trouble, row.hint = "queued", "", ""
        session.add(row)
        note_act(session, row.persona_id, run_id, "training.queue")
    with scope() as session:
        return get_training(session, run_id)


def change_steps(scope: SessionScope, run_id: int, steps: int) -> TrainingView:
    """Let a training take another number of steps; one that runs learns it at its next step.

    Raises:
        UnknownName: no such training.
        InvalidRequest: it is past that step already, or its folder is gone.
        NotAllowedNow: it has taken its last step and is being exported.
    """
    with scope() as session:
        row = locked_row(session, run_id)
        if row.status in LIVE and RunFolder(Path(row.folder)).status() in ("exporting", "done"):
            raise NotAllowedNow(
                f"Training {run_id} has taken its last step and is being exported.",
                hint=f"`persona-tui train resume {run_id} --steps {steps}` trains on once that is done.",
            )
        if steps < max(1, row.step):
            raise InvalidRequest(
                f"Training {run_id} is at step {row.step} already.",
                hint=f"Name more, or end it here: `train stop {run_id}`.",
            )
        folder_of(row).order(steps=steps)
        row.total_steps = steps
        session.add(row)
        note_act(session, row.persona_id, run_id, "training.steps")
    with scope() as session:
        return get_training(session, run_id)


def locked_row(session: Session, run_id: int) -> TrainingRun:
    """A training's row, held until the transaction ends.

    Raises:
        UnknownName: no such training.
    """
    query = select(TrainingRun).where(col(TrainingRun.id) == run_id).with_for_update()
    row = session.exec(query.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise UnknownName(
            f"There is no training {run_id}.", hint="`persona-tui train status` shows what there is."
        )
    return row


def note_act(session: Session, persona_id: int, run_id: int, action: str) -> None:
    """Note in the audit what an operator did with a training, and tell the screens."""
    audit.append(
        session, actor="operator", action=action, persona_id=persona_id, subject=f"training_runs:{run_id}"
    )
    events.emit(session, "training", run_id)
