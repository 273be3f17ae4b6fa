"""Sees a run through its stages: `python -m persona_tui.gpu.training.supervisor RUN_FOLDER STAGES N LOCK …`.

It outlives whoever started it, holds the cards' locks, and takes a stage that was killed up again, once at
each step. It imports no torch: what a stage held is free when that stage has ended. Where several processes
train, `accelerate launch` starts them, one for each card.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from persona_tui.errors import PersonaError
from persona_tui.gpu.training.durable import write_durably, written
from persona_tui.gpu.training.folder import RunFolder, Status

Stage = Literal["encode", "train", "export"]
EXIT_FAILED, EXIT_PAUSED, EXIT_STOPPED, EXIT_CARD = 1, 3, 4, 5
_ORDER: tuple[Stage, ...] = ("encode", "train", "export")
_AT_WORK = ("encoding", "training", "exporting")
"""Statuses that a stage leaves behind only when it was killed."""
_UNSEEN = -1000
"""Instead of a signal's number, of processes that the launcher ended with."""
FOLLOWER_FILE = "follower.json"
"""In a run's folder: why a process beside the first one failed."""
_CARD_SECONDS = 30.0
"""How long it waits for the card's lock; who started it knows that the card is free."""


def main(arguments: list[str]) -> int:
    """See a run through.

    Args:
        arguments: the run's folder, the stages' module, how many processes train, and the cards' lock files.

    Returns:
        0 done, 1 or 2 failed, 3 paused, 4 stopped, 5 the card is held by another process.
    """
    if len(arguments) < 4 or not arguments[2].isdecimal():
        sys.stderr.write(f"{__doc__}\n")
        return 2
    folder, stages, processes = RunFolder(Path(arguments[0])), arguments[1], int(arguments[2])
    descriptors: list[int] = []
    try:
        for path in arguments[3:]:
            descriptor = _locked(Path(path), folder)
            if descriptor is None:
                words = "Another process holds the card."
                folder.note(status="failed", message=words, hint="`train resume` tries it again.")
                return EXIT_CARD
            descriptors.append(descriptor)
        return _see_through(Stages(folder, stages, processes, tuple(descriptors)))
    except PersonaError as problem:
        sys.stderr.write(f"{problem.message} {problem.hint}\n")
        return problem.exit_code


