"""Transformer blocks that wait in the host's memory, and are on the card only while they are computed.

One of them is there at a time. Weights are frozen, so nothing is ever brought back; what is learnt stays.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def block_names(transformer: nn.Module) -> list[str]:
    """The transformer's blocks in the order of their computation, such as `transformer_blocks.0`."""
    lists = [(name, part) for name, part in transformer.named_children() if isinstance(part, nn.ModuleList)]
    return [f"{name}.{number}" for name, part in lists if "blocks" in name for number in range(len(part))]


def recompute(transformer: Any) -> None:
    """Have a quantised transformer's blocks computed again in the backward pass, and keep their inputs alone.

    The usual recomputation (not reentrant) lets go of what autograd saves, and bitsandbytes notes what it
    needs for a gradient elsewhere: in 4 bits the layer's weights, in 8 bits also its input.
    """
    transformer.enable_gradient_checkpointing(_recomputed)


def let_wait(transformer: Any, names: list[str], device: torch.device) -> Waiting:
    """Have these blocks wait, and recompute all blocks in the backward pass.

    Args:
        names: of blocks whose frozen weights may lie on the host already.
        device: where they are computed.
    """
    recompute(transformer)
    return Waiting([transformer.get_submodule(name) for name in names], device)


class Waiting:
    """Blocks of which one at most is on the card."""

    def __init__(self, blocks: list[nn.Module], device: torch.device) -> None:
        self._device = device
        self._homes: dict[nn.Module, list[tuple[nn.Parameter, Tensor]]] = {}
        self._here: nn.Module | None = None
        for block in blocks:
            frozen = [weight for weight in block.parameters() if not weight.requires_grad]
            self._homes[block] = [(weight, _home(weight.data, device)) for weight in frozen]
            self._send_away(block)
            block.register_forward_pre_hook(self._bring)

    def _bring(self, block: nn.Module, _given: Any) -> None:
        """Let a block's weights be there before it is computed, forwards or once more for its gradients.

        Whichever was there has been done with: gradients go through one block after the other.
        """
        if self._here is block:
            return
        if self._here is not None:
            self._send_away(self._here)
        for weight, home in self._homes[block]:
            weight.data = torch.empty_like(home, device=self._device).copy_(home, non_blocking=True)
        self._here = block

    def _send_away(self, block: nn.Module) -> None:
        """Leave one number of each weight in the shape of all: diffusers reads it when it loads a LoRA."""
        for weight, home in self._homes[block]:
            weight.data = torch.empty((), dtype=home.dtype, device=self._device).expand(home.shape)


def _home(weight: Tensor, device: torch.device) -> Tensor:
    """A copy on the host; pinned, so that a card can read it without the CPU."""
    home = weight.to("cpu")
    return home.pin_memory() if device.type == "cuda" else home


def _recomputed(block: nn.Module, *given: Any) -> Any:
    """Compute a block and keep its inputs alone; the first one's must ask for a gradient, or none is made."""
    wants = any(isinstance(one, Tensor) and one.requires_grad for one in given)
    if torch.is_grad_enabled() and not wants:
        given = (given[0].detach().requires_grad_(True), *given[1:])
    return checkpoint(block, *given, use_reentrant=True, preserve_rng_state=False)
