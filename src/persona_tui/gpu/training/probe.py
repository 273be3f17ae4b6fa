"""A few optimizer steps of the largest bucket, for what they take of memory and time; nothing is kept."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from persona_tui.gpu.training.cache import Cache
from persona_tui.gpu.training.checkpoints import State
from persona_tui.gpu.training.folder import RunFolder, Status
from persona_tui.gpu.training.memory import Peak, peak
from persona_tui.gpu.training.trainee import LEARNT_FROM, Trainee
from persona_tui.gpu.training.worker import Worker


@dataclass(frozen=True)
class Probed:
    """What a probe's steps took.

    Attributes:
        outgrew: the card had too little memory for them; the peak is what it had given until then.
        seconds: of each step; the first one also warms up and compiles.
    """

    peak: Peak
    outgrew: bool
    seconds: tuple[float, ...]


def probe(worker: Worker) -> Status:
    """Take as many steps as the recipe has, of the largest sample alone.

    Raises:
        InvalidRequest: recipe, cache or base model can't be used.
        rollback.Failure: the loss is no number.
    """
    run = worker.folder.run()
    cache = Cache(worker.folder.cache)
    index = cache.index(run)
    samples = [index.samples[place] for place in index.places(LEARNT_FROM)]
    largest = max(samples, key=lambda sample: sample.bucket[0] * sample.bucket[1])
    side = round((largest.bucket[0] * largest.bucket[1]) ** 0.5)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    seconds: list[float] = []
    outgrew = False
    try:
        trainee = Trainee(run, index.model_copy(update={"samples": (largest,)}), cache)
        for step in range(1, run.steps + 1):
            begun = time.perf_counter()
            trainee.take(step, State())
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - begun)
            worker.pulse.moved(step, "probing")
    except torch.OutOfMemoryError:
        outgrew = True
    found = Probed(peak(device, side), outgrew, tuple(round(one, 4) for one in seconds))
    worker.insist(lambda: worker.folder.note(probed=asdict(found)))
    return "done"


def probed(folder: RunFolder) -> Probed | None:
    """What a probe has left in its folder; None where it came to no end."""
    told: dict[str, Any] | None = folder.manifest().get("probed")
    if told is None:
        return None
    return Probed(Peak(**told["peak"]), told["outgrew"], tuple(told["seconds"]))
