"""Steps per second with and without what may make them faster, one after the other in one process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median

import torch

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training import speed
from persona_tui.gpu.training.checkpoints import State
from persona_tui.gpu.training.folder import Status
from persona_tui.gpu.training.memory import Speed
from persona_tui.gpu.training.probe import largest_alone
from persona_tui.gpu.training.run_file import AttentionBackend
from persona_tui.gpu.training.trainee import Trainee
from persona_tui.gpu.training.worker import Worker

_WARM, _TIMED = 1, 3
_COMPILED_WARM = 2
"""The second of these compiles again where sizes turn out to change."""

_BACKENDS: Mapping[str, tuple[AttentionBackend, ...]] = {
    "cpu": ("native", "math", "flash", "efficient"),
    "cuda": ("native", "flash", "efficient", "cudnn"),
}
"""By kind of device; `math` on a card holds all of the attention's weights, and is slow."""


def compare(worker: Worker) -> Status:
    """Time a few steps of the largest sample in each way, and note them.

    Raises:
        InvalidRequest: recipe, cache or base model can't be used.
    """
    folder = worker.folder
    run = folder.run().model_copy(update={"compile": False, "attention_backend": "native"})
    trainee = Trainee(run, *largest_alone(folder, run))
    timer = _Timer(worker, trainee)
    timed = {backend: timer.time(backend, compiled=False) for backend in _BACKENDS[trainee.device.type]}
    fastest = min(timed, key=lambda backend: timed[backend] or float("inf"))
    if run.swap_blocks == 0:
        speed.compile_blocks(trainee.transformer)
        timer.time(fastest, compiled=True)
    worker.insist(lambda: folder.note(speeds=[asdict(one) for one in timer.found]))
    return "done"


@dataclass
class _Timer:
    worker: Worker
    trainee: Trainee

    def __post_init__(self) -> None:
        self.found: list[Speed] = []
        self._step = 0

    def time(self, backend: AttentionBackend, *, compiled: bool) -> float | None:
        """Seconds of a step in this way; a way that can't be taken is noted with the reason."""
        speed.use_attention(self.trainee.transformer, backend)
        self.trainee.run = self.trainee.run.model_copy(
            update={"attention_backend": backend, "compile": compiled}
        )
        seconds, problem = None, ""
        try:
            for _ in range(_COMPILED_WARM if compiled else _WARM):
                self._take()
            seconds = round(median(self._take() for _ in range(_TIMED)), 5)
        except InvalidRequest as refused:
            problem = refused.message
        except torch.OutOfMemoryError:
            problem = "The card has too little memory for it."
        self.trainee.optimizer.zero_grad()
        self.found.append(Speed(compiled, backend, seconds, problem))
        return seconds

    def _take(self) -> float:
        self._step += 1
        begun = time.perf_counter()
        self.trainee.take(self._step, State())
        if self.trainee.device.type == "cuda":
            torch.cuda.synchronize(self.trainee.device)
        self.worker.pulse.moved(self._step, "comparing")
        return time.perf_counter() - begun
