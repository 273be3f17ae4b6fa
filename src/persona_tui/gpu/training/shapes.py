"""How large a base model is, counted on the meta device from its configs: nothing of its weights is read."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_tui.gpu.training.planner import BlockKind, Layers, Shapes

if TYPE_CHECKING:
    from torch import nn

_SEEN_ONCE = (".norm", "_mod.", "modulation")
_OF_THE_TEXT = ("add_", "txt_", "context", "to_add_out")
_BOTH = "single_transformer_blocks."


def read_shapes(family: str, folder: str) -> Shapes:
    """Count a base model. Imports torch, so it runs in a child.

    Raises:
        BadBase: the folder holds no such model, or its weights are not all there.
        UnknownName: no LoRA of the family can be trained here.
    """
    from persona_tui.gpu.training.adapters import adapter_of

    adapter, base = adapter_of(family), Path(folder)

    # Only now: the adapters' module makes torchvision importable first.
    import diffusers

    from persona_tui.gpu.training.adapters.folders import check_base, weight_files
    from persona_tui.gpu.training.adapters.quantised import hollow

    check_base(base, adapter.facts, expects=adapter.expects, unlike=adapter.unlike)
    transformer = hollow(getattr(diffusers, adapter.transformer_class), base / "transformer")
    adapted = {which: frozenset(adapter.targets(transformer, which)) for which in ("attention", "mlp", "all")}
    bytes_of = {
        part.name: _bytes(weight_files(part)) for part in base.iterdir() if (part / "config.json").is_file()
    }
    return Shapes(
        family=family,
        blocks=tuple(_blocks(transformer, adapter.blocks, adapted)),
        rest=_rest(transformer, adapter.blocks),
        width=_width(transformer, adapter.blocks),
        largest=max(parameter.numel() for parameter in transformer.parameters()),
        pixels_per_token=2 * _vae_scale(base),
        encoder_bytes=sum(bytes_of.get(part, 0) for part in adapter.text_parts),
        vae_bytes=bytes_of.get("vae", 0),
        transformer_bytes=bytes_of.get("transformer", 0),
    )


def _blocks(
    transformer: nn.Module, prefixes: tuple[str, ...], adapted: dict[str, frozenset[str]]
) -> list[BlockKind]:
    """The blocks, gathered by kind; those of a kind are alike."""
    import torch

    found: dict[str, dict[str, list[tuple[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for name, module in transformer.named_modules():
        prefix = next((one for one in prefixes if name.startswith(one)), None)
        if prefix is not None and isinstance(module, torch.nn.Linear):
            found[prefix][name.removeprefix(prefix).partition(".")[0]].append((name, module))
    kinds = []
    for prefix, blocks in found.items():
        layers = next(iter(blocks.values()))
        whole = sum(p.numel() for name, p in transformer.named_parameters() if name.startswith(prefix))
        linear = sum(module.weight.numel() for _, module in layers)
        kinds.append(
            BlockKind(
                name=prefix.rstrip("."),
                count=len(blocks),
                linear=linear,
                rest=whole // len(blocks) - linear,
                seen={stream: _sides(layers, stream) for stream in ("picture", "text", "both", "once")},
                adapted={
                    which: Layers(
                        count=sum(name in names for name, _ in layers),
                        sides=sum(sum(module.weight.shape) for name, module in layers if name in names),
                    )
                    for which, names in adapted.items()
                },
            )
        )
    return kinds


def _sides(layers: list[tuple[str, Any]], stream: str) -> int:
    """Inputs and outputs of the linear layers that see these tokens, added up."""
    return sum(sum(module.weight.shape) for name, module in layers if _stream(name) == stream)


def _stream(name: str) -> str:
    """Which tokens a layer of a block sees; by the names that diffusers' transformers have in common."""
    within = "." + name.split(".", 2)[2]
    if any(word in within for word in _SEEN_ONCE):
        return "once"
    if name.startswith(_BOTH):
        return "both"
    return "text" if any(word in within for word in _OF_THE_TEXT) else "picture"


def _rest(transformer: nn.Module, prefixes: tuple[str, ...]) -> int:
    """Parameters outside of the blocks."""
    return sum(p.numel() for name, p in transformer.named_parameters() if not name.startswith(prefixes))


def _width(transformer: nn.Module, prefixes: tuple[str, ...]) -> int:
    """Numbers of a token between blocks: the inputs of the first attention's first layer."""
    import torch

    layers = (
        module
        for name, module in transformer.named_modules()
        if name.startswith(prefixes) and ".attn." in name and isinstance(module, torch.nn.Linear)
    )
    return int(next(layers).in_features)


def _vae_scale(base: Path) -> int:
    """Pixels of a side that become one latent; as the pipelines reckon it from the autoencoder's config."""
    told = json.loads((base / "vae" / "config.json").read_text("utf-8"))
    if "temperal_downsample" in told:
        return int(2 ** len(told["temperal_downsample"]))
    return int(2 ** (len(told.get("block_out_channels", [0] * 4)) - 1))


def _bytes(files: list[Path]) -> int:
    return sum(path.stat().st_size for path in files)
