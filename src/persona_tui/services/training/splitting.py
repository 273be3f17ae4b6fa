"""Which pictures of a dataset are held out: never learnt from, so that likeness to them means something."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from persona_tui.gpu.training.manifest import Role
from persona_tui.services.library.near import BITS

MOST_HELD_OUT = 24
"""More would make each evaluation longer and tell no more."""


@dataclass(frozen=True)
class Member:
    """A picture, as far as the split is concerned.

    Attributes:
        role: that it has already; None: it is new.
        look: its perceptual hash; None where nobody knows.
        parent: SHA-256 of the picture that it was made of.
        depth: 0 for a source.
    """

    sha256: str
    role: Role | None = None
    look: int | None = None
    parent: str | None = None
    depth: int = 0


def held_out_count(pictures: int) -> int:
    """How many of so many pictures are to be held out: 2 under 12, else a tenth, 3 to 24."""
    if pictures < 4:
        return min(1, pictures - 1) if pictures > 1 else 0
    return 2 if pictures < 12 else min(MOST_HELD_OUT, max(3, pictures // 10))


def split(members: Sequence[Member]) -> Mapping[str, Role]:
    """The roles of the new pictures, by SHA-256; a picture keeps the role that it has.

    Pictures that look alike, or were made of one another, stay on one side. Which ones are held out is
    decided by their hashes alone: the same pictures are split alike everywhere. Sources go first, since
    edited and generated ones may be wrong themselves.
    """
    missing = held_out_count(len(members)) - sum(member.role == "held_out" for member in members)
    most = len(members) // 2
    roles: dict[str, Role] = {member.sha256: "train" for member in members if member.role is None}
    groups = [group for group in _groups(members) if all(member.role is None for member in group)]
    for group in sorted(groups, key=_rank):
        if missing <= 0:
            break
        if len(group) > min(most, missing + 1):
            continue
        roles |= {member.sha256: "held_out" for member in group}
        missing -= len(group)
    return roles


def near_pairs(looks: Sequence[int | None]) -> list[tuple[int, int]]:
    """Places of the pictures that look alike."""
    known = [place for place, look in enumerate(looks) if look is not None]
    hashes = np.array([looks[place] for place in known], dtype=np.int64)
    pairs = []
    for row, place in enumerate(known):
        differing = np.bitwise_count(hashes[row + 1 :] ^ hashes[row])
        pairs += [(place, known[row + 1 + other]) for other in np.flatnonzero(differing <= BITS).tolist()]
    return pairs


def _rank(group: Sequence[Member]) -> tuple[bool, int, str]:
    """Sources first, then those that stand alone, then by chance, which the hashes are."""
    first = min(member.sha256 for member in group)
    is_made = all(member.depth > 0 for member in group)
    return is_made, len(group), hashlib.sha256(first.encode()).hexdigest()


def _groups(members: Sequence[Member]) -> list[list[Member]]:
    """The members in groups that must not be parted."""
    above = list(range(len(members)))

    def root(place: int) -> int:
        while above[place] != place:
            above[place] = above[above[place]]
            place = above[place]
        return place

    places = {member.sha256: place for place, member in enumerate(members)}
    tied = near_pairs([member.look for member in members])
    tied += [(places[one.parent], place) for place, one in enumerate(members) if one.parent in places]
    for one, other in tied:
        above[root(one)] = root(other)
    found: dict[int, list[Member]] = defaultdict(list)
    for place, member in enumerate(members):
        found[root(place)].append(member)
    return list(found.values())
