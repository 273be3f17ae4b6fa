"""A few optimizer steps of the largest bucket, for what they take of memory and time; nothing is kept."""

from __future__ import annotations

import time
from dataclasses import asdict

import torch

from persona_tui.gpu.training.cache import Cache, Index
from persona_tui.gpu.training.checkpoints import State
from persona_tui.gpu.training.folder import RunFolder, Status
from persona_tui.gpu.training.memory import Probed, peak
from persona_tui.gpu.training.run_file import RunFile
from persona_tui.gpu.training.trainee import LEARNT_FROM, Trainee
from persona_tui.gpu.training.worker import Worker


def probe(worker: Worker) -> Status:
    """Take as many steps as the recipe has, of the largest sample alone.

    Raises:
        InvalidRequest: recipe, cache or base model can't be used.
        rollback.Failure: the loss is no number.
    """
    run = worker.folder.run()
    index, cache = largest_alone(worker.folder, run)
    width, height = index.samples[0].bucket
    side = round((width * height) ** 0.5)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    seconds: list[float] = []
    outgrew = False
    try:
        trainee = Trainee(run, index, cache)
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


def largest_alone(folder: RunFolder, run: RunFile) -> tuple[Index, Cache]:
    """The index of a run's cache with its largest sample alone.

    Raises:
        InvalidRequest: nothing was encoded for this recipe.
    """
    cache = Cache(folder.cache)
    index = cache.index(run)
    samples = [index.samples[place] for place in index.places(LEARNT_FROM)]
    # Each source of an edit has as many tokens as its result.
    largest = max(samples, key=lambda one: one.bucket[0] * one.bucket[1] * (1 + len(one.control)))
    return index.model_copy(update={"samples": (largest,)}), cache
