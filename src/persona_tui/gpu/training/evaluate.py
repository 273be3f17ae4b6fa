"""Looks at a run every k steps: loss on held-out pictures, samples and their scores; says when it is enough.

It draws nothing that training draws and leaves every weight as it was: a run's result does not depend on
being looked at.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from persona_tui import boundaries
from persona_tui.gpu.training.cache import Sample
from persona_tui.gpu.training.checkpoints import State, steps_in, survivors
from persona_tui.gpu.training.choosing import Evaluation, alike, proposed, reason_to_stop, scores
from persona_tui.gpu.training.durable import append_line, lines_of, make_folder, write_durably, written
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.lora import put_back
from persona_tui.gpu.training.memory import peak
from persona_tui.gpu.training.objective import drawn
from persona_tui.gpu.training.scoring import SAMPLES, SamplePicture, Scores, place_of, scored_apart
from persona_tui.gpu.training.trainee import LEARNT_FROM, Trainee
from persona_tui.gpu.training.worker import Worker

SIGMAS = tuple((place + 0.5) / 8 for place in range(8))
"""Noise levels at which the loss on held-out pictures is taken (M12)."""
SHARE = 0.1
"""Of a run's time that looking at it may take (M13)."""
STRENGTHS = (0.6, 0.8)
"""At which the first prompt is drawn, too."""
_STEPS = 12
"""Of a sample picture."""
_TILE = 512
"""Pixels of a side of what an autoencoder decodes at once."""
SEEDS = (1, 2)
_PROMPTS, _CLASS_PROMPTS = 3, 1


@dataclass(frozen=True)
class Asked:
    """One sample picture to draw.

    Attributes:
        prompt: cache key.
    """

    sample: Sample
    kind: str
    prompt: str
    seed: int
    strength: float = 1.0

    def as_picture(self) -> SamplePicture:
        """What is kept of it beside its pixels."""
        file = f"{self.kind}-{self.sample.picture[:8]}-seed{self.seed}-at{self.strength:g}.png"
        return SamplePicture(file, self.kind, self.sample.picture, self.seed, self.strength)


