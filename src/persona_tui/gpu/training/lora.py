"""The LoRA in a transformer: put in, drawn from the seed, read and written in fp32."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training.adapters.base import Adapter
from persona_tui.gpu.training.naming import named_in_model
from persona_tui.gpu.training.parents import require_unchanged
from persona_tui.gpu.training.randomness import generator
from persona_tui.gpu.training.run_file import RunFile

_A, _B = ".lora_A.default.weight", ".lora_B.default.weight"


class Half(nn.Linear):
    """A or B of a LoRA, kept in fp32 and multiplied in the numbers of what comes in.

    Autocast would do that too, but on a card it computes the base model's norms in fp32 as well: a quantised
    layer answers in what it is given, so all that lies between blocks would take twice the memory.
    """

    def __init__(self, weight: nn.Parameter) -> None:
        """Args:
        weight: (outputs, inputs).
        """
        super().__init__(weight.shape[1], weight.shape[0], bias=False, device="meta")
        self.weight = weight

    def forward(self, input: Tensor) -> Tensor:
        """(…, inputs) → (…, outputs)."""
        return nn.functional.linear(input, self.weight.to(input.dtype))


def add_lora(
    transformer: Any, adapter: Adapter, run: RunFile, device: torch.device
) -> dict[str, nn.Parameter]:
    """Put a LoRA into a frozen transformer.

    Args:
        device: where it learns, which the layers of blocks that wait in the host's memory can't tell.

    Returns:
        Its weights by name, such as `blocks.0.attn.to_q.lora_A.weight`; the only ones with gradients. A is
        drawn as PEFT draws it (uniform, Kaiming with a = √5), but from the run's seed; B is zero.
    """
    from peft import LoraConfig

    layers = adapter.targets(transformer, run.targets)
    # PEFT divides alpha by the rank, whatever number it is.
    config = LoraConfig(r=run.rank, lora_alpha=run.alpha, target_modules=layers)  # type: ignore[arg-type]
    transformer.add_adapter(config)
    weights = {}
    for name, parameter in list(transformer.named_parameters()):
        if name.endswith((_A, _B)):
            learnt = nn.Parameter(parameter.detach().to(device, torch.float32))
            transformer.get_submodule(name.removesuffix(".weight")).weight = learnt
            weights[name.replace(".default", "")] = learnt
    for name, parameter in weights.items():
        if name.endswith(".lora_A.weight"):
            bound = 1 / math.sqrt(parameter.shape[1])
            drawn = torch.rand(parameter.shape, generator=generator(run.seed, 0, f"init:{name}"))
            parameter.data.copy_((drawn * 2 - 1) * bound)
    return dict(sorted(weights.items()))


def multiply_as_given(transformer: Any) -> None:
    """Have a LoRA in fp32 computed in the base model's numbers, where PEFT would compute it in fp32."""
    from peft.tuners.lora import LoraLayer

    for layer in [module for module in transformer.modules() if isinstance(module, LoraLayer)]:
        layer.cast_input_dtype_enabled = False
        halves: Any
        for halves in (layer.lora_A, layer.lora_B):
            halves["default"] = Half(halves["default"].weight)


def copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as they are now, fp32 on the CPU."""
    return {name: weight.detach().to("cpu", torch.float32, copy=True) for name, weight in weights.items()}


def put_back(weights: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
    """Set the weights in place.

    Raises:
        InvalidRequest: the values are another LoRA's.
    """
    if weights.keys() != values.keys() or any(weights[name].shape != values[name].shape for name in weights):
        raise InvalidRequest(
            "The weights are those of a LoRA of another rank, preset or base model.",
            hint="Start from a LoRA of the same kind, or without one.",
        )
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(values[name])


@contextmanager
def without_lora(transformer: Any) -> Iterator[None]:
    """The base model as it is without what has been learnt."""
    transformer.disable_adapters()
    try:
        yield
    finally:
        transformer.enable_adapters()


def read_parent(path: Path, sha256: str | None, prefix: str, layers: list[str]) -> dict[str, Tensor]:
    """The weights of a LoRA file that is trained on.

    Args:
        prefix: of the family's files.
        layers: the transformer's layers that get a LoRA.

    Raises:
        InvalidRequest: it is another file than planned, broken, merged or resized, or has other names.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise InvalidRequest(f"{path.name} has changed since the run was planned.", hint="Plan it again.")
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            found = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as problem:
        raise InvalidRequest(f"{path.name} can't be read ({problem}).", hint="Choose another LoRA.") from None
    require_unchanged(path.name, told)
    named = named_in_model(found, prefix, layers)
    if named is None:
        raise InvalidRequest(
            f"{path.name} has other layers, or names them in another way, than this run.",
            hint="Choose the preset that it was trained with, or start without it.",
        )
    return named


def as_peft_tells_it(layers: list[str], rank: int, prefix: str) -> str:
    """PEFT's description of a LoRA of alpha = rank, as diffusers keeps it in a file's notes."""
    facts = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "target_modules": layers,
    }
    return json.dumps({prefix + name: value for name, value in facts.items()}, sort_keys=True)
