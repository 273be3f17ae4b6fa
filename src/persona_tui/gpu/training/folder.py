"""A run's folder: recipe, state, log, heartbeat and orders. Nothing in it names the folder's own place."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from persona_tui.errors import NotAllowedNow, StorageError
from persona_tui.gpu.training.durable import FolderGone, append_line, lines_of, write_durably, written
from persona_tui.gpu.training.pulse import Heartbeat
from persona_tui.gpu.training.run_file import RunFile, as_toml, read_run_file

Want = Literal["run", "pause", "stop"]
Status = Literal[
    "planned",
    "encoding",
    "encoded",
    "training",
    "exporting",
    "paused",
    "stopped",
    "done",
    "failed",
]

BY_SCORER = frozenset(
    {
        *("likeness", "training_likeness", "gap", "leakage", "each", "by_strength", "outcomes"),
        *("threshold", "calibrated_on", "passed"),
    }
)
"""Of an evaluation, what means nothing beside another scorer's."""


@dataclass(frozen=True)
class Control:
    """What is wanted of a run.

    Attributes:
        steps: another number of steps than the recipe's; None: the recipe's.
        until: Unix time at which the consent runs out; None: none does.
    """

    want: Want = "run"
    steps: int | None = None
    until: float | None = None


@dataclass(frozen=True)
class Loss:
    """One optimizer step, as the log tells it."""

    step: int
    loss: float
    seconds: float


