"""Frozen transformers, filled layer by layer: what is held in 4 or 8 bits never lies in memory in full.

diffusers' own way refuses to work without a card. This one runs on the CPU too, where tests meet it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training.adapters.folders import BadBase, weight_files

Quantisation: TypeAlias = Literal["none", "int8", "nf4"]
"""int8: LLM.int8 (arXiv 2208.07339); nf4: QLoRA's four bits, scales quantised too (arXiv 2305.14314)."""
LEAST_WEIGHTS = 4096
"""Smaller layers stay as they are: there is nothing to gain by them."""

# Activations beyond this are multiplied in 16 bits: the paper's and bitsandbytes' value.
_OUTLIERS = 6.0


def check_quantisation(word: str) -> None:
    """See whether weights can be held like that.

    Raises:
        InvalidRequest: no such way is known, or bitsandbytes, which knows it, is not installed.
    """
    known = get_args(Quantisation)
    if word not in known:
        raise InvalidRequest(
            f"Weights can't be held as {word}.",
            title="Bad quantisation",
            hint=f"Name one of: {', '.join(known)}.",
        )
    if word == "none":
        return
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise InvalidRequest(
            f"Weights as {word} need bitsandbytes, which is not installed.",
            title="bitsandbytes is missing",
            hint='Install it: pip install "persona-tui[gpu]".',
        ) from None


def hollow(transformer_class: Any, part: Path) -> nn.Module:
    """A transformer without weights: its parameters have shapes and nothing else.

    Args:
        part: folder with its config.json.
    """
    from accelerate import init_empty_weights

    with init_empty_weights():
        made: nn.Module = transformer_class.from_config(transformer_class.load_config(part))
    return made


def stored_weights(part: Path) -> Iterator[tuple[str, Tensor]]:
    """Name and value of each tensor of a component's safetensors files, read as they are asked for."""
    from safetensors import safe_open

    for path in weight_files(part):
        with safe_open(path, framework="pt", device="cpu") as file:
            for name in file.keys():  # noqa: SIM118
                yield name, file.get_tensor(name)


def fill(
    transformer: nn.Module,
    weights: Iterable[tuple[str, Tensor]],
    *,
    quantisation: Quantisation,
    blocks: tuple[str, ...],
    dtype: torch.dtype,
    device: torch.device | str,
    waiting: tuple[str, ...] = (),
) -> nn.Module:
    """Give a hollow transformer its weights, each layer's quantised before the next one's are read.

    Args:
        blocks: what the names of the layers start with that are held in fewer bits.
        dtype: of everything else, and of what is computed.
        waiting: what the names of the layers start with whose weights stay in the host's memory.

    Raises:
        BadBase: a weight is missing, is none of this transformer's, or has another shape.
    """
    if quantisation != "none":
        _swap_layers(transformer, quantisation, blocks, dtype)
    empty = dict.fromkeys(name for name, _ in transformer.named_parameters())
    for name, tensor in weights:
        owner, _, leaf = name.rpartition(".")
        try:
            module = transformer.get_submodule(owner)
            shape = getattr(module, leaf).shape
        except AttributeError:
            raise BadBase(f"{name} is no weight of a {type(transformer).__name__}.") from None
        if shape != tensor.shape:
            raise BadBase(f"{name} is {tuple(tensor.shape)} in the file, not {tuple(shape)}.")
        home = "cpu" if name.startswith(waiting) else device
        setattr(module, leaf, _parameter(getattr(module, leaf), module, tensor.to(dtype), device, home))
        empty.pop(name, None)
    if empty:
        raise BadBase(f"{len(empty)} weights are missing, {next(iter(empty))} among them.")
    # peft wraps such layers in others than plain ones.
    transformer.is_loaded_in_4bit = quantisation == "nf4"  # type: ignore[assignment]
    transformer.is_loaded_in_8bit = quantisation == "int8"  # type: ignore[assignment]
    return transformer.requires_grad_(False).eval()


def _swap_layers(
    transformer: nn.Module, quantisation: Quantisation, blocks: tuple[str, ...], dtype: torch.dtype
) -> None:
    """Put a quantised layer, still without weights, where a linear one of a block was."""
    chosen = [
        (name, layer)
        for name, layer in transformer.named_modules()
        if isinstance(layer, nn.Linear) and name.startswith(blocks) and layer.weight.numel() >= LEAST_WEIGHTS
    ]
    for name, layer in chosen:
        owner, _, leaf = name.rpartition(".")
        setattr(transformer.get_submodule(owner), leaf, _quantised_layer(layer, quantisation, dtype))


def _quantised_layer(layer: nn.Linear, quantisation: Quantisation, dtype: torch.dtype) -> Any:
    import bitsandbytes

    kinds: Any = bitsandbytes.nn
    size = (layer.in_features, layer.out_features, layer.bias is not None)
    if quantisation == "int8":
        # It says of every product that bf16 goes in as fp16.
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        return kinds.Linear8bitLt(*size, has_fp16_weights=False, threshold=_OUTLIERS, device="meta")
    four = kinds.Linear4bit(
        *size, compute_dtype=dtype, compress_statistics=True, quant_type="nf4", device="meta"
    )
    # The order of weights for AVX-512, which it would take on the CPU, can't be trained through.
    four.support_avx512bf16_for_cpu = False
    return four


def _parameter(
    old: Any, module: nn.Module, value: Tensor, device: torch.device | str, home: torch.device | str
) -> Any:
    """A weight at its home; a quantised layer's is quantised on the device first."""
    if type(old) is nn.Parameter:
        return nn.Parameter(value.to(home), requires_grad=False)
    if hasattr(old, "has_fp16_weights"):
        return type(old)(value, requires_grad=False, has_fp16_weights=False).to(device)
    four = type(old)(
        value,
        requires_grad=False,
        compress_statistics=old.compress_statistics,
        quant_type=old.quant_type,
        module=module,
    )
    four = four.to(device)
    # What quantisation noted beside the weight, its scales, stays on the device.
    four.data = four.data.to(home)
    return four
