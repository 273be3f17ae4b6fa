"""Which way of training fits into a machine: the least that is given up, or what would fit instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from persona_tui.errors import NotAllowedNow
from persona_tui.gpu.host_memory import HostMemory
from persona_tui.gpu.training.planner import GIB, TINY, Prediction, Shapes, predict, ram_on_cpu
from persona_tui.gpu.training.run_file import Quantisation, RunFile
from persona_tui.services.training.calibrating import Calibration

MARGIN, UNMEASURED_MARGIN = 0.04, 0.08
"""Of a card's memory that stays free: when earlier runs of the kind were measured, and when none was."""

CalibrationOf = Callable[[RunFile], Calibration | None]
"""What earlier readings say of a recipe; None where there are none."""


@dataclass(frozen=True)
class Memory:
    """What a machine has, in bytes.

    Attributes:
        vram: of the card, when nobody else uses it; None: there is no card.
        ram: of the host's, as it is now.
        can_quantise: bitsandbytes is installed.
        processes: that train together; each takes the host's memory for itself.
    """

    vram: int | None
    ram: HostMemory
    can_quantise: bool
    processes: int = 1

    def holds(self, prediction: Prediction) -> bool:
        """Whether the host has enough for all processes."""
        return prediction.ram * self.processes <= self.ram.available


@dataclass(frozen=True)
class Fit:
    """A recipe that fits, what it takes, and what was chosen for it, in sentences."""

    run: RunFile
    prediction: Prediction
    choices: tuple[str, ...]


class DoesNotFit(NotAllowedNow):
    """The machine has too little memory for this training."""

    title = "It does not fit"


def fit(
    shapes: Shapes,
    run: RunFile,
    memory: Memory,
    *,
    sources: int = 0,
    quantisation: Quantisation | None = None,
    calibration_of: CalibrationOf = lambda _: None,
) -> Fit:
    """The recipe in the first way that fits: full weights before 8 before 4 bits, large before small.

    Args:
        sources: pictures that an editor's sample carries.
        quantisation: that the operator wants; None chooses.

    Raises:
        DoesNotFit: nothing does; says what would.
    """
    if memory.vram is None:
        return _on_cpu(shapes, run, memory, sources, calibration_of)
    tried: list[Prediction] = []
    fits_the_card: list[Prediction] = []
    blocks = sum(kind.count for kind in shapes.blocks)
    for way in _ways(run, memory, quantisation, blocks):
        known = calibration_of(way)
        prediction = predict(shapes, way, sources=sources, factor=known.factor if known else 1.0)
        tried.append(prediction)
        if prediction.vram * (1 + (UNMEASURED_MARGIN if known is None else MARGIN)) > memory.vram:
            continue
        fits_the_card.append(prediction)
        if memory.holds(prediction):
            return Fit(way, prediction, tuple(_told(run, way, known)))
    hint = _instead(shapes, run, memory, sources, quantisation)
    if fits_the_card:
        require_ram(min(one.ram for one in fits_the_card) * memory.processes, memory.ram, hint)
    least = min(one.vram for one in tried)
    raise DoesNotFit(
        f"This training takes {_gib(tried[0].vram)} of the card's memory, {_gib(least)} at the least;"
        f" the card has {_gib(memory.vram)}.",
        hint=hint,
    )


def _on_cpu(shapes: Shapes, run: RunFile, memory: Memory, sources: int, calibration_of: CalibrationOf) -> Fit:
    if shapes.parameters > TINY:
        raise DoesNotFit(
            f"There is no NVIDIA card here, and a CPU trains only tiny models, of up to {_count(TINY)}"
            f" parameters; this one has {_count(shapes.parameters)}.",
            title="No card",
            hint="Train on a machine with a card of 12 GB or more.",
        )
    way = run.model_copy(update={"quantisation": "none", "dtype": "fp32", "checkpointing": False})
    known = calibration_of(way)
    factor = known.factor if known else 1.0
    prediction = predict(shapes, way, sources=sources, factor=factor)
    prediction = replace(prediction, ram=round(ram_on_cpu(prediction) * factor))
    require_ram(prediction.ram * memory.processes, memory.ram)
    told = ["There is no card: the CPU trains this tiny model, in fp32."]
    return Fit(way, prediction, (*told, *([known.sentence] if known else [])))


