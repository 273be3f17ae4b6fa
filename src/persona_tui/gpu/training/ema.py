"""An exponential moving average of the weights, which wanders less than the weights do."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from persona_tui.gpu.training.lora import copied


class Average:
    """The average, in fp32 on the device of the weights."""

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        """Begin at the weights as they are.

        Args:
            decay: share of the average that stays at each step, once there were enough of them.
        """
        self._decay = decay
        self._names = list(weights)
        self._kept = [weight.detach().float().clone() for weight in weights.values()]

    def update(self, weights: Mapping[str, Tensor], step: int) -> None:
        """Take in the weights after a step; early ones count more, so that the start is forgotten."""
        decay = min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            now = [weights[name].detach() for name in self._names]
            torch._foreach_lerp_(self._kept, now, 1 - decay)

    def weights(self) -> dict[str, Tensor]:
        """A copy of the average, on the CPU."""
        return copied(dict(zip(self._names, self._kept, strict=True)))

    def put_back(self, values: Mapping[str, Tensor]) -> None:
        """Go on from an average that was kept."""
        for name, kept in zip(self._names, self._kept, strict=True):
            kept.copy_(values[name])
