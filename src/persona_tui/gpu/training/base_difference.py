"""How a LoRA that was trained on a quantised base acts on that base in 16 bits, which is used (M8)."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from persona_tui.errors import NotAllowedNow
from persona_tui.gpu.host_memory import host_memory
from persona_tui.gpu.training.adapters.base import Adapter
from persona_tui.gpu.training.adapters.quantised import hollow
from persona_tui.gpu.training.cache import Cache, Index, Sample
from persona_tui.gpu.training.evaluate import SIGMAS
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.lora import add_lora, put_back, without_lora
from persona_tui.gpu.training.memory import noted_peak
from persona_tui.gpu.training.objective import Objective, mixed
from persona_tui.gpu.training.planner import CONTEXT, GIB
from persona_tui.gpu.training.randomness import generator
from persona_tui.gpu.training.run_file import RunFile
from persona_tui.gpu.training.swapping import block_names, let_wait

_PICTURES = 3
_FREE = 0.9
"""Of free memory that is taken at most."""


@dataclass(frozen=True)
class Response:
    """What a transformer says of one noisy picture, as fp32 on the CPU.

    Attributes:
        plain, learnt: velocities (C, h, w) without and with the LoRA.
        true: the velocity that is to be learnt.
        role: of the picture: `held_out`, or `train` where none is held out.
    """

    role: str
    sigma: float
    plain: Tensor
    learnt: Tensor
    true: Tensor

    @property
    def effect(self) -> Tensor:
        """What the LoRA adds."""
        return self.learnt - self.plain

    @property
    def loss(self) -> float:
        """Of the velocity with the LoRA."""
        return float(((self.learnt - self.true) ** 2).mean())


@dataclass(frozen=True)
class BaseDifference:
    """A LoRA's effect on the base that it was trained on, and on the same base in 16 bits.

    Attributes:
        quantisation: that it was trained on.
        difference: norm of the difference of both effects over the norm of the one it was trained on; 0: the
            LoRA does the same, 1: nothing of what it was trained to do is left.
        by_sigma: the same at each noise level.
        strength: of the effect in 16 bits, along the one that was trained; 1: as strong.
        loss, loss_trained_on: with the LoRA, on the same noisy pictures: in 16 bits, and as it was trained.
        pictures: how many they were.
        role: of these pictures, as `Response` has it.
    """

    quantisation: str
    difference: float
    by_sigma: Mapping[str, float]
    strength: float
    loss: float
    loss_trained_on: float
    pictures: int
    role: str


class NoRoom(NotAllowedNow):
    """The base in 16 bits does not fit, not even with its blocks on the host."""


def asked_of(index: Index) -> list[Sample]:
    """Which pictures both bases are asked about: held-out ones where there are some, each at its smallest."""
    for role in ("held_out", "train"):
        found: dict[str, Sample] = {}
        for sample in (index.samples[place] for place in index.places((role,))):
            known = found.setdefault(sample.picture, sample)
            if _area(sample) < _area(known):
                found[sample.picture] = sample
        if found:
            return list(found.values())[:_PICTURES]
    return []


def responses(
    objective: Objective, transformer: Any, samples: Sequence[Sample], seed: int
) -> Iterator[Response]:
    """What a transformer with a LoRA says with and without it; noise follows from the seed alone."""
    for number, sample in enumerate(samples):
        clean = objective.latents([sample.latents])
        for place, sigma in enumerate(SIGMAS):
            draw = generator(seed, number * len(SIGMAS) + place, "base difference")
            noise = torch.randn(clean.shape, generator=draw).to(objective.device)
            sigmas = torch.tensor([sigma], device=objective.device)
            asked = (mixed(clean, noise, sigmas), sigmas, [sample.prompt], [sample])
            with torch.no_grad():
                learnt = objective.velocity(*asked)
                with without_lora(transformer):
                    plain = objective.velocity(*asked)
            yield Response(
                sample.role, sigma, *(one[0].float().cpu() for one in (plain, learnt, noise - clean))
            )


def waiting_blocks(folder: RunFolder, run: RunFile, adapter: Adapter, working: int) -> int:
    """How many blocks of the base in bf16 have to wait, so that it takes no more of the card than before.

    Args:
        working: bytes of the card that a forward takes besides weights.

    Raises:
        NoRoom: there is not enough memory, not even with all of them on the host.
    """
    sizes, rest = _block_sizes(adapter, run)
    on_host = int(host_memory().available * _FREE)
    if not torch.cuda.is_available():
        return _fitting(0, sum(sizes) + rest, on_host)
    free = int(torch.cuda.mem_get_info()[0] * _FREE)
    known = noted_peak(folder, "train")
    budget = free if known is None or known.on_cpu else min(free, known.bytes - CONTEXT)
    waiting = blocks_to_wait(sizes, rest + working, budget)
    if waiting is None:
        raise NoRoom(
            f"Even one block at a time takes {_gib(rest + working + max(sizes))}, and the training had "
            f"{_gib(budget)} of the card.",
            hint="",
        )
    return _fitting(waiting, sum(sizes[:waiting]), on_host)


def on_plain_base(
    folder: RunFolder, run: RunFile, adapter: Adapter, weights: Mapping[str, Tensor], waiting: int
) -> list[Response]:
    """What the base in bf16 says with and without the LoRA.

    Args:
        weights: of the LoRA, with its scale in them.
        waiting: how many of the first blocks wait on the host.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    transformer: Any = adapter.load_transformer(
        run.base, dtype=torch.bfloat16, device=device, waiting=waiting
    ).eval()
    plain = run.model_copy(update={"dtype": "bf16", "quantisation": "none", "alpha": float(run.rank)})
    ours = add_lora(transformer, adapter, plain, device)
    put_back(ours, weights)
    for weight in ours.values():
        weight.data = weight.data.to(torch.bfloat16)
    if waiting:
        let_wait(transformer, block_names(transformer)[:waiting], device)
    cache = Cache(folder.cache)
    objective = Objective(plain, adapter, transformer, cache)
    return list(responses(objective, transformer, asked_of(cache.index(run)), run.seed))