def _locked(path: Path, folder: RunFolder) -> int | None:
    """Lock the card for as long as this process, or a stage of it, lives; None when another keeps it.

    A stage that outlived its supervisor holds the lock too: its end is waited for.
    """
    with written(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    patience = time.monotonic() + _CARD_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if folder.is_locked():
                patience = time.monotonic() + _CARD_SECONDS
            elif time.monotonic() > patience:
                os.close(descriptor)
                return None
            time.sleep(0.2)
        else:
            return descriptor


@dataclass(frozen=True)
class Stages:
    """How the stages of a run are carried out.

    Attributes:
        module: whose `encode`, `train` and `export` are run.
        processes: that train together.
        locks: descriptors of the cards' locks, which stages inherit.
    """

    folder: RunFolder
    module: str
    processes: int
    locks: tuple[int, ...]

    def command(self, stage: Stage) -> list[str]:
        """What carries out a stage."""
        words = ["-m", self.module, stage, str(self.folder.path)]
        several = self.processes > 1 and stage == "train"
        return [sys.executable, *(_launcher(self.processes) if several else ()), *words]


def _launcher(processes: int) -> tuple[str, ...]:
    """`accelerate launch` on this machine alone; what it would read of its own settings is said here."""
    return (
        "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes),
        "--num_machines", "1", "--machine_rank", "0", "--gpu_ids", "all", "--mixed_precision", "no",
        "--dynamo_backend", "no", "--main_process_port", "0",
    )  # fmt: skip


def _see_through(stages: Stages) -> int:
    folder = stages.folder
    interrupted = next_stage(folder)
    if folder.status() in _AT_WORK and interrupted is not None and not _goes_on(folder, interrupted, 0):
        return EXIT_FAILED
    while True:
        stage = next_stage(folder)
        if stage is None:
            return 0
        code = _carry_out(stages, stage)
        if code > 0:
            return code
        if code < 0 and not _goes_on(folder, stage, 0 if code == _UNSEEN else -code):
            return EXIT_FAILED


def _goes_on(folder: RunFolder, stage: Stage, number: int) -> bool:
    """Whether a run whose stage was killed is taken up again; both are written down.

    Args:
        number: of the signal; 0 where nobody saw it.
    """
    step = _step_of(folder)
    by = f" by {_signal_name(number)}" if number else ""
    words = f"The process of the stage {stage} was ended{by} at step {step}."
    if take_chance(folder, stage, step):
        folder.log("died", stage=stage, step=step, message=f"{words} It goes on by itself.")
        return True
    hint = "It was taken up there before; the log and free memory tell why. `train resume` tries again."
    folder.note(status="failed", message=words, hint=hint)
    folder.log("failed", message=words, hint=hint)
    return False


def next_stage(folder: RunFolder) -> Stage | None:
    """What is to be done next; None when all is done.

    Stages find out by themselves how far they have come: an encode that is complete ends at once.
    """
    status: Status = folder.status()
    if status == "exporting":
        return "export"
    if status == "done":
        return None if folder.manifest().get("exported") else "export"
    if status in ("planned", "encoding"):
        return "encode"
    trained = any(event["event"] == "began" and event.get("stage") == "training" for event in folder.events())
    return "train" if trained or status == "encoded" else "encode"


def take_chance(folder: RunFolder, stage: Stage, step: int) -> bool:
    """Whether a run that died may be taken up by itself; then it is written down that it was.

    Once at each step, and three times without getting any further: then somebody has to look.
    """
    place = [_ORDER.index(stage), step]
    path = folder.path / "resumes.json"
    try:
        taken = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        taken = []
    if place in taken or sum(one >= place for one in taken) >= 3:
        return False
    write_durably(path, json.dumps([*taken, place]).encode())
    return True


def forget_chances(folder: RunFolder) -> None:
    """Somebody has looked: it may be taken up by itself again."""
    with written(folder.path):
        (folder.path / "resumes.json").unlink(missing_ok=True)


def _carry_out(stages: Stages, stage: Stage) -> int:
    """Run one stage in processes of its own; negative when a signal ended it."""
    folder, command = stages.folder, stages.command(stage)
    while folder.is_locked():  # a stage that outlived the supervisor before
        time.sleep(0.5)
    with written(folder.path):
        (folder.path / FOLLOWER_FILE).unlink(missing_ok=True)
    stage_process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=stages.locks)
    before = signal.signal(signal.SIGTERM, lambda *_: stage_process.terminate())
    try:
        code = stage_process.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
    return code if stages.processes == 1 or stage != "train" else _outcome(folder, code)


def _outcome(folder: RunFolder, code: int) -> int:
    """What became of several processes; their launcher tells no more than that one did not end with 0."""
    status = folder.status()
    if status == "paused":
        return EXIT_PAUSED
    if status == "stopped":
        return EXIT_STOPPED
    if status == "failed":
        return EXIT_FAILED
    if status not in _AT_WORK:
        return 0
    try:
        told = json.loads((folder.path / FOLLOWER_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return code if code < 0 else _UNSEEN
    folder.note(status="failed", message=told["message"], hint=told["hint"])
    folder.log("failed", message=told["message"], hint=told["hint"])
    return EXIT_FAILED


def _step_of(folder: RunFolder) -> int:
    """How far a stage had come; before its first step, as far as the newest checkpoint."""
    beat = folder.heartbeat()
    if beat is not None and beat.step:
        return beat.step
    return folder.newest_step() or 0


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