class RunFolder:
    """Where one run lives. All paths are beneath it; it may be moved while nobody works in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_file = path / "run.toml"
        self.manifest_file = path / "manifest.json"
        self.log_file = path / "log.jsonl"
        self.heartbeat_file = path / "heartbeat.json"
        self.control_file = path / "control.json"
        self.lock_file = path / "lock"
        self.cache = path / "cache"
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        self.evaluation_file = path / "evaluation.jsonl"
        self.export = path / "export"

    def create(self, run: RunFile) -> None:
        """Make the folder with its recipe.

        Raises:
            StorageError: it can't be written, or there is a run in it already.
        """
        if self.run_file.exists():
            raise StorageError(f"{self.path} holds a run already.", hint="Choose another folder.")
        with written(self.path):
            for folder in (self.path, self.cache, self.checkpoints, self.samples, self.export):
                folder.mkdir(parents=True, exist_ok=True)
        write_durably(self.run_file, as_toml(run).encode())

    def run(self) -> RunFile:
        """The recipe.

        Raises:
            InvalidRequest: there is none, or it can't be used.
        """
        return read_run_file(self.run_file)

    def require(self) -> None:
        """Have the folder where it was: a run is not to be written beside itself.

        Raises:
            FolderGone: its recipe is not there any more.
        """
        if not self.run_file.is_file():
            raise FolderGone(f"The folder of the training is gone from {self.path}.")

    def manifest(self) -> dict[str, Any]:
        """Status, interventions and facts of the run; empty before it began."""
        return _object(self.manifest_file)

    def note(self, **facts: Any) -> None:
        """Change entries of the manifest; on the disk when this returns.

        Raises:
            DiskFull, StorageError: it can't be written; the old one stays.
        """
        told = {"version": 1, **self.manifest(), **facts}
        write_durably(self.manifest_file, json.dumps(told, indent=1, ensure_ascii=False).encode())

    def status(self) -> Status:
        """What the run last said of itself; whether its process lives is another question."""
        status: Status = self.manifest().get("status", "planned")
        return status

    def log(self, event: str, **facts: Any) -> None:
        """Append one line to the log.

        Raises:
            DiskFull, StorageError: there is no room for it.
        """
        line = json.dumps({"at": datetime.now(UTC).isoformat(), "event": event, **facts}, ensure_ascii=False)
        append_line(self.log_file, line)

    def events(self) -> Iterator[dict[str, Any]]:
        """The log's events in order; a line that was cut off by a kill or a full disk is left out."""
        yield from lines_of(self.log_file)

    def looks(self) -> list[dict[str, Any]]:
        """What the evaluations wrote down, in their order.

        Likeness that another scorer found than the last one is left out: the two can't be compared.
        """
        told = list(self._evaluated())
        last = next((one["scorer"] for one in reversed(told) if one.get("scorer")), "")
        return [
            one
            if one.get("scorer", last) in (last, "")
            else {name: value for name, value in one.items() if name not in BY_SCORER}
            for one in told
        ]

    def likeness_of_each(self) -> dict[int, dict[str, float]]:
        """Step → prompt and seed → likeness of its sample, as far as faces were scored."""
        return {told["step"]: told["each"] for told in self.looks() if told.get("each")}

    def _evaluated(self) -> Iterator[dict[str, Any]]:
        """What evaluations have found, in their order; those of steps that were gone back from are left out.

        Each says where had been gone back to before it. What came later and went back before its step gave
        that step other weights.
        """
        back = [int(one["back_to"]) for one in self.manifest().get("interventions", [])]
        for told in lines_of(self.evaluation_file):
            step, known = told.get("step"), told.get("went_back_to", back)
            if isinstance(step, int) and not any(to < step for to in back[len(known) :]):
                yield told

    def newest_step(self) -> int | None:
        """The step of the newest checkpoint; None without one."""
        names = (path.name.removeprefix("step-") for path in self.checkpoints.glob("step-*"))
        return max((int(name) for name in names if name.isdigit()), default=None)

    def losses(self) -> list[Loss]:
        """The loss curve: of a step that was taken again after a kill, the last time counts."""
        curve: dict[int, Loss] = {}
        for event in self.events():
            match event:
                case {"event": "step", "step": int(step), "loss": float(loss), "seconds": float(seconds)}:
                    curve[step] = Loss(step, loss, seconds)
                case {"event": "rollback", "to": int(back)}:
                    curve = {step: told for step, told in curve.items() if step <= back}
        return [curve[step] for step in sorted(curve)]

    def control(self) -> Control:
        """What is wanted; where nothing legible stands, that it runs."""
        told = _object(self.control_file)
        want, steps, until = told.get("want", "run"), told.get("steps"), told.get("until")
        return Control(
            want if want in ("run", "pause", "stop") else "run",
            steps if isinstance(steps, int) and not isinstance(steps, bool) and steps >= 1 else None,
            float(until) if isinstance(until, int | float) and not isinstance(until, bool) else None,
        )

    def order(self, want: Want | None = None, steps: int | None = None) -> Control:
        """Change what is wanted; what is None stays.

        One at a time: the operator's pause and the trainer's own end may come at one moment.

        Raises:
            DiskFull, StorageError: it can't be written.
        """
        with self._ordering():
            now = self.control()
            return self._order(replace(now, want=want or now.want, steps=steps or now.steps))

    def permit(self, until: float | None) -> Control:
        """Say when the consent runs out, so that a run stops then with nobody watching; None: it does not.

        Raises:
            DiskFull, StorageError: it can't be written.
        """
        with self._ordering():
            return self._order(replace(self.control(), until=until))

    def _order(self, new: Control) -> Control:
        write_durably(self.control_file, json.dumps(asdict(new)).encode())
        return new

    @contextlib.contextmanager
    def _ordering(self) -> Iterator[None]:
        with written(self.path):
            descriptor = os.open(self.path / "control.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def heartbeat(self) -> Heartbeat | None:
        """The last sign of life; None where there is none that can be read."""
        told = _object(self.heartbeat_file)
        try:
            return Heartbeat(**told)
        except TypeError:
            return None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only process that works in this folder; the kernel lets go of a killed one's lock.

        Raises:
            NotAllowedNow: another process works in it.
        """
        with written(self.path):
            descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _lock(descriptor, fcntl.LOCK_EX):
                raise NotAllowedNow(
                    f"Another process works on the run in {self.path.name}.",
                    hint="`train status` shows it; a run is trained by one process at a time.",
                )
            yield
        finally:
            os.close(descriptor)

    def is_locked(self) -> bool:
        """Whether a living process works in this folder."""
        try:
            descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            # Shared, so that two that look at once don't take each other for a trainer.
            return not _lock(descriptor, fcntl.LOCK_SH, patience=0)
        finally:
            os.close(descriptor)


def _lock(descriptor: int, kind: int, patience: float = 1.0) -> bool:
    """Take a lock; whoever only looks whether it is taken holds it for an instant, which is waited out."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def _object(path: Path) -> dict[str, Any]:
    """A file's JSON object; empty where there is none."""
    try:
        told = json.loads(path.read_text("utf-8", "replace"))
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
