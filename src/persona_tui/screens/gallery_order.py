"""Which of a run's pictures the gallery shows, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.widgets.marks import dim

if TYPE_CHECKING:
    from persona_tui.screens.gallery_data import Leaf

ORDERS = ("rating", "votes", "age", "parent")
"""What pictures may be sorted by, in the order in which one key goes through them."""
ORDER_WORDS: Mapping[str, str] = {
    "rating": "best first",
    "votes": "most votes first",
    "age": "newest first",
    "parent": "by parent",
}

KEEPS: Mapping[str, tuple[str, Callable[[Leaf], bool]]] = {
    "all": ("●", lambda _leaf: True),
    "active": ("◆", lambda leaf: leaf.picture.status == "active"),
    "flagged": ("⚑", lambda leaf: leaf.flagged),
    "rejected": ("✗", lambda leaf: leaf.picture.status == "rejected"),
    "unvoted": ("○", lambda leaf: leaf.picture.status == "active" and not leaf.trace.votes),
}
"""Name of each filter → its icon, and whether it keeps a picture."""


def arranged(
    leaves: Sequence[Leaf], revealed: bool, *, order: str = "rating", keep: str = "all"
) -> tuple[Leaf, ...]:
    """The pictures that a filter keeps, sorted.

    Ratings compare only within a step, so by rating and by parent they stand step by step.

    Args:
        revealed: whether secret ratings may be told; otherwise the order does not tell them either.
        order: one of `ORDERS`.
        keep: one of `KEEPS`.
    """
    kept = filter(KEEPS[keep][1], leaves)
    return tuple(sorted(kept, key=lambda leaf: _place(leaf, revealed, order)))


def _place(leaf: Leaf, revealed: bool, order: str) -> tuple[float, ...]:
    picture = leaf.picture
    if order == "votes":
        return (-leaf.trace.votes, picture.id)
    if order == "age":
        return (-picture.created_at.timestamp(), -picture.id)
    rating = 0 if leaf.secret and not revealed else -picture.elo_score
    parent = (picture.parent_id or 0) if order == "parent" else 0
    return (picture.position, parent, picture.status != "active", rating, picture.id)


def bar(leaves: Sequence[Leaf], *, order: str, keep: str, filter_key: str, order_key: str) -> Content:
    """`[F] ● all 12  ⚑ flagged 1   [S] best first`: how many each filter shows, the chosen one marked."""
    parts = []
    for name, (icon, keeps) in KEEPS.items():
        count = sum(map(keeps, leaves))
        if not count and name not in (keep, "all"):
            continue
        style = "$title bold reverse" if name == keep else "$title"
        parts.append(Content.styled(f" {icon} {name} {count} ", style))
    words = _key(filter_key) + Content("").join(parts)
    return words + Content("  ") + _key(order_key) + Content.styled(ORDER_WORDS[order], "$title")


def worth_choosing(leaves: Sequence[Leaf]) -> tuple[str, ...]:
    """The filters that keep a picture, and the one that keeps all."""
    return tuple(name for name, (_, keeps) in KEEPS.items() if name == "all" or any(map(keeps, leaves)))


def following(name: str, names: Sequence[str]) -> str:
    """The name after this one; after the last, or one that is not among them, the first."""
    return names[(names.index(name) + 1) % len(names)] if name in names else names[0]


def _key(key: str) -> Content:
    return dim("[") + Content.styled(key, "$title") + dim("] ")