class Evaluator:
    """What `loop.train` calls between two steps."""

    def __init__(
        self,
        worker: Worker,
        *,
        share: float = SHARE,
        seeds: Sequence[int] = SEEDS,
        score: Callable[[RunFolder, int], Scores] = scored_apart,
    ) -> None:
        """Args:
        seeds: each prompt is drawn with all of them, so that they can be held against each other.
        score: finds what a step's pictures are worth.
        """
        self._worker, self._folder = worker, worker.folder
        self._share, self._seeds, self._score = share, tuple(seeds), score
        self._decodes_on_card = True
        self._looked: int | None = None

    def __call__(self, trainee: Trainee, state: State) -> None:
        """Look, unless that took more than its share of the time; may order the run to end.

        The last step is looked at in any case: it would else never be proposed.
        """
        last = self._is_last(trainee, state.step)
        if last and self._looked == state.step:
            return
        if last and any(one.step == state.step for one in evaluations(self._folder)):
            # Before a kill; what follows from it may not have been noted.
            self._looked = state.step
            self._conclude(trainee, state)
            return
        if not last and not self.has_time():
            return
        begun = time.perf_counter()
        with averaged(trainee):
            losses = held_out_losses(trainee)
            is_drawn = self._draw(trainee, state.step)
        if not is_drawn:
            return
        said = self._score(self._folder, state.step)
        figures: dict[str, Any] = dict(said.figures)
        found = Evaluation(state.step, losses, **figures)
        facts: dict[str, Any] = {"scorer": said.scorer, "weak": said.weak, "outcomes": dict(said.outcomes)}
        facts |= {"by_strength": dict(said.by_strength), "validation_loss": found.mean_loss}
        facts |= {"threshold": said.threshold, "calibrated_on": said.calibrated_on, "passed": said.passed}
        facts["each"] = dict(said.each)
        facts["went_back_to"] = [one.back_to for one in state.interventions]
        facts["seconds"] = time.perf_counter() - begun
        line = json.dumps({**asdict(found), **facts})
        boundaries.reached("training:evaluation:before_write")
        self._worker.insist(lambda: append_line(self._folder.evaluation_file, line))
        if said.problem:
            self._worker.log("unscored", step=state.step, message=said.problem)
        self._worker.log(
            "evaluated",
            step=state.step,
            loss=found.mean_loss,
            likeness=found.likeness,
            scorer=said.scorer,
            gap=found.gap,
            passed=said.passed,
        )
        self._looked = state.step
        self._conclude(trainee, state)

    def _is_last(self, trainee: Trainee, step: int) -> bool:
        return step >= (self._folder.control().steps or trainee.run.steps)

    def has_time(self) -> bool:
        """Whether one more look, as long as the longest, stays within the share beside the one at the end.

        The first two are taken.
        """
        spent = [float(told.get("seconds", 0)) for told in lines_of(self._folder.evaluation_file)]
        if len(spent) < 2:
            return True
        planned = sum(spent) + 2 * max(spent)
        trained = sum(told.seconds for told in self._folder.losses())
        return planned <= self._share * (trained + planned)

    def _draw(self, trainee: Trainee, step: int) -> bool:
        """Draw and keep the samples of a step; False where the run is to rest, which can't wait for them."""
        asked = asked_of(trainee, self._seeds)
        latents = []
        for one in asked:
            if self._worker.control().want != "run":
                return False
            self._worker.pulse.moved(step, "evaluating")
            with at_strength(trainee.transformer, one.strength):
                latents.append(
                    drawn(trainee.objective, one.sample, one.prompt, steps=_STEPS, seed=one.seed, guided=True)
                )
        place = place_of(self._folder, step)
        self._worker.insist(lambda: make_folder(place, within=self._folder.path))
        for one, pixels in zip(asked, self._decoded(trainee, latents), strict=True):
            self._worker.insist(partial(_save, place / one.as_picture().file, pixels))
        told = json.dumps([asdict(one.as_picture()) for one in asked], indent=1).encode()
        self._worker.insist(lambda: write_durably(place / SAMPLES, told))
        return True

    def _decoded(self, trainee: Trainee, latents: Sequence[Tensor]) -> list[Tensor]:
        """Pictures of latents; off the card from then on where that took more of it than training may."""
        device = trainee.device if self._decodes_on_card else torch.device("cpu")
        # Before the first step less was taken than training will take, so that the plan is asked as well.
        most = max(_peak(device), self._folder.manifest().get("planned") or 0)
        encoders = trainee.adapter.load_encoders(
            trainee.run.base, dtype=torch.float32, device=device, text=False
        )
        try:
            _tile(encoders.pipeline.vae)
            found = [trainee.adapter.decode_picture(encoders, one) for one in latents]
        finally:
            encoders.close()
        if _peak(device) > most:
            self._decodes_on_card = False
            self._worker.log(
                "note", message="Decoding samples took more of the card than training; the CPU does it."
            )
        return found

    def _conclude(self, trainee: Trainee, state: State) -> None:
        """Say which checkpoint is best and, where it is, that the run has learnt enough."""
        run, folder = trainee.run, self._folder
        last = self._is_last(trainee, state.step)
        told = [one for one in evaluations(folder) if one.step <= state.step]
        steps = folder.control().steps or run.steps
        state.best = {
            step: score for step, score in scores(told, steps).items() if step % run.checkpoint_every == 0
        }
        pictures = {trainee.index.samples[place].picture for place in trainee.index.places(LEARNT_FROM)}
        reason = reason_to_stop(told, steps, len(pictures))
        # Once: an operator who then asks for more steps gets them.
        ends = (
            reason is not None and not last and not any(one["event"] == "enough" for one in folder.events())
        )
        there = set(steps_in(folder.checkpoints))
        if ends or last or state.step % run.checkpoint_every == 0:
            there.add(state.step)
        # Those that its checkpoint, which is written next, leaves.
        kept = survivors(there, state.best, run.keep)
        choice = proposed(told, steps, sorted(kept))
        if choice is not None:
            choice = replace(choice, alike=alike(folder.likeness_of_each(), choice.step, sorted(kept)))
            self._worker.insist(lambda: folder.note(proposed=asdict(choice)))
            self._worker.log("proposed", **asdict(choice))
        if ends:
            self._worker.log("enough", step=state.step, message=reason)
            self._worker.insist(lambda: folder.order(steps=state.step))


