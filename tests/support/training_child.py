"""A process that trains and is killed on the way: `python -m tests.support.training_child`.

Serves `fork_server`'s orders `{"stage", "folder", "act", "boundary", "n"}`: each child carries out a stage of a
run and does to itself what `act` says at the n-th boundary of that name, or of any name. What torch needs is
imported before the forks.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

# Before torch: threads of a parent do not come along into its forks.
os.environ["OMP_NUM_THREADS"] = "1"

import torch

from persona_tui import boundaries
from persona_tui.gpu.training import encode, loop
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.worker import run_stage
from tests.support.fork_server import Order, serve
from tests.support.tiny_pipelines import tiny_pipeline

STAGES = {"encode": ("encoding", encode.encode), "train": ("training", loop.train)}


def _acts(folder: RunFolder) -> dict[str, Callable[[], object]]:
    return {
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
        "pause": lambda: folder.order("pause"),
    }


class _Actor:
    def __init__(self, order: Order, folder: RunFolder, log: TextIO) -> None:
        self._boundary, self._left = order.get("boundary"), order.get("n", 0)
        self._act = _acts(folder)[order.get("act", "kill")]
        self._log = log

    def __call__(self, boundary: str) -> None:
        self._log.write(boundary + "\n")
        if self._boundary in (None, boundary):
            self._left -= 1
            if self._left == 0:
                self._act()


def _import_all() -> None:
    """What stages import when they need it; torchvision has been made importable before."""
    import diffusers
    import peft

    # Classes are imported when they are first asked for.
    _ = (diffusers.FluxPipeline, diffusers.QwenImageEditPlusPipeline, peft.LoraConfig)


def _carry_out(order: Order, reached: Path) -> None:
    """One stage; never returns."""
    code = 1
    try:
        if order["stage"] == "base":
            tiny_pipeline(order["family"], Path(order["folder"]))
            code = 0
            return
        folder = RunFolder(Path(order["folder"]))
        with reached.open("a", buffering=1) as log:
            boundaries.observe(_Actor(order, folder, log))
            status, stage = STAGES[order["stage"]]
            code = run_stage(folder, status, stage)
    finally:
        os._exit(code)


if __name__ == "__main__":
    torch.set_num_threads(1)
    _import_all()
    serve(_carry_out)
