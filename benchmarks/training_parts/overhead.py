"""What the trainer costs beside a bare loop over the same cached tensors, in alternating blocks of 20 steps.

Ours has the average, the log, the heartbeat, draws from hashes, checks of each loss, and its usual
checkpoint. The bare one only draws, computes and steps. It runs where ours would evaluate.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tests.support.tiny_pipelines import tiny_pipeline
from tests.support.training import pictures, small_recipe, small_run, write_dataset
from torch.nn.utils import clip_grad_norm_

from persona_tui.gpu.training.cache import Cache
from persona_tui.gpu.training.checkpoints import State
from persona_tui.gpu.training.encode import encode
from persona_tui.gpu.training.loop import Training
from persona_tui.gpu.training.objective import mixed
from persona_tui.gpu.training.optimizers import optimizer_for
from persona_tui.gpu.training.trainee import Trainee
from persona_tui.gpu.training.worker import Worker, run_stage
from report import Figure

BLOCK = 20
SIDE = 128
"""Pixels: enough tokens for a step of 200 ms on one core."""


class Bare:
    """A loop as diffusers' examples have it."""

    def __init__(self, trainee: Trainee, steps: int) -> None:
        """Args:
        trainee: whose model, weights and cached tensors it takes.
        steps: of a block.
        """
        self._trainee, self._steps = trainee, steps
        self._optimizer, _ = optimizer_for(trainee.run, trainee.weights.values())
        self._samples = [trainee.index.samples[place] for place in trainee.index.places(("train",))]
        self._taken = 0

    def block(self) -> float:
        """Take a block's steps; seconds."""
        begun = time.perf_counter()
        for _ in range(self._steps):
            self._step()
        _wait(self._trainee)
        return time.perf_counter() - begun

    def _step(self) -> None:
        trainee = self._trainee
        sample = self._samples[self._taken % len(self._samples)]
        self._taken += 1
        clean = trainee.objective.latents([sample.latents])
        noise = torch.randn_like(clean)
        sigmas = trainee.objective.shifted(torch.sigmoid(torch.randn(1)), clean.shape).to(clean.device)
        noisy = mixed(clean, noise, sigmas)
        velocity = trainee.objective.velocity(noisy, sigmas, [sample.prompt], [sample])
        loss = torch.nn.functional.mse_loss(velocity, noise - clean)
        loss.backward()
        clip_grad_norm_(trainee.weights.values(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        float(loss.detach())


def figures(quick: bool) -> Iterable[Figure]:
    """Our speed as a share of the bare loop's, and how long a step takes."""
    blocks = 4 if quick else 13
    with tempfile.TemporaryDirectory() as place:
        ratios, seconds = _measured(Path(place), blocks)
    yield Figure("steps per second beside a bare loop", median(ratios), "of it", ">=", 0.97)
    yield Figure("seconds of a step", seconds, "s", ">=", 0.2)


def _measured(place: Path, blocks: int) -> tuple[list[float], float]:
    """Bare seconds over ours for each block, and the median seconds of our steps."""
    dataset_hash = write_dataset(place / "set", [one.resize((SIDE, SIDE)) for one in pictures(6)])
    recipe = small_recipe(
        tiny_pipeline("flux1", place), place / "set", dataset_hash, buckets=[SIDE], steps=blocks * BLOCK,
        evaluate_every=BLOCK, checkpoint_every=250, ema=0.99, caption_dropout=0.05, rank=16, alpha=16,
    )  # fmt: skip
    folder = small_run(place / "run", recipe)
    if run_stage(folder, "encoding", encode) != 0:
        raise SystemExit(folder.manifest()["message"])
    with Worker(folder) as worker:
        ratios = alternated(worker, BLOCK)
    return ratios, median(told.seconds for told in folder.losses())


def alternated(worker: Worker, steps: int) -> list[float]:
    """Train an encoded run that is evaluated every `steps` steps, with as many bare ones in each one's place.

    Returns:
        Bare seconds over ours for each block but the first, which has our loading of the first checkpoint and
        whatever warms up.
    """
    folder = worker.folder
    run, cache = folder.run(), Cache(folder.cache)
    ours, theirs = (Trainee(run, cache.index(run), cache) for _ in range(2))
    bare = Bare(theirs, steps)
    bare.block()
    ratios: list[float] = []
    ended = [time.perf_counter()]

    def look(trainee: Trainee, _state: State) -> Any:
        _wait(trainee)
        took = time.perf_counter() - ended[0]
        ratios.append(bare.block() / took)
        ended[0] = time.perf_counter()

    Training(worker, ours, look).to_the_end()
    return ratios[1:]


def _wait(trainee: Trainee) -> None:
    """Let a card finish what it was given."""
    if trainee.device.type == "cuda":
        torch.cuda.synchronize(trainee.device)
