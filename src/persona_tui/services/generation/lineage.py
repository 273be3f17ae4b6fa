"""A run's pictures as the tree that they are, and the way that led to one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from persona_tui.errors import UnknownName
from persona_tui.services.generation.tree import CandidateView


@dataclass(frozen=True)
class Branch:
    """A picture with all that grew from it, the best first."""

    candidate: CandidateView
    children: tuple[Branch, ...]


def as_tree(candidates: Sequence[CandidateView]) -> tuple[Branch, ...]:
    """The run's pictures under those from which they grew.

    Args:
        candidates: as `list_candidates` gives them: step by step, the best first.
    """
    grown: dict[int | None, list[Branch]] = {}
    for candidate in reversed(candidates):
        below = tuple(reversed(grown.pop(candidate.id, [])))
        grown.setdefault(candidate.parent_id, []).append(Branch(candidate, below))
    return tuple(reversed(grown.get(None, [])))


def lineage_of(candidates: Sequence[CandidateView], candidate_id: int) -> tuple[CandidateView, ...]:
    """The pictures that led to one, the first step's first, itself last.

    Raises:
        UnknownName: it is not among them.
    """
    known = {candidate.id: candidate for candidate in candidates}
    if candidate_id not in known:
        raise UnknownName(
            f"Picture {candidate_id} is not one of this run's.", hint="`persona-tui run tree` shows them."
        )
    way = [known[candidate_id]]
    while (parent := way[-1].parent_id) is not None:
        way.append(known[parent])
    return tuple(reversed(way))


def branch_of(tree: Sequence[Branch], candidate_id: int) -> Branch:
    """The branch that begins with a picture.

    Raises:
        UnknownName: it is not in the tree.
    """
    waiting = list(tree)
    while waiting:
        branch = waiting.pop()
        if branch.candidate.id == candidate_id:
            return branch
        waiting.extend(branch.children)
    raise UnknownName(
        f"Picture {candidate_id} is not one of this run's.", hint="`persona-tui run tree` shows them."
    )
