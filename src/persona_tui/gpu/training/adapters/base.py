"""What an adapter is, and what all families have in common: loading, scaling, shifting, drawing."""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from PIL import Image
from torch import Tensor, nn

from persona_tui.gpu.torchvision_shim import ensure_torchvision
from persona_tui.gpu.training.adapters.folders import check_base, reading
from persona_tui.gpu.training.adapters.quantised import (
    Quantisation,
    check_quantisation,
    fill,
    hollow,
    stored_weights,
)
from persona_tui.gpu.training.families import Family
from persona_tui.gpu.training.swapping import block_names

ensure_torchvision()

Prompt: TypeAlias = dict[str, Tensor]
Targets: TypeAlias = Literal["attention", "mlp", "all"]
"""attention: its projections; mlp: those and the feed-forward layers; all: every linear layer of a block."""


@dataclass
class Encoders:
    """Text encoders, tokenizers and autoencoder of a base model, held by a pipeline without transformer."""

    pipeline: Any
    device: torch.device

    def close(self) -> None:
        """Let go of all of them, so that their memory is free again."""
        for name in list(self.pipeline.components):
            setattr(self.pipeline, name, None)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


class Adapter(ABC):
    """What training needs to know of a family.

    Noise enters as x_t = (1 - sigma) * x0 + sigma * noise; the transformer learns the velocity noise - x0.

    Attributes:
        transformer_class: name in diffusers.
        scheduler: the published scheduler's settings. A folder's own may be a sampler's choice (a turbo
            LoRA's), which is none of training's business.
        expects: what the transformer's config has to say (absent is False), to tell models of a kind apart.
        unlike: what it says where the folder holds this model's sibling.
        text_parts: components that only captions need.
        sampling: guidance that the model's makers advise for drawing.
        attention, mlp: endings of the names of the blocks' linear layers.
    """

    transformer_class: ClassVar[str]
    scheduler: ClassVar[Mapping[str, Any]]
    expects: ClassVar[Mapping[str, bool]] = {}
    unlike: ClassVar[Mapping[str, int]] = {}
    text_parts: ClassVar[tuple[str, ...]]
    sampling: ClassVar[float]
    blocks: ClassVar[tuple[str, ...]] = ("transformer_blocks.", "single_transformer_blocks.")
    attention: ClassVar[tuple[str, ...]]
    mlp: ClassVar[tuple[str, ...]]

    def __init__(self, facts: Family) -> None:
        self.facts = facts
        self.family = facts.name

    @staticmethod
    def weights(part: Path) -> Iterable[tuple[str, Tensor]]:
        """Name and value of each weight of a transformer's folder; a benchmark of full size makes them up."""
        return stored_weights(part)

    def targets(self, transformer: nn.Module, which: Targets) -> list[str]:
        """Full names of the linear layers that get a LoRA."""
        endings = {"attention": self.attention, "mlp": self.attention + self.mlp, "all": ("",)}[which]
        return [
            name
            for name, module in transformer.named_modules()
            if isinstance(module, nn.Linear) and name.startswith(self.blocks) and name.endswith(endings)
        ]

    def load_transformer(
        self,
        folder: Path,
        *,
        dtype: torch.dtype,
        device: torch.device | str,
        quantisation: Quantisation = "none",
        waiting: int = 0,
    ) -> nn.Module:
        """The frozen transformer of a base model's folder.

        Args:
            quantisation: none, int8 or nf4: what the blocks' weights are held in; the rest is `dtype`.
            waiting: how many of the first blocks have their weights in the host's memory.

        Raises:
            InvalidRequest: the folder holds no such model, its weights can't be read, or bitsandbytes, which
                quantises, is missing.
        """
        check_quantisation(quantisation)
        self._check(folder)
        with reading(folder, "transformer"):
            made = hollow(_diffusers(self.transformer_class), folder / "transformer")
            return fill(
                made,
                self.weights(folder / "transformer"),
                quantisation=quantisation,
                blocks=self.blocks,
                dtype=dtype,
                device=device,
                waiting=tuple(f"{name}." for name in block_names(made)[:waiting]),
            )

    def load_encoders(
        self, folder: Path, *, dtype: torch.dtype, device: torch.device | str, text: bool = True
    ) -> Encoders:
        """Text encoders in `dtype` and the autoencoder in fp32; the latter alone where `text` is False.

        Raises:
            InvalidRequest: the folder holds no such model, or its weights can't be read.
        """
        self._check(folder)
        left_out = dict.fromkeys(("transformer", *(() if text else self.text_parts)))
        with reading(folder, "text encoders and autoencoder"):
            pipeline = _diffusers(self.facts.pipeline).from_pretrained(
                folder, dtype=dtype, local_files_only=True, **left_out
            )
        pipeline.to(device)
        pipeline.vae.to(torch.float32)
        return Encoders(pipeline, torch.device(device))

    def encode_prompt(self, encoders: Encoders, caption: str, pictures: Sequence[Tensor] = ()) -> Prompt:
        """What `inputs` needs of a caption, on the CPU.

        Args:
            pictures: sources of an edit, (3, H, W) in [-1, 1]; read by families whose text encoder sees them.
        """
        with torch.no_grad():
            return {name: part.cpu() for name, part in self._prompt(encoders, caption, pictures).items()}

    def encode_picture(self, encoders: Encoders, pixels: Tensor) -> Tensor:
        """(3, H, W) in [-1, 1] → scaled latents (C, h, w), fp32 on the CPU; the posterior's mean."""
        with torch.no_grad():
            # Laid out in memory as pipelines have it: convolutions differ in the last digit otherwise.
            batch = torch.stack([pixels.to(encoders.device, torch.float32)])
            batch = batch.contiguous(memory_format=torch.channels_last)
            return self._encoded(encoders.pipeline.vae, batch)[0].cpu()

    def decode_picture(self, encoders: Encoders, latents: Tensor) -> Tensor:
        """Scaled latents (C, h, w) → (3, H, W) in [-1, 1], fp32 on the CPU."""
        with torch.no_grad():
            batch = latents.to(encoders.device, torch.float32).unsqueeze(0)
            return self._decoded(encoders.pipeline.vae, batch)[0].clamp(-1, 1).cpu()

    def shift(self, sigmas: Tensor, latent_size: tuple[int, int]) -> Tensor:
        """Noise levels as the family's scheduler moves them for latents of that height and width.

        A schedule that ends above zero is stretched as the scheduler stretches its longest one, of 1000
        steps: where sampling never goes, nothing needs to be learnt.
        """
        scheduler = _diffusers("FlowMatchEulerDiscreteScheduler")(**self.scheduler)
        mu = self._mu(latent_size)
        moved: Tensor = scheduler.time_shift(mu, 1.0, sigmas)
        end = scheduler.config.shift_terminal
        if not end:
            return moved
        last = scheduler.time_shift(mu, 1.0, torch.tensor(1 / scheduler.config.num_train_timesteps))
        stretched: Tensor = 1 - (1 - moved) / ((1 - last) / (1 - end))
        return stretched

    def schedule(self, steps: int, latent_size: tuple[int, int]) -> list[float]:
        """Noise levels of a picture of that height and width in latents, as the pipeline has them; last 0."""
        scheduler = _diffusers("FlowMatchEulerDiscreteScheduler")(**self.scheduler)
        even = torch.linspace(1, 1 / steps, steps, dtype=torch.float64).tolist()
        scheduler.set_timesteps(sigmas=even, mu=self._mu(latent_size, steps))
        levels: list[float] = scheduler.sigmas.tolist()
        return levels

    def sampling_guidance(self, folder: Path) -> float:
        """The guidance that pictures are drawn with by the model of that folder; 1 is none."""
        return self.sampling

    def guided(self, worded: Tensor, wordless: Tensor, scale: float) -> Tensor:
        """The velocity that is gone by, of what the caption and the empty one say (arXiv 2207.12598)."""
        return wordless + scale * (worded - wordless)

    def pipeline(self, folder: Path, transformer: nn.Module | None = None) -> Any:
        """Diffusers' pipeline of that folder, in fp32 or around a transformer that is loaded already."""
        self._check(folder)
        given: dict[str, Any] = {}
        if transformer is not None:
            given = {"transformer": transformer, "dtype": next(transformer.parameters()).dtype}
        with reading(folder, "pipeline"):
            found = _diffusers(self.facts.pipeline).from_pretrained(folder, local_files_only=True, **given)
        found.set_progress_bar_config(disable=True)
        return found

    def draw(
        self,
        pipeline: Any,
        caption: str,
        *,
        size: tuple[int, int],
        steps: int,
        seed: int,
        guidance: float | None = None,
        pictures: Sequence[Tensor] = (),
    ) -> Tensor:
        """A picture by diffusers' own pipeline: (3, H, W) in [0, 1].

        Args:
            size: height and width in pixels.
            guidance: as that pipeline takes it; None for what its makers advise.
            pictures: sources of an edit, (3, H, W) in [-1, 1].
        """
        given = self.call(pipeline, caption, size, guidance, pictures)
        generator = torch.Generator("cpu").manual_seed(seed)
        drawn: Tensor = pipeline(
            **given, num_inference_steps=steps, generator=generator, output_type="pt"
        ).images[0]
        # A picture may have an alpha channel.
        return drawn[:3].cpu()

    @abstractmethod
    def inputs(
        self,
        noisy: Tensor,
        sigmas: Tensor,
        prompt: Sequence[Prompt],
        control: Sequence[Sequence[Tensor]],
        guidance: float | None,
    ) -> dict[str, object]:
        """Keyword arguments of the transformer, equal to those that diffusers' pipeline passes.

        Args:
            noisy: (B, C, h, w) in the transformer's dtype and on its device.
            sigmas: (B,) noise levels in (0, 1], fp32.
            prompt: what `encode_prompt` gave, one for each sample.
            control: latents of each sample's source pictures in their order, of equal sizes within a batch.
            guidance: input of distilled models; others ignore it.
        """

    @abstractmethod
    def velocity(self, output: object, noisy: Tensor) -> Tensor:
        """What the transformer returned → (B, C, h, w)."""

    @abstractmethod
    def call(
        self,
        pipeline: Any,
        caption: str,
        size: tuple[int, int],
        guidance: float | None,
        pictures: Sequence[Tensor],
    ) -> dict[str, Any]:
        """Arguments of the pipeline's call for one picture of that height and width in pixels."""

    def _check(self, folder: Path) -> None:
        check_base(folder, self.facts, expects=self.expects, unlike=self.unlike)

    def _resolution_shift(self, tokens: int) -> float:
        """How far FLUX.1's and Qwen-Image's pipelines have the scheduler move, by a picture's tokens."""
        from diffusers.pipelines.flux.pipeline_flux import calculate_shift

        facts = self.scheduler
        names = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
        return float(calculate_shift(tokens, *(facts[name] for name in names)))

    @abstractmethod
    def _mu(self, latent_size: tuple[int, int], steps: int | None = None) -> float:
        """How far the pipeline has its scheduler move the noise levels; `steps` None: as in training."""

    @abstractmethod
    def _prompt(self, encoders: Encoders, caption: str, pictures: Sequence[Tensor]) -> Prompt:
        """`encode_prompt` of the family, on the encoders' device."""

    @abstractmethod
    def _encoded(self, vae: Any, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) → scaled latents."""

    @abstractmethod
    def _decoded(self, vae: Any, latents: Tensor) -> Tensor:
        """Scaled latents → (B, 3, H, W)."""


def timestep(sigmas: Tensor, like: Tensor) -> Tensor:
    """The noise levels as pipelines pass them on: by way of thousandths, which loses digits in bf16."""
    return (sigmas * 1000).to(like.device, like.dtype) / 1000


def stacked(prompts: Sequence[Prompt], name: str, like: Tensor) -> Tensor:
    """One part of all prompts as a batch, where and as the latents are."""
    return torch.stack([prompt[name] for prompt in prompts]).to(like.device, like.dtype)


def as_pictures(pictures: Sequence[Tensor]) -> list[Image.Image]:
    """(3, H, W) in [-1, 1] → 8-bit pictures, which are what pipelines take."""
    scaled = [((picture + 1) * 127.5).round().clamp(0, 255).to("cpu", torch.uint8) for picture in pictures]
    return [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in scaled]


def result_of(output: object) -> Tensor:
    """The tensor in what a transformer returned."""
    found: Any = output[0] if isinstance(output, tuple) else getattr(output, "sample", output)
    return found  # type: ignore[no-any-return]


def _diffusers(name: str) -> Any:
    import diffusers

    return getattr(diffusers, name)
