"""How much memory this process has taken at its peak: of the card as the driver counts it, or of the host."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from persona_tui.gpu.nvml import read_cards
from persona_tui.gpu.training.planner import CONTEXT

if TYPE_CHECKING:
    import torch

    from persona_tui.gpu.training.folder import RunFolder

Stage = Literal["encode", "train"]
_NEWS = 1.01
"""A peak that grew by less is not written down again."""


@dataclass(frozen=True)
class Peak:
    """The most that a process has held, in bytes.

    Attributes:
        bytes: what a plan is held against: on a card all that the driver counts as this process's, on a CPU
            its resident memory.
        allocated, reserved: torch's own counts of the card's memory; None on a CPU.
        side: of the square whose area the largest pictures had, in pixels; 0 where none was learnt from.
        each: bytes of each process, in the order of its cards, where several train together; then the rest is
            the largest one's.
    """

    bytes: int
    on_cpu: bool
    allocated: int | None = None
    reserved: int | None = None
    side: int = 0
    each: tuple[int, ...] = ()


@dataclass(frozen=True)
class Probed:
    """What a probe's steps took.

    Attributes:
        outgrew: the card had too little memory for them; the peak is what it had given until then.
        seconds: of each step; the first one also warms up and compiles.
    """

    peak: Peak
    outgrew: bool
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Speed:
    """How long a step takes in one way.

    Attributes:
        compiled: with compiled blocks.
        seconds: of a step, the median of a few; None where it can't be done in that way.
        problem: why not, in a sentence.
    """

    compiled: bool
    attention_backend: str
    seconds: float | None
    problem: str = ""


def peak(device: torch.device, side: int = 0) -> Peak:
    """This process's peak since it began."""
    if device.type != "cuda":
        return Peak(peak_resident(), on_cpu=True, side=side)
    import torch

    allocated = int(torch.cuda.max_memory_allocated(device))
    reserved = int(torch.cuda.max_memory_reserved(device))
    seen = _seen_by_the_driver()
    # What torch reserves now is part of what the driver sees now; the rest is CUDA's own.
    beside = CONTEXT if seen is None else max(0, seen - int(torch.cuda.memory_reserved(device)))
    return Peak(reserved + beside, on_cpu=False, allocated=allocated, reserved=reserved, side=side)


def together(found: Sequence[Peak]) -> Peak:
    """The largest of what the processes of one run have held, beside that of each."""
    largest = max(found, key=lambda one: one.bytes)
    each = tuple(one.bytes for one in found) if len(found) > 1 else ()
    return replace(largest, side=max(one.side for one in found), each=each)


def _seen_by_the_driver() -> int | None:
    """Bytes of all cards that NVML counts as this process's; None where it does not tell (containers)."""
    mine = [one.memory for card in read_cards() for one in card.processes if one.pid == os.getpid()]
    known = [memory for memory in mine if memory is not None]
    return sum(known) if known else None


def peak_resident() -> int:
    """The most memory of the host that this process has held; what its parent held does not count."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    counted = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return counted if sys.platform == "darwin" else counted * 1024


def note_peak(folder: RunFolder, stage: Stage, found: Peak) -> None:
    """Keep a stage's peak in the run's manifest, where it is higher than the one that stands there.

    Raises:
        DiskFull, StorageError: it can't be written.
    """
    known: dict[str, Any] = folder.manifest().get("peaks", {})
    before = known.get(stage, {})
    most, side, each = before.get("bytes", 0), before.get("side", 0), before.get("each", ())
    # Resumed on another number of cards, it is counted anew for each.
    each = tuple(each) if len(each) == len(found.each) else (0,) * len(found.each)
    grew = any(now > was * _NEWS for now, was in zip(found.each, each, strict=True))
    if found.bytes > most * _NEWS or found.side > side or grew:
        higher = replace(
            found,
            bytes=max(found.bytes, most),
            side=max(found.side, side),
            each=tuple(map(max, found.each, each)),
        )
        folder.note(peaks={**known, stage: asdict(higher)})


def noted_peak(folder: RunFolder, stage: Stage) -> Peak | None:
    """A stage's peak, as its run's manifest tells it; None before it was measured."""
    told = folder.manifest().get("peaks", {})
    with contextlib.suppress(TypeError):
        return _read(told[stage]) if stage in told else None
    return None


def _read(told: Mapping[str, Any]) -> Peak:
    return Peak(**{**told, "each": tuple(told.get("each", ()))})


def probed(folder: RunFolder) -> Probed | None:
    """What a probe has left in its folder; None where it came to no end."""
    told: dict[str, Any] | None = folder.manifest().get("probed")
    if told is None:
        return None
    return Probed(_read(told["peak"]), told["outgrew"], tuple(told["seconds"]))


def noted_speeds(folder: RunFolder) -> tuple[Speed, ...]:
    """The ways that a comparison has timed; none before it has ended."""
    return tuple(Speed(**told) for told in folder.manifest().get("speeds", ()))
