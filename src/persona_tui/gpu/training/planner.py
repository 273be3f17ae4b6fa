"""How much memory a training takes, part by part, before it begins.

Arithmetic over the shapes of a base model; what it can't know (fragmentation, kernels' workspaces) is in two
constants here and in the calibration by probes and earlier runs. Nothing of it was fitted on a card yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from persona_tui.gpu.training.run_file import OptimizerName, Quantisation, RunFile

GIB = 1 << 30
MIB = 1 << 20
Stream = Literal["picture", "text", "both", "once"]

# bitsandbytes' NF4 with double quantisation: 4 bits, an 8-bit scale for 64 weights, fp32 for 256 of those
# (QLoRA, arXiv 2305.14314, section 3: 0.127 bits a weight); int8: a byte, and a scale for each output.
_BYTES: Mapping[Quantisation, float] = {"none": 2.0, "int8": 1.002, "nf4": 0.5 + 0.127 / 8}
# Beside weight and gradient in fp32: AdamW's two moments in fp32, in 8 bits with a scale for 256; Prodigy's
# two moments, s and the first weights.
_OPTIMIZER: Mapping[OptimizerName, float] = {"adamw": 8.0, "adamw8bit": 2.04, "prodigy": 16.0}

CONTEXT = 600 * MIB
"""CUDA's context and libraries of one process, as NVML counts it."""
SLACK = 0.04
"""Of all else: what the allocator keeps between blocks of memory."""
RAM_LIBRARIES = 4 * GIB
"""A process with torch, diffusers and a CUDA context."""
_PINNED = 1.5
"""Torch takes the next power of two for each pinned tensor; so much more for FLUX's and Qwen's layers."""
TEXT_TOKENS: Mapping[str, int] = {"flux1": 512, "kontext": 512, "flux2-klein-4b": 512, "flux2-klein-9b": 512}
"""FLUX pads captions to this; other families read them as long as they are."""
_LONG_CAPTION = 256
_SOURCE_TOKENS = 200
"""Of a source picture in the text of an edit: 384² pixels at 28² a token."""
_PIXELS_PER_TOKEN = 16
"""Of a side, in all families: the autoencoder's 8, two by two."""
TINY = 50_000_000
"""Parameters up to which a model trains on a CPU in sensible time."""


@dataclass(frozen=True)
class Layers:
    """Linear layers that get a LoRA: how many, and their inputs and outputs added up."""

    count: int
    sides: int


@dataclass(frozen=True)
class BlockKind:
    """A transformer's blocks of one kind.

    Attributes:
        linear: weights of the linear layers of one block, which quantisation shrinks.
        rest: its other parameters.
        seen: by the tokens that they see, inputs and outputs of its linear layers added up.
        adapted: by preset of targets, what gets a LoRA in one block.
    """

    name: str
    count: int
    linear: int
    rest: int
    seen: Mapping[Stream, int]
    adapted: Mapping[str, Layers]


@dataclass(frozen=True)
class Shapes:
    """A base model's sizes, as its configs tell them.

    Attributes:
        rest: parameters outside of the blocks.
        width: numbers of a token between blocks.
        largest: parameters of the largest tensor, which is held twice for a moment while it is quantised.
        pixels_per_token: of a side.
        encoder_bytes, vae_bytes, transformer_bytes: of the files on the disk.
    """

    family: str
    blocks: tuple[BlockKind, ...]
    rest: int
    width: int
    largest: int
    pixels_per_token: int
    encoder_bytes: int
    vae_bytes: int
    transformer_bytes: int

    @property
    def parameters(self) -> int:
        """Of the transformer."""
        return self.rest + sum(kind.count * (kind.linear + kind.rest) for kind in self.blocks)


@dataclass(frozen=True)
class Prediction:
    """Memory of a training at its peak, in bytes.

    Attributes:
        parts: of the card's: weights, lora, gradients, optimizer, average, activations, workspace.
        factor: that earlier runs of this kind measured against their predictions.
        encode: of the card's while pictures and captions are encoded, before the transformer is loaded.
        ram: of the host's, by the process that needs the most.
    """

    parts: Mapping[str, int]
    encode: int
    ram: int
    factor: float = 1.0
    notes: tuple[str, ...] = field(default=())

    @property
    def raw(self) -> int:
        """The parts' sum, as reckoned."""
        return sum(self.parts.values())

    @property
    def training(self) -> int:
        """What is to be expected at the peak of training."""
        return round(self.raw * self.factor)

    @property
    def vram(self) -> int:
        """What is to be expected at the peak, of training or of encoding."""
        return max(self.training, self.encode)


def predict(shapes: Shapes, run: RunFile, *, sources: int = 0, factor: float = 1.0) -> Prediction:
    """The memory that a run takes.

    Args:
        sources: pictures that each of an editor's samples carries.
        factor: measured over predicted of earlier runs of this kind.
    """
    wide = 2 if run.dtype == "bf16" else 4
    lora = lora_parameters(shapes, run.rank, run.targets)
    parts = {
        "weights": _weights(shapes, run, wide),
        "lora": lora * 4,
        "gradients": lora * 4,
        "optimizer": round(lora * _OPTIMIZER[run.optimizer]),
        "average": lora * 4 if run.ema else 0,
        "activations": _activations(shapes, run, wide, sources),
    }
    # A quantised layer is unpacked to be multiplied, one at a time; cuBLAS wants room as well.
    unpacked = 0 if run.quantisation == "none" else shapes.largest * wide
    parts["workspace"] = CONTEXT + unpacked + round(SLACK * sum(parts.values()))
    return Prediction(parts, _encoding(shapes, run, wide), _ram(shapes, run), factor)


