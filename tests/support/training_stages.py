"""Stages of a run in forks of this process, which end themselves, or are told something, at a boundary.

A fork costs no imports; torch has one thread, so none is missing in the fork.
"""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch

from persona_tui import boundaries
from persona_tui.gpu.training import encode, export, loop
from persona_tui.gpu.training.evaluate import Evaluator
from persona_tui.gpu.training.folder import RunFolder, Status
from persona_tui.gpu.training.scoring import Scores
from persona_tui.gpu.training.worker import Worker, run_stage

Act = Literal["kill", "kill later", "term", "pause", "fill", "more"]
Stage = Literal["encode", "train", "export"]


@cache
def _import_all() -> None:
    """What stages import when they need it, so that no fork has to."""
    torch.set_num_threads(1)
    import diffusers
    import peft

    # diffusers imports classes when they are first asked for.
    _ = (diffusers.FluxPipeline, diffusers.QwenImageEditPlusPipeline, peft.LoraConfig)


def _train(worker: Worker) -> Status:
    """Training, looked at where the recipe says so; what pictures are worth needs a process and weights."""
    if not worker.folder.run().evaluate_every:
        return loop.train(worker)
    return loop.train(worker, Evaluator(worker, share=1.0, score=lambda _folder, _step: Scores()))


_STAGES: dict[Stage, tuple[Status, Callable[[Worker], Status]]] = {
    "encode": ("encoding", encode.encode),
    "train": ("training", _train),
    "export": ("exporting", export.export),
}


@dataclass(frozen=True)
class Ended:
    """How a stage's process ended.

    Attributes:
        signal: that killed it; 0 for none.
        code: it exited with; None where it was killed.
        boundaries: that it reached.
    """

    signal: int
    code: int | None
    boundaries: tuple[str, ...]


@dataclass
class _Actor:
    """Notes each boundary, and acts at the n-th of a name, or of any name."""

    act: Act
    boundary: str | None
    left: int
    seconds: float
    folder: RunFolder
    log: int = -1

    def __call__(self, boundary: str) -> None:
        os.write(self.log, f"{boundary}\n".encode())
        if self.boundary in (None, boundary):
            self.left -= 1
            if self.left == 0:
                self._act()

    def _act(self) -> None:
        match self.act:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "kill later":
                threading.Timer(self.seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
            case "term":
                os.kill(os.getpid(), signal.SIGTERM)
            case "pause":
                self.folder.order("pause")
            case "more":
                self.folder.order(steps=10)
            case "fill":
                _fill_for_a_moment()


def carried_out(
    stage: Stage,
    folder: RunFolder,
    *,
    act: Act = "kill",
    boundary: str | None = None,
    n: int = 0,
    seconds: float = 0.0,
) -> Ended:
    """Carry out a stage in a fork.

    Args:
        n: act at the n-th boundary; 0 for not at all.
        seconds: from there to a "kill later", wherever the process then is.
    """
    _import_all()
    note = folder.path / "boundaries"
    child = os.fork()
    if child == 0:
        _carry_out(stage, folder, _Actor(act, boundary, n, seconds, folder), note)
    _, status = os.waitpid(child, 0)
    reached = tuple(note.read_text().split())
    note.unlink()
    if os.WIFSIGNALED(status):
        return Ended(os.WTERMSIG(status), None, reached)
    return Ended(0, os.WEXITSTATUS(status), reached)


def _fill_for_a_moment() -> None:
    """From here on the kernel refuses longer files, as a full disk does, until the run has met with it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))
    threading.Timer(0.7, resource.setrlimit, (resource.RLIMIT_FSIZE, before)).start()


def _carry_out(stage: Stage, folder: RunFolder, actor: _Actor, note: Path) -> None:
    """Never returns."""
    code = 99
    try:
        actor.log = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        boundaries.observe(actor)
        code = run_stage(folder, *_STAGES[stage])
    finally:
        os._exit(code)
