"""What a run's folder and processes tell, brought into its row: step, checkpoints, scores, memory."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from sqlmodel import Session, col, select

from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.pulse import FREE_SOME, WAITS_FOR_SPACE, Heartbeat, no_room
from persona_tui.models.training import Checkpoint, TrainingRun
from persona_tui.services import events
from persona_tui.services.lease import ReadCards, places
from persona_tui.services.training.calibrating import keep_run

_PREFIX = "step-"
_TAIL = 1 << 16
"""Bytes of the log's end that are read at each look."""


def note_progress(session: Session, row: TrainingRun, folder: RunFolder, cards: ReadCards) -> None:
    """Bring a run's row to what its folder and its processes tell."""
    beat = folder.heartbeat()
    if beat is not None:
        row.heartbeat_at = datetime.fromtimestamp(beat.at, UTC)
    step = _last_step(folder)
    if step is not None:
        row.step = step
    row.total_steps = folder.control().steps or row.total_steps
    _note_checkpoints(session, row, folder)
    _note_memory(row, cards)
    keep_run(session, row, folder)
    session.add(row)
    events.emit(session, "training", row.id)


def note_stillness(row: TrainingRun, beat: Heartbeat | None, seconds_per_step: float | None) -> None:
    """Say of a run whose process lives that it waits for space or does not get on; take it back when it does.

    Nothing is done about it: slowness is never a reason to go back (M10), and a stuck driver is no better
    for another process.
    """
    if beat is not None and beat.doing == WAITS_FOR_SPACE:
        row.trouble, row.hint = no_room(Path(row.folder)), FREE_SOME
        return
    still = 0.0 if beat is None else beat.still_for()
    if beat is not None and still > max(_STILL_SECONDS, _STILL_STEPS * (seconds_per_step or 0.0)):
        row.trouble = f"{_STILL} for {still / 60:.0f} minutes, at step {beat.step} ({beat.doing})."
        row.hint = (
            f"Its output.log may tell why; `persona-tui train stop {row.id}`, or end process {beat.pid}."
        )
    else:
        forget_passing(row)


def forget_passing(row: TrainingRun) -> None:
    """Take back what is only true while a process is at work."""
    if row.trouble.startswith(_STILL) or row.hint == FREE_SOME:
        row.trouble = row.hint = ""


def say_what_is_repeated(row: TrainingRun, folder: RunFolder) -> None:
    """Say of a run that rests that its newest checkpoint is older than its last step: the disk was full."""
    beat, kept = folder.heartbeat(), folder.newest_step()
    step = max(row.step, 0 if beat is None else beat.step)
    if kept is not None and kept < step and not row.trouble:
        row.step = step
        at = f"It is {row.status} at step {step}"
        row.trouble = f"{at}; its last checkpoint is of step {kept}, from where it goes on."
        row.hint = f"`persona-tui train resume {row.id}` takes the steps from {kept + 1} on again."


_STILL = "It does not get on"
_STILL_SECONDS = 1200.0
"""Reading a base model from a slow disk, and scoring, take minutes."""
_STILL_STEPS = 10
"""Steps, where these take longer."""


def last_pace(folder: RunFolder) -> float | None:
    """Seconds that the last step took; None before the first."""
    told = _last_told(folder)
    return None if told is None else float(told.get("seconds", 0.0))


def _last_step(folder: RunFolder) -> int | None:
    """The last step that the log tells; after a kill it may be ahead of the newest checkpoint."""
    told = _last_told(folder)
    return None if told is None else int(told["step"])


def _last_told(folder: RunFolder) -> dict[str, Any] | None:
    """The log's last entry of a step."""
    try:
        with folder.log_file.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        with suppress(ValueError):
            match json.loads(line):
                case {"event": "step", "step": int()} as told:
                    return dict(told)
    return None


def _note_checkpoints(session: Session, row: TrainingRun, folder: RunFolder) -> None:
    names = [path.name.removeprefix(_PREFIX) for path in folder.checkpoints.glob(f"{_PREFIX}*")]
    present = {int(name): name for name in names if name.isdigit()}
    query = select(Checkpoint).where(col(Checkpoint.training_run_id) == row.id)
    known = {checkpoint.step: checkpoint for checkpoint in session.exec(query)}
    scores = {told["step"]: told for told in folder.looks()}
    for step in present.keys() - known.keys():
        path = f"checkpoints/{_PREFIX}{present[step]}"
        known[step] = Checkpoint(
            training_run_id=row.id, step=step, attempt=max(1, row.attempt), file_path=path
        )
        session.add(known[step])
    for step, checkpoint in known.items():
        kept, told = step in present, scores.get(step, checkpoint.scores)
        if (checkpoint.kept, checkpoint.scores) != (kept, told):
            checkpoint.kept, checkpoint.scores = kept, dict(told)
            session.add(checkpoint)


def _note_memory(row: TrainingRun, cards: ReadCards) -> None:
    """Keep the highest reading of the memory that the run's processes hold, of several cards the fullest."""
    pids = _with_children(row.pid)
    if not pids:
        return
    row.measured_ram = max(row.measured_ram or 0, sum(map(_resident, pids)))
    named = (row.card, *row.further_cards)
    mine = {one.name: one.card for one in places(cards()) if one.name in named and one.card is not None}
    if not mine:
        return
    used = max(
        sum(process.memory or 0 for process in card.processes if process.pid in pids)
        for card in mine.values()
    )
    if not used and row.card in mine:  # in a container the driver tells other numbers of processes
        used = max(0, mine[row.card].memory_used - int(row.prediction.get("used_before", 0)))
    row.measured_vram = max(row.measured_vram or 0, used) or None


def _with_children(pid: int | None) -> set[int]:
    """A process and all that it started; empty when it is gone."""
    if pid is not None:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            return {pid, *(child.pid for child in process.children(recursive=True))}
    return set()


def _resident(pid: int) -> int:
    with suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0