def evaluations(folder: RunFolder) -> list[Evaluation]:
    """A run's evaluations by one scorer in the order of their steps; of one made again the last counts."""
    names = Evaluation.__dataclass_fields__
    found = {}
    for told in folder.looks():
        if isinstance(told.get("loss"), dict):
            known = {name: value for name, value in told.items() if name in names}
            known["loss"] = {float(sigma): float(loss) for sigma, loss in told["loss"].items()}
            found[told["step"]] = Evaluation(**known)
    return [found[step] for step in sorted(found)]


def held_out_losses(trainee: Trainee) -> dict[float, float]:
    """Noise level → mean loss on the held-out pictures, with the same noise at every call; empty without."""
    places = trainee.index.places(("held_out",))
    return {
        sigma: sum(
            trainee.objective.held_out_loss(trainee.index.samples[place], sigma, number * len(places) + at)
            for at, place in enumerate(places)
        )
        / len(places)
        for number, sigma in enumerate(SIGMAS if places else ())
    }


def asked_of(trainee: Trainee, seeds: Sequence[int] = SEEDS) -> list[Asked]:
    """The sample pictures of every evaluation: captions that were encoded, in the smallest bucket.

    Those of held-out pictures where there are some, so that no prompt was learnt by heart.
    """
    samples = trainee.index.samples
    places = trainee.index.places(("held_out",)) or trainee.index.places(LEARNT_FROM)
    smallest: dict[str, Sample] = {}
    for sample in (samples[place] for place in places):
        known = smallest.setdefault(sample.picture, sample)
        if sample.bucket[0] * sample.bucket[1] < known.bucket[0] * known.bucket[1]:
            smallest[sample.picture] = sample
    chosen = list(smallest.values())[:_PROMPTS]
    asked = [Asked(one, "trigger", one.prompt, seed) for one in chosen for seed in seeds]
    asked += [
        Asked(one, "class", one.class_prompt or one.empty, seed)
        for one in chosen[:_CLASS_PROMPTS]
        for seed in seeds
    ]
    asked += [
        Asked(one, "trigger", one.prompt, seeds[0], strength) for one in chosen[:1] for strength in STRENGTHS
    ]
    return asked


@contextmanager
def averaged(trainee: Trainee) -> Iterator[None]:
    """The average of the weights in their place, where there is one: it is what will be exported."""
    if trainee.average is None:
        yield
        return
    raw = trainee.lora()
    put_back(trainee.weights, trainee.average.weights())
    try:
        yield
    finally:
        put_back(trainee.weights, raw)


@contextmanager
def at_strength(transformer: Any, strength: float) -> Iterator[None]:
    """What was learnt, at a share of its effect."""
    layers = [
        layer.scaling for layer in transformer.modules() if isinstance(getattr(layer, "scaling", None), dict)
    ]
    before = [dict(scaling) for scaling in layers]
    for scaling in layers:
        scaling.update({name: value * strength for name, value in scaling.items()})
    try:
        yield
    finally:
        for scaling, was in zip(layers, before, strict=True):
            scaling.update(was)


def _tile(vae: Any) -> None:
    """Have an autoencoder decode piece by piece; FLUX's own pieces are as large as the largest bucket."""
    if hasattr(vae, "enable_tiling"):
        vae.enable_tiling()
    side = getattr(vae, "tile_sample_min_size", 0)
    if side > _TILE:
        vae.tile_latent_min_size = vae.tile_latent_min_size * _TILE // side
        vae.tile_sample_min_size = _TILE


def _save(path: Path, pixels: Tensor) -> None:
    """Write (3, H, W) in [-1, 1] as PNG."""
    levels = ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    with written(path.parent):
        Image.fromarray(levels[:3].permute(1, 2, 0).numpy()).save(path, "PNG")


def _peak(device: torch.device) -> int:
    return peak(device).bytes if device.type == "cuda" else 0
