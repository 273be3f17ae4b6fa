"""Where a training's folder lies, which the operator may move while nobody works in it."""

from __future__ import annotations

from pathlib import Path

from sqlmodel import Session, select

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.models.training import TrainingRun


def folder_of(row: TrainingRun) -> RunFolder:
    """A training's folder.

    Raises:
        InvalidRequest: it is not where it was, or something else is there.
    """
    folder = RunFolder(Path(row.folder))
    again = f"`persona-tui train resume {row.id} --folder FOLDER`"
    if folder.path.exists() and not folder.run_file.is_file():
        raise InvalidRequest(
            f"{row.folder} holds no training: {folder.run_file.name} is not there.",
            title="Wrong folder",
            hint=f"Say where that of training {row.id} is: {again}.",
        )
    if not folder.run_file.is_file():
        raise InvalidRequest(
            f"The folder of training {row.id} is gone from {row.folder}.",
            title="Folder is gone",
            hint=f"Put it back, or say where it is: {again}.",
        )
    return folder


def move(session: Session, row: TrainingRun, folder: Path) -> None:
    """Note where a training's folder was moved to.

    Raises:
        InvalidRequest: it is another training's.
    """
    # One folder may be written in several ways: by a link, or by "..".
    target = folder.resolve()
    others = session.exec(select(TrainingRun.id, TrainingRun.folder).where(TrainingRun.id != row.id))
    other = next((run_id for run_id, path in others if Path(path).resolve() == target), None)
    if other is not None:
        raise InvalidRequest(
            f"{folder} is the folder of training {other}.",
            hint=f"Name the folder that training {row.id} was moved to.",
        )
    row.folder = str(target)
    session.add(row)
