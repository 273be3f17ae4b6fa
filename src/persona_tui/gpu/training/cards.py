"""Several cards: each has a process that takes its share of a step, as `accelerate launch` starts them.

A step is the same sum whoever adds it up, but for rounding: with n cards, each takes every n-th of its
`accumulation` batches, so a recipe for n cards has at least n of them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import nn

from persona_tui.gpu.training.worker import Parted

T = TypeVar("T")

_PATIENCE = timedelta(hours=2)
"""How long the others wait while the first one evaluates, or for room on a full disk."""


@dataclass(frozen=True)
class Cards:
    """The processes of one run; the first one alone writes, reads orders and decides.

    Attributes:
        rank: of this process, from 0.
        count: of all; 1 without `accelerate launch`.
    """

    rank: int
    count: int
    device: torch.device

    def share(self, batches: Sequence[T]) -> list[tuple[int, T]]:
        """This process's part of a step's batches, with their numbers within the step."""
        return list(enumerate(batches))[self.rank :: self.count]

    def add_up(self, weights: Collection[nn.Parameter]) -> None:
        """Sum the weights' gradients over all processes, in place."""
        if self.count == 1:
            return
        gradients = [
            weight.grad if weight.grad is not None else torch.zeros_like(weight) for weight in weights
        ]
        whole = torch.cat([gradient.flatten() for gradient in gradients])
        with _together():
            torch.distributed.all_reduce(whole)
        parts = torch.split(whole, [gradient.numel() for gradient in gradients])
        for weight, part in zip(weights, parts, strict=True):
            weight.grad = part.view_as(weight)

    def sums(self, parts: dict[str, float], names: Sequence[str]) -> dict[str, float]:
        """Each part of the loss, summed over all processes."""
        if self.count == 1:
            return parts
        whole = torch.tensor([parts.get(name, 0.0) for name in names], dtype=torch.float64)
        whole = whole.to(self.device)
        with _together():
            torch.distributed.all_reduce(whole)
            return dict(zip(names, whole.tolist(), strict=True))

    def told(self, value: Any = None) -> Any:
        """What the first process says; waits for it in the others."""
        if self.count == 1:
            return value
        box = [value]
        with _together():
            torch.distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def gathered(self, value: T) -> list[T]:
        """What each process says, in the order of their ranks; all of them ask at once."""
        found: list[Any] = [value] * self.count
        if self.count > 1:
            with _together():
                torch.distributed.all_gather_object(found, value)
        return found


@contextmanager
def _together() -> Iterator[None]:
    """What the processes do together fails where one of them is gone.

    Raises:
        Parted: so it is.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as problem:
        reason = str(problem).strip().partition("\n")[0]
        raise Parted(f"Another process of this training is gone ({reason}).") from problem


def joined() -> Cards:
    """The processes of this run; joins those that `accelerate launch` started beside this one."""
    if not is_one_of_several():
        return Cards(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available(), timeout=_PATIENCE)
    return Cards(state.process_index, state.num_processes, state.device)


def is_one_of_several() -> bool:
    """Whether `accelerate launch` has started more than this process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def rank() -> int:
    """This process's number among those of its run."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this process decides; without others it does."""
    return rank() == 0


def number_of(device: torch.device) -> int | None:
    """NVML's number of a card, which torch counts among those that this process may see; None on a CPU."""
    if device.type != "cuda":
        return None
    place = device.index or 0
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return int(shown[place]) if place < len(shown) and shown[place].isdecimal() else place
