"""Every random draw of a run, derived from (seed, step, purpose): a resume has no state to restore."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def key(seed: int, step: int, purpose: str, attempt: int = 0) -> int:
    """A number of 63 bits that stands for one draw; equal on every machine and version."""
    words = f"{seed}/{step}/{purpose}/{attempt}".encode()
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big") >> 1


def generator(
    seed: int, step: int, purpose: str, attempt: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A fresh generator for one draw.

    Args:
        step: the optimizer step, or what else counts the draws of that purpose.
        attempt: rollbacks that cover the step; without it the same failure would come back for ever (M4).
        device: draws differ between devices, so what has to be equal everywhere is drawn on the CPU.
    """
    import torch

    return torch.Generator(device).manual_seed(key(seed, step, purpose, attempt))


def shuffled(count: int, seed: int, epoch: int, purpose: str) -> list[int]:
    """The numbers below `count` in an epoch's order: by their hashes, so that no library's shuffle counts."""
    return sorted(range(count), key=lambda place: key(seed, epoch, f"{purpose}:{place}"))
