"""What a training's folder tells beyond the database: curves, pace, log, samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_tui.gpu.training.folder import Loss, RunFolder
from persona_tui.gpu.training.memory import noted_peak
from persona_tui.gpu.training.pulse import WAITS_FOR_SPACE
from persona_tui.services import lease
from persona_tui.services.training.run_log import RunLog
from persona_tui.services.training.runs import TrainingView

if TYPE_CHECKING:
    from persona_tui.gpu.training.choosing import Beside


_QUIET = ("step", "encoded")
"""Events that make up most of a log."""


@dataclass(frozen=True)
class Attached:
    """A training as its folder has it now.

    Attributes:
        found: whether the folder is there.
        alive: whether a process works on it.
        doing: what that is at: "training", "evaluating", "waiting for space" …
        heartbeat_age: seconds; None before the first one.
        losses: one for each step that counts.
        seconds_per_step: median of the last steps; None before there are some.
        seconds_left: at that pace, evaluations counted in; None while nobody knows, or it waits for space.
        evaluations: in the order of their steps.
        events: of the log but steps, the last ones.
        proposed: step of the checkpoint that evaluations think best; None before they do.
        encoded: pictures that are encoded, and how many there are; None before the first one.
        held_out: noise levels of the last evaluation with the loss on held-out pictures at each.
        peaks: bytes that each card's process has held at most, where several train together; on a CPU of the
            host's memory.
    """

    found: bool
    alive: bool
    step: int
    total_steps: int
    doing: str
    heartbeat_age: float | None
    losses: Sequence[Loss]
    seconds_per_step: float | None
    seconds_left: float | None
    evaluations: Sequence[Mapping[str, Any]]
    events: Sequence[Mapping[str, Any]]
    samples: Sequence[Path]
    exported: Mapping[str, Any] | None
    proposed: int | None = None
    encoded: tuple[int, int] | None = None
    held_out: Sequence[tuple[float, float]] = ()
    peaks: Sequence[int] = ()


def attach(view: TrainingView, *, events: int = 40) -> Attached:
    """Read a training's folder. Blocks on the disk; the log of a long run takes some milliseconds."""
    folder = RunFolder(view.folder)
    beat, losses = folder.heartbeat(), folder.losses()
    alive = view.is_live and (lease.living(view.holder) is not None or folder.is_locked())
    step = losses[-1].step if losses else (0 if beat is None else beat.step)
    total = folder.control().steps or view.total_steps
    log, peak = RunLog(folder.log_file, folder.evaluation_file), noted_peak(folder, "train")
    with suppress(OSError):
        log.read_new()
    manifest = folder.manifest()
    doing = beat.doing if beat is not None and alive else view.status
    told = [event for event in folder.events() if event.get("event") not in _QUIET]
    return Attached(
        found=folder.run_file.is_file(),
        alive=alive,
        step=step,
        total_steps=total,
        doing=doing,
        heartbeat_age=None if beat is None else beat.age(),
        losses=losses,
        seconds_per_step=log.seconds_per_step,
        seconds_left=log.seconds_left(max(0, total - step)) if alive and doing != WAITS_FOR_SPACE else None,
        evaluations=tuple(folder.looks()),
        events=told[-events:],
        samples=tuple(sorted(folder.samples.rglob("*.png"))),
        exported=manifest.get("exported"),
        proposed=proposed_in(manifest),
        encoded=log.encoded,
        held_out=log.held_out,
        peaks=() if peak is None else peak.each,
    )


def proposed_in(manifest: Mapping[str, Any]) -> int | None:
    """The step that a run's evaluations propose, by the manifest of its folder; None before they do."""
    match manifest.get("proposed"):
        case {"step": int(step)}:
            return step
    return None


def alike_in(manifest: Mapping[str, Any]) -> tuple[int, ...]:
    """Steps whose samples are not surely less like the persona than the proposed one's."""
    told = manifest.get("proposed")
    return tuple(told.get("alike", ())) if isinstance(told, dict) else ()


def beside_proposed(folder: RunFolder) -> dict[int, Beside]:
    """Step → how its samples' likeness stands to that of the proposed step's; empty without scored faces."""
    step, each = proposed_in(folder.manifest()), folder.likeness_of_each()
    if step not in each:
        return {}
    from persona_tui.gpu.training.choosing import beside

    found = {other: beside(each[other], each[step]) for other in each if other != step}
    return {other: told for other, told in sorted(found.items()) if told is not None}


def output_tail(view: TrainingView, lines: int = 20) -> tuple[str, ...]:
    """The last lines that a training's processes printed: what a crash left behind."""
    try:
        text = (view.folder / "output.log").read_text("utf-8", "replace")
    except OSError:
        return ()
    return tuple(text.splitlines()[-lines:])


def as_json(attached: Attached, *, losses: int = 100) -> dict[str, Any]:
    """For `train status --json`: the last losses only."""
    return {**vars(attached), "losses": attached.losses[-losses:]}
