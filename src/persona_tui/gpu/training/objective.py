"""What is learnt at a step: the velocity from a noisy picture to the noise (flow matching)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from persona_tui.gpu.training.adapters.base import Adapter
from persona_tui.gpu.training.cache import Cache, Sample
from persona_tui.gpu.training.lora import without_lora
from persona_tui.gpu.training.masks import weighted_mean
from persona_tui.gpu.training.randomness import generator
from persona_tui.gpu.training.run_file import RunFile


@dataclass(frozen=True)
class Draw:
    """Names a micro-batch's draws.

    Attributes:
        micro: the micro-batch's number within its step, over all cards.
        attempt: rollbacks that cover the step.
    """

    step: int
    micro: int = 0
    attempt: int = 0


@dataclass(frozen=True)
class Part:
    """One term of a micro-batch's loss, to be propagated before the next is computed.

    Attributes:
        name: "loss" or "preservation".
        value: weighted already.
    """

    name: str
    value: Tensor


class Objective:
    """The loss of a transformer over encoded samples."""

    def __init__(self, run: RunFile, adapter: Adapter, transformer: Any, cache: Cache) -> None:
        self._run = run
        self._adapter = adapter
        self._transformer = transformer
        self._cache = cache
        self.device = next(transformer.parameters()).device
        self._dtype = torch.bfloat16 if run.dtype == "bf16" else torch.float32

    @property
    def parts_named(self) -> tuple[str, ...]:
        """Names of the loss's terms."""
        return ("loss", "preservation") if self._run.preservation else ("loss",)

    def parts(self, samples: Sequence[Sample], draw: Draw) -> Iterator[Part]:
        """The terms of the loss of one micro-batch."""
        run = self._run
        clean = self.latents([sample.latents for sample in samples])
        noise = torch.randn(clean.shape, generator=self._generator(draw, "noise")).to(self.device)
        normal = torch.randn(len(samples), generator=self._generator(draw, "sigma"))
        # Logit-normal as in Stable Diffusion 3 (arXiv 2403.03206), then as the family's sampler moves them.
        sigmas = self.shifted(torch.sigmoid(normal), clean.shape).to(self.device)
        dropped = torch.rand(len(samples), generator=self._generator(draw, "dropout")) < run.caption_dropout
        prompts = [
            sample.empty if gone else sample.prompt
            for sample, gone in zip(samples, dropped.tolist(), strict=True)
        ]
        noisy = mixed(clean, noise, sigmas)
        velocity = self.velocity(noisy, sigmas, prompts, samples)
        masks = [None if sample.mask is None else self._cache.load(sample.mask)["mask"] for sample in samples]
        yield Part("loss", weighted_mean((velocity - (noise - clean)) ** 2, masks))
        if run.preservation:
            yield Part("preservation", run.preservation * self._leakage(noisy, sigmas, samples))

    def velocity(
        self,
        noisy: Tensor,
        sigmas: Tensor,
        prompts: Sequence[str],
        samples: Sequence[Sample],
        guidance: float | None = None,
    ) -> Tensor:
        """What the transformer says of noisy latents, in fp32.

        Args:
            prompts: cache keys of the captions, one for each sample.
            samples: whose control pictures it sees.
            guidance: input of distilled models; None: training's.
        """
        cast = noisy.to(self._dtype)
        given = self._adapter.inputs(
            cast,
            sigmas,
            [self._cache.load(key) for key in prompts],
            [[self._cache.load(key)["latents"].to(cast) for key in sample.control] for sample in samples],
            self._run.guidance if guidance is None else guidance,
        )
        return self._adapter.velocity(self._transformer(**given), cast).float()

    def guided_velocity(self, noisy: Tensor, sigmas: Tensor, prompt: str, sample: Sample) -> Tensor:
        """What pictures are drawn by: the velocity under the guidance that the model's makers advise.

        Without it FLUX.1 draws blurred pictures and Qwen-Image poor ones, in which nobody is recognised.
        """
        scale = self._adapter.sampling_guidance(self._run.base)
        if self._adapter.facts.guidance is not None:
            return self.velocity(noisy, sigmas, [prompt], [sample], scale)
        worded = self.velocity(noisy, sigmas, [prompt], [sample])
        if scale <= 1:
            return worded
        return self._adapter.guided(worded, self.velocity(noisy, sigmas, [sample.empty], [sample]), scale)

    def held_out_loss(self, sample: Sample, sigma: float, number: int) -> float:
        """The loss of one sample at one noise level, with noise that is the same at every call.

        Args:
            sigma: in (0, 1]; not shifted.
            number: of the draw, so that each sample has noise of its own.
        """
        clean = self.latents([sample.latents])
        noise = torch.randn(clean.shape, generator=generator(self._run.seed, number, "evaluation"))
        noise = noise.to(self.device)
        sigmas = torch.tensor([sigma], device=self.device)
        with torch.no_grad():
            velocity = self.velocity(mixed(clean, noise, sigmas), sigmas, [sample.prompt], [sample])
        return float(((velocity - (noise - clean)) ** 2).mean())

    def _leakage(self, noisy: Tensor, sigmas: Tensor, samples: Sequence[Sample]) -> Tensor:
        """How far what was learnt moves somebody of the class, who should stay as the base model shows them.

        ai-toolkit's differential output preservation: it costs two more forwards, one without gradients.
        """
        prompts = [sample.class_prompt or sample.empty for sample in samples]
        with torch.no_grad(), without_lora(self._transformer):
            before = self.velocity(noisy, sigmas, prompts, samples)
        return ((self.velocity(noisy, sigmas, prompts, samples) - before) ** 2).mean()

    def size_of(self, sample: Sample) -> torch.Size:
        """Channels, height and width of a sample's latents."""
        return self._cache.load(sample.latents)["latents"].shape

    def shifted(self, sigmas: Tensor, size: torch.Size) -> Tensor:
        """Noise levels as the family's sampler moves them for latents of that size."""
        height, width = size[-2:]
        return self._adapter.shift(sigmas, (height, width))

    def schedule(self, steps: int, size: torch.Size) -> list[float]:
        """Noise levels by which a picture of latents of that size is drawn."""
        height, width = size[-2:]
        return self._adapter.schedule(steps, (height, width))

    def latents(self, keys: Sequence[str]) -> Tensor:
        """A batch of cached latents on the device."""
        return torch.stack([self._cache.load(key)["latents"] for key in keys]).to(self.device)

    def _generator(self, draw: Draw, purpose: str) -> torch.Generator:
        # On the CPU, so that every card draws the same.
        return generator(self._run.seed, draw.step, f"{purpose}:{draw.micro}", draw.attempt)


def mixed(clean: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """Latents with their share of noise: x_t = (1 - sigma) x0 + sigma noise."""
    levels = sigmas.view(-1, *[1] * (clean.dim() - 1))
    return (1 - levels) * clean + levels * noise


def drawn(
    objective: Objective, sample: Sample, prompt: str, *, steps: int, seed: int, guided: bool = False
) -> Tensor:
    """Latents of a picture, by Euler steps over the noise levels of the family's pipeline.

    Args:
        sample: whose size, and whose control pictures, it has.
        prompt: cache key of the caption.
        guided: as the pipeline draws it; else by what was learnt alone, which costs one forward a step.
    """
    size = objective.size_of(sample)
    latents = torch.randn(size, generator=generator(seed, 0, "drawn")).unsqueeze(0).to(objective.device)
    with torch.no_grad():
        for level, following in pairwise(objective.schedule(steps, size)):
            sigmas = torch.tensor([level], device=objective.device)
            if guided:
                velocity = objective.guided_velocity(latents, sigmas, prompt, sample)
            else:
                velocity = objective.velocity(latents, sigmas, [prompt], [sample])
            latents = latents + (following - level) * velocity
    return latents[0].cpu()
