"""What a training's folder tells beyond the database: curves, pace, log, samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from persona_tui.gpu.training.folder import Loss, RunFolder
from persona_tui.services import lease
from persona_tui.services.training.runs import TrainingView

if TYPE_CHECKING:
    from persona_tui.gpu.training.choosing import Beside

_PACE_STEPS = 50


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
        seconds_left: at that pace; None while nobody knows.
        evaluations: in the order of their steps.
        events: of the log but steps, the last ones.
        proposed: step of the checkpoint that evaluations think best; None before they do.
        encoded: pictures that are encoded, and how many there are; None before the first one.
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


def attach(view: TrainingView, *, events: int = 40) -> Attached:
    """Read a training's folder. Blocks on the disk; the log of a long run takes some milliseconds."""
    folder = RunFolder(view.folder)
    beat, losses = folder.heartbeat(), folder.losses()
    alive = view.is_live and (lease.living(view.holder) is not None or folder.is_locked())
    step = losses[-1].step if losses else (0 if beat is None else beat.step)
    total = folder.control().steps or view.total_steps
    pace = median(loss.seconds for loss in losses[-_PACE_STEPS:]) if losses else None
    manifest = folder.manifest()
    heard = [event for event in folder.events() if event.get("event") != "step"]
    told = [event for event in heard if event.get("event") != "encoded"]
    return Attached(
        found=folder.run_file.is_file(),
        alive=alive,
        step=step,
        total_steps=total,
        doing=beat.doing if beat is not None and alive else view.status,
        heartbeat_age=None if beat is None else beat.age(),
        losses=losses,
        seconds_per_step=pace,
        seconds_left=None if pace is None or not alive else max(0, total - step) * pace,
        evaluations=tuple(folder.looks()),
        events=told[-events:],
        samples=tuple(sorted(folder.samples.rglob("*.png"))),
        exported=manifest.get("exported"),
        proposed=proposed_in(manifest),
        encoded=_encoded(heard),
    )


def _encoded(events: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    for event in reversed(events):
        match event:
            case {"event": "encoded", "done": int(done), "of": int(of)}:
                return done, of
    return None


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
