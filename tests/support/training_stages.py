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
from persona_tui.gpu.training import encode, loop
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.worker import run_stage

Act = Literal["kill", "term", "pause", "fill"]
Stage = Literal["encode", "train"]


@cache
def _import_all() -> None:
    """What stages import when they need it, so that no fork has to."""
    torch.set_num_threads(1)
    import diffusers
    import peft

    # diffusers imports classes when they are first asked for.
    _ = (diffusers.FluxPipeline, diffusers.QwenImageEditPlusPipeline, peft.LoraConfig)


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

    act: Callable[[], object]
    boundary: str | None
    left: int
    log: int

    def __call__(self, boundary: str) -> None:
        os.write(self.log, f"{boundary}\n".encode())
        if self.boundary in (None, boundary):
            self.left -= 1
            if self.left == 0:
                self.act()


def carried_out(
    stage: Stage, folder: RunFolder, *, act: Act = "kill", boundary: str | None = None, n: int = 0
) -> Ended:
    """Carry out a stage in a fork.

    Args:
        n: act at the n-th boundary; 0 for not at all.
    """
    _import_all()
    note = folder.path / "boundaries"
    child = os.fork()
    if child == 0:
        _carry_out(stage, folder, act, boundary, n, note)
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


def _carry_out(stage: Stage, folder: RunFolder, act: Act, boundary: str | None, n: int, note: Path) -> None:
    """Never returns."""
    code = 99
    try:
        acts: dict[Act, Callable[[], object]] = {
            "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
            "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
            "pause": lambda: folder.order("pause"),
            "fill": _fill_for_a_moment,
        }
        log = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        boundaries.observe(_Actor(acts[act], boundary, n, log))
        if stage == "encode":
            code = run_stage(folder, "encoding", encode.encode)
        else:
            code = run_stage(folder, "training", loop.train)
    finally:
        os._exit(code)
