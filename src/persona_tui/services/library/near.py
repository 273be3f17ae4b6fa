"""Near-duplicates by perceptual hash: shown, never dropped.

The hash is the DCT hash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions"
(2010), §3.2.1: 32 × 32 grey levels, their 8 × 8 lowest frequencies without the constant row and column, each
compared with the median.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from sqlmodel import Session

from persona_tui.database.driver import rows_of

BITS = 6
"""Pictures whose hashes differ in so many of 64 bits or fewer are near-duplicates."""
_SIDE, _KEPT = 32, 8
_BANDS = 8

_waves = np.arange(1, _KEPT + 1)[:, None] * (2 * np.arange(_SIDE)[None, :] + 1)
_DCT = np.cos(_waves * np.pi / (2 * _SIDE))
"""Rows 1 to 8 of the DCT-II; its scale does not matter to a median."""


@dataclass(frozen=True)
class NearPair:
    """Two photos that look alike, and in how many of 64 bits they differ."""

    photo_id: int
    other_id: int
    bits: int


def perceptual_hash(picture: Image.Image) -> int:
    """64 bits as a signed number, as the database keeps them."""
    small = picture.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    frequencies = _DCT @ np.asarray(small, dtype=np.float64) @ _DCT.T
    bits = np.packbits(frequencies.ravel() > np.median(frequencies))
    return int.from_bytes(bits.tobytes(), "big", signed=True)


class Hashes:
    """The hashes of a persona's photos in memory: 16 bytes each, so that a new one is compared with all."""

    def __init__(self, known: Iterable[tuple[int, int]] = ()) -> None:
        self._ids: npt.NDArray[np.int64] = np.empty(1024, dtype=np.int64)
        self._hashes: npt.NDArray[np.int64] = np.empty(1024, dtype=np.int64)
        self._count = 0
        for photo_id, value in known:
            self.add(photo_id, value)

    def add(self, photo_id: int, value: int) -> None:
        """Compare later ones with this photo too."""
        if self._count == len(self._ids):
            self._ids = np.resize(self._ids, self._count * 2)
            self._hashes = np.resize(self._hashes, self._count * 2)
        self._ids[self._count], self._hashes[self._count] = photo_id, value
        self._count += 1

    def nearest(self, value: int) -> int | None:
        """The photo most like it, if one is within `BITS`; of equals the oldest."""
        if not self._count:
            return None
        differing = np.bitwise_count(self._hashes[: self._count] ^ np.int64(value))
        best = int(differing.argmin())
        return int(self._ids[best]) if differing[best] <= BITS else None


def known_hashes(session: Session, persona_id: int) -> Hashes:
    """The hashes of all photos that a persona has."""
    return Hashes((row.id, row.perceptual_hash) for row in rows_of(session, _HASHES, {"persona": persona_id}))


def near_pairs(session: Session, persona_id: int, bits: int = BITS) -> tuple[NearPair, ...]:
    """All pairs of a persona's photos that look alike, the most alike first.

    Exact up to 7 bits: of 8 bytes at least one is then equal in both, so only those are compared.
    """
    rows = rows_of(session, _HASHES, {"persona": persona_id})
    ids = np.array([row.id for row in rows], dtype=np.int64)
    hashes = np.array([row.perceptual_hash for row in rows], dtype=np.int64)
    found: dict[tuple[int, int], int] = {}
    for band in range(_BANDS):
        for group in _equal_in(hashes, band):
            for place, one in enumerate(group[:-1]):
                others = group[place + 1 :]
                differing = np.bitwise_count(hashes[others] ^ hashes[one])
                for other in np.flatnonzero(differing <= bits):
                    pair = (int(ids[one]), int(ids[others[other]]))
                    found[pair] = int(differing[other])
    ordered = sorted(found.items(), key=lambda item: (item[1], item[0]))
    return tuple(NearPair(first, second, count) for (first, second), count in ordered)


def _equal_in(hashes: npt.NDArray[np.int64], band: int) -> Iterable[npt.NDArray[np.int64]]:
    groups: dict[int, list[int]] = defaultdict(list)
    for place, part in enumerate((hashes >> (8 * band)) & 255):
        groups[int(part)].append(place)
    return (np.array(group) for group in groups.values() if len(group) > 1)


_HASHES = (
    "SELECT id, perceptual_hash FROM photos WHERE persona_id = :persona AND perceptual_hash IS NOT NULL"
    " AND deleted_at IS NULL ORDER BY id"
)
