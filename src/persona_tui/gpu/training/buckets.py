"""Aspect buckets: which size each picture is trained at, and what each step consists of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from persona_tui.gpu.training.randomness import shuffled

Size = tuple[int, int]
"""Width and height in pixels."""

_LONGEST_ASPECT = 2.0
_UPSCALE = 1.1
"""A picture may be enlarged so much to fill a bucket; more teaches blur."""


@lru_cache
def sizes(resolution: int) -> tuple[Size, ...]:
    """The buckets of at most resolution² pixels, from 1:2 to 2:1.

    Sides are multiples of 64, in small sizes of 16, which all families need (VAE 8, patch 2).
    """
    grid = 64 if resolution >= 512 else 16
    found = set()
    for short in range(grid, resolution + 1, grid):
        long = resolution * resolution // short // grid * grid
        if long <= _LONGEST_ASPECT * short:
            found |= {(short, long), (long, short)}
    return tuple(sorted(found))


def bucket_of(picture: Size, resolution: int) -> Size:
    """The bucket whose shape is nearest the picture's; of equals the wider."""
    aspect = picture[0] / picture[1]
    return min(
        sizes(resolution),
        key=lambda size: (max(aspect * size[1] / size[0], size[0] / size[1] / aspect), -size[0]),
    )


def buckets_for(picture: Size, resolutions: Iterable[int]) -> tuple[Size, ...]:
    """Each resolution's bucket that the picture fills without being enlarged; at least the smallest one's."""
    wanted = [bucket_of(picture, resolution) for resolution in sorted(resolutions)]
    fits = [size for size in wanted if scale_to(picture, size) <= _UPSCALE]
    return tuple(fits or wanted[:1])


def filled(pictures: Iterable[Size], resolutions: Iterable[int]) -> tuple[int, ...]:
    """The resolutions that some picture is trained at; with these alone each has the same buckets."""
    wanted = sorted(set(resolutions))
    found: set[int] = set()
    for picture in set(pictures):
        by_size = {bucket_of(picture, resolution): resolution for resolution in reversed(wanted)}
        found |= {by_size[size] for size in buckets_for(picture, wanted)}
    return tuple(sorted(found)) or tuple(wanted)


def scale_to(picture: Size, bucket: Size) -> float:
    """By how much the picture's sides are multiplied so that it covers the bucket."""
    return max(bucket[0] / picture[0], bucket[1] / picture[1])


def crop_of(picture: Size, bucket: Size) -> tuple[int, int, int, int]:
    """The middle of the picture in the bucket's shape: left, top, right, bottom in its own pixels."""
    scale = scale_to(picture, bucket)
    width, height = min(picture[0], round(bucket[0] / scale)), min(picture[1], round(bucket[1] / scale))
    left, top = (picture[0] - width) // 2, (picture[1] - height) // 2
    return left, top, left + width, top + height


@dataclass(frozen=True)
class Plan:
    """The batches of one phase: which samples each micro-batch takes, a function of its number alone.

    Attributes:
        places: per shape, the samples' places in the cache's index.
        batch: samples per micro-batch.
        seed: of the run.
        phase: name of the curriculum's phase, so that each has an order of its own.
    """

    places: tuple[tuple[int, ...], ...]
    batch: int
    seed: int
    phase: str = ""

    @property
    def per_epoch(self) -> int:
        """Micro-batches until each sample was seen at least once."""
        return sum(-(-len(group) // self.batch) for group in self.places)

    def micro_batch(self, number: int) -> tuple[int, ...]:
        """The places of the samples of a micro-batch, all of one shape; `number` counts from 0."""
        epoch, place = divmod(number, self.per_epoch)
        return _epoch(self, epoch)[place]


@lru_cache(maxsize=4)
def _epoch(plan: Plan, epoch: int) -> tuple[tuple[int, ...], ...]:
    batches = []
    for at, group in enumerate(plan.places):
        taken = [
            group[place] for place in shuffled(len(group), plan.seed, epoch, f"{plan.phase}/bucket:{at}")
        ]
        # The last batch is filled from the front, so that all batches weigh the same.
        taken += (taken * plan.batch)[: -len(taken) % plan.batch]
        batches += [tuple(taken[first : first + plan.batch]) for first in range(0, len(taken), plan.batch)]
    return tuple(
        batches[place] for place in shuffled(len(batches), plan.seed, epoch, f"{plan.phase}/batches")
    )


def plan_of(
    shapes: Sequence[tuple[int, ...]], wanted: Iterable[int], batch: int, seed: int, phase: str
) -> Plan:
    """The plan of a phase.

    Args:
        shapes: each sample's; those of a batch have the same.
        wanted: places of the samples that the phase learns from.
    """
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place in wanted:
        groups[shapes[place]].append(place)
    return Plan(tuple(tuple(groups[shape]) for shape in sorted(groups)), batch, seed, phase)