def _ways(run: RunFile, memory: Memory, wanted: Quantisation | None, blocks: int) -> Iterator[RunFile]:
    """The recipe in other ways, the ones that give up the least first."""
    possible: tuple[Quantisation, ...] = ("none", "int8", "nf4") if memory.can_quantise else ("none",)
    held = possible if wanted is None else (wanted,)
    sides = sorted(run.buckets)
    for count in range(len(sides), 0, -1):
        sized = run.model_copy(update={"buckets": tuple(sides[:count])})
        for quantisation in held:
            # Without checkpointing a step is a third faster.
            for checkpointing in (False, True):
                yield sized.model_copy(update={"quantisation": quantisation, "checkpointing": checkpointing})
        # In 8 bits layers can't wait in the host's memory, and compiled ones not either.
        if held[-1] == "int8" or run.compile:
            continue
        for share in (1, 2, 3):
            waiting = blocks * share // 4
            yield sized.model_copy(
                update={"quantisation": held[-1], "checkpointing": True, "swap_blocks": waiting}
            )


def _told(asked: RunFile, way: RunFile, known: Calibration | None) -> Iterator[str]:
    kept = {"none": "in bf16, unquantised", "int8": "in 8 bits", "nf4": "in 4 bits (NF4)"}[way.quantisation]
    yield f"The base model is held {kept}."
    if way.checkpointing:
        yield "Activations are computed again on the way back (gradient checkpointing)."
    if way.swap_blocks:
        yield f"{way.swap_blocks} blocks wait in the machine's memory; each step is slower for it."
    if way.buckets != tuple(sorted(asked.buckets)):
        left = ", ".join(str(side) for side in sorted(set(asked.buckets) - set(way.buckets)))
        yield f"Pictures of {left} pixels do not fit; {max(way.buckets)} is the largest size."
    if known is not None:
        yield known.sentence


def _instead(shapes: Shapes, run: RunFile, memory: Memory, sources: int, wanted: Quantisation | None) -> str:
    """What would fit: other settings on this card, or the card that these settings need."""
    vram = memory.vram or 0
    if not memory.can_quantise:
        small = predict(shapes, run.model_copy(update={"quantisation": "nf4"}), sources=sources)
        if small.vram * (1 + UNMEASURED_MARGIN) <= vram and memory.holds(small):
            return 'In 4 bits it would fit: install bitsandbytes, `pip install "persona-tui[gpu]"`.'
    light = run.model_copy(
        update={"rank": 4, "targets": "attention", "quantisation": "nf4", "buckets": (512,), "batch": 1}
    )
    least = predict(shapes, light, sources=sources)
    if memory.can_quantise and least.vram * (1 + UNMEASURED_MARGIN) <= vram and memory.holds(least):
        forced = "" if wanted is None else f" without --quantisation {wanted}"
        return f"Rank 4 on attention alone at 512 pixels in 4 bits would fit{forced}: {_gib(least.vram)}."
    return (
        f"The smallest way takes {_gib(least.vram)} of the card and {_gib(least.ram)} of the machine:"
        " choose a smaller base model, or a larger machine."
    )


def require_ram(needed: int, found: HostMemory, hint: str = "") -> None:
    """See that the host has so many bytes.

    Raises:
        DoesNotFit: it has not, or a limit of this process's control groups keeps them from it.
    """
    if needed <= found.available:
        return
    limit = f" within the limit of the control group {found.limited_by}" if found.limited_by else ""
    instead = (
        "Raise that limit, or end what else runs in it."
        if found.limited_by
        else "End other programs, or train on a machine with more memory."
    )
    raise DoesNotFit(
        f"This training takes {_gib(needed)} of the machine's memory; {_gib(found.available)} are"
        f" available{limit}.",
        title="Too little RAM",
        hint=hint or instead,
    )


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.1f} billion" if parameters >= 1e9 else f"{parameters / 1e6:.0f} million"
