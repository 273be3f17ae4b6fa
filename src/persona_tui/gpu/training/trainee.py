"""A transformer with a LoRA that learns: one optimizer step at a time, from and to a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.nn.utils import clip_grad_norm_

from persona_tui import boundaries
from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training import rollback
from persona_tui.gpu.training.adapters import adapter_of
from persona_tui.gpu.training.buckets import Plan, Size, plan_of
from persona_tui.gpu.training.cache import Cache, Index, Sample
from persona_tui.gpu.training.cards import Cards, joined
from persona_tui.gpu.training.checkpoints import Kept, State
from persona_tui.gpu.training.ema import Average
from persona_tui.gpu.training.lora import add_lora, copied, multiply_as_given, put_back, read_parent
from persona_tui.gpu.training.naming import baked, layers_of
from persona_tui.gpu.training.objective import Draw, Objective
from persona_tui.gpu.training.optimizers import optimizer_for, rate_at, set_rate
from persona_tui.gpu.training.randomness import key
from persona_tui.gpu.training.run_file import Phase, RunFile
from persona_tui.gpu.training.speed import options_explained, use_options
from persona_tui.gpu.training.swapping import block_names, let_wait, recompute

LEARNT_FROM = ("train", "anchor")


@dataclass(frozen=True)
class Taken:
    """One optimizer step.

    Attributes:
        loss: mean over its micro-batches, without the preservation's part.
        preservation: that part, weighted; None without.
        norm: of the gradient before it was clipped.
        bucket: of its last micro-batch.
        side: of the square whose area its largest pictures have, in pixels.
    """

    loss: float
    preservation: float | None
    norm: float
    rate: float
    bucket: Size
    side: int


class Trainee:
    """What learns. Its state is a function of recipe, samples, step and interventions."""

    def __init__(self, run: RunFile, index: Index, cache: Cache, cards: Cards | None = None) -> None:
        """Load the base model and put the LoRA into it.

        Raises:
            InvalidRequest: base model, parent or optimizer can't be used.
        """
        torch.set_num_threads(run.threads)
        self.run = run
        self.index = index
        self.adapter = adapter_of(run.family)
        self.cards = cards or joined()
        self.device = self.cards.device
        self.transformer = cast(
            Any,
            self.adapter.load_transformer(
                run.base,
                dtype=torch.bfloat16 if run.dtype == "bf16" else torch.float32,
                device=self.device,
                quantisation=run.quantisation,
                waiting=run.swap_blocks,
            ),
        )
        # Dropout would draw from the global generator; no family trains with it.
        self.transformer.eval()
        self.weights = add_lora(self.transformer, self.adapter, run, self.device)
        multiply_as_given(self.transformer)
        if run.parent is not None:
            prefix, layers = self.adapter.facts.lora_prefix, layers_of(self.weights)
            parent = read_parent(run.parent, run.parent_hash, prefix, layers)
            # A file's weights are those of alpha = rank; here they are multiplied by alpha / rank once more.
            put_back(self.weights, baked(parent, run.rank / run.alpha))
        if run.swap_blocks:
            let_wait(self.transformer, block_names(self.transformer)[: run.swap_blocks], self.device)
        elif run.checkpointing and run.quantisation == "int8":
            recompute(self.transformer)
        elif run.checkpointing:
            self.transformer.enable_gradient_checkpointing()
        use_options(self.transformer, run)
        self.optimizer, self.optimizer_name = optimizer_for(run, self.weights.values())
        self.average = Average(self.weights, run.ema) if run.ema else None
        self.objective = Objective(run, self.adapter, self.transformer, cache)
        self._plans = self._phases()

    def _phases(self) -> list[tuple[int, Plan]]:
        """First step and batches of each phase of the curriculum.

        Raises:
            InvalidRequest: a phase has no picture.
        """
        shapes = [sample.shape for sample in self.index.samples]
        found = []
        for phase in self.run.phases or (Phase(name="all", first_step=1),):
            places = self.index.places(LEARNT_FROM, phase.angles)
            if not places:
                raise InvalidRequest(
                    f"The phase {phase.name} has no picture: none is of {', '.join(phase.angles)}.",
                    hint="Correct the angles in the recipe or in the dataset, and plan again.",
                )
            plan = plan_of(shapes, places, self.run.batch, self.run.seed, phase.name)
            found.append((phase.first_step, plan))
        return found

    def batches(self, step: int) -> list[list[Sample]]:
        """The micro-batches of an optimizer step."""
        first, plan = next((first, plan) for first, plan in reversed(self._plans) if first <= step)
        number = (step - first) * self.run.accumulation
        return [
            [self.index.samples[place] for place in plan.micro_batch(number + at)]
            for at in range(self.run.accumulation)
        ]

    def take(self, step: int, state: State) -> Taken | None:
        """Take one optimizer step; None when it is one to be left out.

        Raises:
            rollback.Failure: its loss or gradient can't be used; the weights have not changed.
        """
        if rollback.is_skipped(step, state.interventions):
            return None
        attempt = rollback.attempt_of(step, state.interventions)
        torch.manual_seed(key(self.run.seed, step, "global", attempt))
        rate = rate_at(self.run, step) * rollback.rate_factor(step, state.interventions)
        set_rate(self.optimizer, rate)
        batches = self.batches(step)
        with options_explained(self.run):
            sums = self._gradients(batches, step, attempt)
        self.cards.add_up(self.weights.values())
        boundaries.reached("training:step:before_update")
        norm = float(clip_grad_norm_(self.weights.values(), self.run.max_grad_norm))
        loss = sums["loss"]
        try:
            rollback.check(loss, norm, state.recent, _files(batches))
        except rollback.Failure:
            self.optimizer.zero_grad()
            raise
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(self.weights, step)
        boundaries.reached("training:step:after_update")
        sizes = [batch[0].bucket for batch in batches]
        side = round(max(width * height for width, height in sizes) ** 0.5)
        return Taken(loss, sums.get("preservation"), norm, rate, sizes[-1], side)

    def _gradients(self, batches: Sequence[Sequence[Sample]], step: int, attempt: int) -> dict[str, float]:
        """Add up the gradients of all micro-batches; gives the mean of each part of the loss."""
        sums: dict[str, torch.Tensor] = {}
        for micro, samples in self.cards.share(batches):
            for part in self.objective.parts(samples, Draw(step, micro, attempt)):
                share = part.value / len(batches)
                torch.autograd.backward(share)
                sums[part.name] = sums.get(part.name, 0) + share.detach()
        # One wait for the card at the end, not one per micro-batch.
        return self.cards.sums(
            {name: float(value) for name, value in sums.items()}, self.objective.parts_named
        )

    def restore(self, kept: Kept) -> None:
        """Be as it was at a checkpoint."""
        put_back(self.weights, kept.lora)
        self.optimizer.load_state_dict(kept.optimizer)
        self.optimizer.zero_grad()
        if self.average is not None and kept.average is not None:
            self.average.put_back(kept.average)

    def lora(self) -> dict[str, torch.Tensor]:
        """A copy of the weights."""
        return copied(self.weights)


def _files(batches: Sequence[Sequence[Sample]]) -> list[str]:
    return sorted({sample.file for samples in batches for sample in samples})
