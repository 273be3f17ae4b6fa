"""What a step keeps of activations, added up without a card: the product's step on the meta device.

Each tensor's bytes count from its making until nothing holds it. Attention keeps what a fused kernel keeps
(its inputs, its output, a sum for each row); the allocator's gaps and kernels' own room are not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from persona_tui.gpu.training.adapters.base import Adapter
from persona_tui.gpu.training.adapters.quantised import hollow
from persona_tui.gpu.training.cache import Cache
from persona_tui.gpu.training.cards import Cards
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.objective import Draw
from persona_tui.gpu.training.probe import largest_alone
from persona_tui.gpu.training.trainee import Trainee


def activations(folder: RunFolder) -> int:
    """Most bytes that one forward and backward of the largest sample hold beside weights and gradients."""
    # Layers in 4 bits compute on no such device; beside their weights they keep what others keep.
    run = folder.run().model_copy(update={"quantisation": "none", "preservation": 0.0, "ema": 0.0})
    index, _ = largest_alone(folder, folder.run())
    with patch.object(Adapter, "weights", staticmethod(_without_numbers)), _fused_attention():
        trainee = Trainee(run, index, Cache(folder.cache), Cards(0, 1, torch.device("meta")))
        held = _Held(trainee.transformer.parameters())
        with held:
            next(trainee.objective.parts(trainee.batches(1)[0], Draw(1))).value.backward()
    return held.most


def _without_numbers(part: Path) -> Iterator[tuple[str, Tensor]]:
    import json

    import diffusers

    kind = getattr(diffusers, json.loads((part / "config.json").read_text("utf-8"))["_class_name"])
    for name, weight in hollow(kind, part).named_parameters():
        yield name, torch.empty(weight.shape, dtype=torch.bfloat16, device="meta")


class _Held(TorchDispatchMode):
    """Counts what is alive on the meta device, without what was there before."""

    def __init__(self, before: Any) -> None:
        super().__init__()
        self._known = {weight.untyped_storage()._cdata for weight in before}
        self._now = self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, Tensor) and one.is_meta:
                self._count(one.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata in self._known:
            return
        self._known.add(storage._cdata)
        self._now += storage.nbytes()
        self.most = max(self.most, self._now)
        weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())

    def _gone(self, which: int, count: int) -> None:
        self._known.discard(which)
        self._now -= count


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, out, torch.empty(query.shape[:-1], device=query.device))
        return out

    @staticmethod
    def backward(ctx: Any, *_gradients: Tensor) -> Any:
        query, key, value, _out, _sums = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


@contextmanager
def _fused_attention() -> Iterator[None]:
    def attention(query: Tensor, key: Tensor, value: Tensor, **_options: Any) -> Any:
        return _Fused.apply(query, key, value)

    with patch.object(torch.nn.functional, "scaled_dot_product_attention", attention):
        yield