def memory_settings(run: RunFile, sources: int = 0) -> dict[str, Any]:
    """What of a recipe decides its memory besides family and quantisation, to tell runs of a kind by.

    Args:
        sources: pictures that each of an editor's samples carries.
    """
    names = (
        "rank",
        "targets",
        "optimizer",
        "dtype",
        "batch",
        "checkpointing",
        "swap_blocks",
        "compile",
        "attention_backend",
    )
    told: dict[str, Any] = {name: getattr(run, name) for name in names}
    return told | {
        "side": max(run.buckets),
        "sources": sources,
        "preservation": run.preservation > 0,
        "average": run.ema > 0,
    }


def reckoned_by_side(shapes: Shapes, run: RunFile, sources: int, *, on_cpu: bool) -> dict[str, int]:
    """Bytes at the peak without calibration, if pictures of that side were the largest."""
    sized = {side: run.model_copy(update={"buckets": (side,)}) for side in run.buckets}
    found = {side: predict(shapes, one, sources=sources) for side, one in sized.items()}
    return {str(side): ram_on_cpu(one) if on_cpu else one.raw for side, one in found.items()}


def step_work(run: RunFile, sources: int = 0, cards: int = 1) -> float:
    """What a step costs beside another one of the same base model: tokens that pass through it on one card.

    A pass forward counts 1, and one back 1 as well, since the frozen weights get no gradients;
    checkpointing goes forward once more, and class preservation needs a forward without the LoRA and all
    passes of one with it. Sizes count alike: a picture that fills the largest one fills the smaller ones.
    """
    once = 3 if run.checkpointing else 2
    passes = once + (1 + once if run.preservation else 0)
    text = TEXT_TOKENS.get(run.family, _LONG_CAPTION + _SOURCE_TOKENS * sources)
    tokens = [(side / _PIXELS_PER_TOKEN) ** 2 * (1 + sources) + text for side in run.buckets]
    return -(-run.accumulation // cards) * run.batch * passes * sum(tokens) / len(tokens)


def lora_parameters(shapes: Shapes, rank: int, targets: str) -> int:
    """Parameters of a LoRA: rank × (inputs + outputs) for each layer that gets one."""
    return rank * sum(kind.count * kind.adapted[targets].sides for kind in shapes.blocks)


def tokens_of(shapes: Shapes, bucket: int, sources: int) -> tuple[int, int]:
    """Tokens of picture and text of one sample at a bucket's area; sources are as large as results."""
    side = bucket / shapes.pixels_per_token
    picture = round(side * side) * (1 + sources)
    return picture, TEXT_TOKENS.get(shapes.family, _LONG_CAPTION + _SOURCE_TOKENS * sources)


def _weights(shapes: Shapes, run: RunFile, wide: int) -> int:
    each = _BYTES[run.quantisation] if run.quantisation != "none" else wide
    total = shapes.rest * wide
    swapped = run.swap_blocks
    for kind in shapes.blocks:
        one = kind.linear * each + kind.rest * wide
        away = min(swapped, kind.count)
        swapped -= away
        # Of those that wait, one is on the card while it is computed.
        total += round(one * (kind.count - away + (1 if away else 0)))
    return int(total)


def _activations(shapes: Shapes, run: RunFile, wide: int, sources: int) -> int:
    """Inputs of all blocks, and everything within the largest one, which is computed again on the way back.

    Without checkpointing everything within all blocks stays. Within a block each linear layer's input and
    output are held for the next operation's gradient; queries and keys are normed and rotated in fp32. Within
    2 % of what tensors on the meta device add up to, of FLUX.1 and Qwen-Image-Edit at 1024².
    """
    picture, text = tokens_of(shapes, max(run.buckets), sources)
    seen = {"picture": picture, "text": text, "both": picture + text, "once": 1}
    within = [
        (kind.count, wide * sum(seen[stream] * sides for stream, sides in kind.seen.items()))
        for kind in shapes.blocks
    ]
    between = (picture + text) * shapes.width * wide
    if run.checkpointing:
        held = between * sum(count for count, _ in within) + max(size for _, size in within)
    else:
        held = sum(count * size for count, size in within)
    in_fp32 = 4 * (picture + text) * shapes.width * 4
    # In and out of the transformer, once more in fp32 for the loss.
    return run.batch * (held + in_fp32 + 4 * between)


def _encoding(shapes: Shapes, run: RunFile, wide: int) -> int:
    """Text encoders as they lie on the disk, the autoencoder in fp32 with its widest feature maps."""
    side = max(run.buckets)
    # At full size five of 128 channels in FLUX's autoencoder, ten of 96 in Qwen's, as meta tensors tell.
    maps = (5 * 128 if shapes.family in TEXT_TOKENS else 10 * 96) * side * side * 4
    return shapes.encoder_bytes * wide // 2 + 2 * shapes.vae_bytes + maps + CONTEXT


def _ram(shapes: Shapes, run: RunFile) -> int:
    """A transformer is read piece by piece onto the card; blocks that wait in the host's memory lie there."""
    each = _BYTES[run.quantisation]
    largest = max(kind.linear + kind.rest for kind in shapes.blocks)
    training = round(_PINNED * run.swap_blocks * largest * each) + shapes.largest * 8
    # Text encoders lie in it whole before they are moved to the card.
    encoding = shapes.encoder_bytes * (2 if run.dtype == "bf16" else 4) // 2 + shapes.vae_bytes
    return RAM_LIBRARIES + max(training, encoding)


def ram_on_cpu(prediction: Prediction) -> int:
    """What a training takes of the host's memory when there is no card."""
    return RAM_LIBRARIES // 4 + prediction.raw - CONTEXT