def compared(trained: Sequence[Response], plain: Sequence[Response], run: RunFile) -> BaseDifference:
    """How far the effects on both bases differ.

    Raises:
        NotAllowedNow: there is no effect, or it is no number.
    """
    was, now = _effects(trained), _effects(plain)
    if not (float(was.norm()) > 0 and bool(torch.isfinite(now).all())):
        raise NotAllowedNow("The LoRA has no effect that could be measured.", hint="")
    levels: dict[str, float] = {}
    for sigma in SIGMAS:
        before, after = (_effects([one for one in side if one.sigma == sigma]) for side in (trained, plain))
        if float(before.norm()) > 0:
            levels[f"{sigma:g}"] = float((after - before).norm() / before.norm())
    return BaseDifference(
        quantisation=run.quantisation,
        difference=float((now - was).norm() / was.norm()),
        by_sigma=levels,
        strength=float((now * was).sum() / (was * was).sum()),
        loss=_mean_loss(plain),
        loss_trained_on=_mean_loss(trained),
        pictures=len(trained) // len(SIGMAS),
        role=trained[0].role,
    )


def blocks_to_wait(sizes: Sequence[int], rest: int, budget: int) -> int | None:
    """The fewest first blocks that have to wait on the host so that all else fits.

    Args:
        sizes: bytes of each block in their order; of those that wait one at a time is on the card.
        rest: bytes of all that is there besides.

    Returns:
        None where not even one block at a time fits.
    """
    for waiting in range(len(sizes) + 1):
        if rest + sum(sizes[waiting:]) + max(sizes[:waiting], default=0) <= budget:
            return waiting
    return None


def freed() -> None:
    """Give back what a transformer that is referred to no more has held of the card."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _fitting(waiting: int, needed: int, there: int) -> int:
    if needed > there:
        raise NoRoom(
            f"The weights need {_gib(needed)} of the machine's memory, and {_gib(there)} are free.", hint=""
        )
    return waiting


def _block_sizes(adapter: Adapter, run: RunFile) -> tuple[list[int], int]:
    """Bytes of each block of the base in 16 bits in their order, and of all else of its transformer."""
    import diffusers

    made = hollow(getattr(diffusers, adapter.transformer_class), run.base / "transformer")
    sizes = [_bytes_of(made.get_submodule(name)) for name in block_names(made)]
    return sizes, _bytes_of(made) - sum(sizes)


def _bytes_of(module: nn.Module) -> int:
    return sum(2 * weight.numel() for weight in module.parameters())


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"


def _area(sample: Sample) -> int:
    return sample.bucket[0] * sample.bucket[1]


def _effects(side: Sequence[Response]) -> Tensor:
    """All of them in a row: pictures differ in shape."""
    return torch.cat([one.effect.flatten() for one in side])


def _mean_loss(side: Sequence[Response]) -> float:
    return fmean(one.loss for one in side)
