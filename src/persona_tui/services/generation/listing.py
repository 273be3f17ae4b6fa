"""A run's pictures as a gallery: rating, votes, and who would go on, sorted and filtered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sqlmodel import Session

from persona_tui.errors import UnknownName
from persona_tui.services.generation.gate_preview import require_positive
from persona_tui.services.generation.progress import steps_of
from persona_tui.services.generation.tree import CandidateView, list_candidates
from persona_tui.services.voting import contest

Order = Literal["rank", "votes", "newest", "parent"]
Only = Literal["active", "rejected", "flagged", "advancing"]


@dataclass(frozen=True)
class GalleryPicture:
    """A picture with what the votes say of it.

    Attributes:
        rank: by rating among the active ones of its step, 1 the best; None for a rejected one.
        interval: of the rating, 90 %.
        votes: that showed it and count.
        advances: it would go on, or win, if the step's gate were approved now.
        may_win: no step follows its own.
    """

    picture: CandidateView
    rank: int | None
    interval: tuple[int, int] | None
    votes: int
    advances: bool
    may_win: bool


_ORDERS: dict[Order, Callable[[GalleryPicture], Any]] = {
    "rank": lambda one: (one.rank is None, one.rank or 0, one.picture.id),
    "votes": lambda one: (-one.votes, one.picture.id),
    "newest": lambda one: -one.picture.id,
    "parent": lambda one: (one.picture.parent_id or 0, one.rank is None, one.rank or 0),
}
_ONLY: dict[Only, Callable[[GalleryPicture], bool]] = {
    "active": lambda one: one.picture.status == "active",
    "rejected": lambda one: one.picture.status == "rejected",
    "flagged": lambda one: one.picture.flagged,
    "advancing": lambda one: one.advances,
}


def gallery(
    session: Session,
    run_id: int,
    *,
    position: int | None = None,
    k: int | None = None,
    order: Order = "rank",
    only: Only | None = None,
) -> tuple[GalleryPicture, ...]:
    """A run's pictures, step by step.

    Args:
        position: of one step; all steps without it.
        k: how many would go on, in place of what each step's gate says.

    Raises:
        UnknownName: there is no such run or step.
        InvalidRequest: k is under 1.
    """
    if k is not None:
        require_positive(k)
    steps = steps_of(session, run_id)
    if not steps:
        raise UnknownName(f"There is no run {run_id}.", hint="`persona-tui run list` shows them.")
    if position is not None and position not in {step.position for step in steps}:
        raise UnknownName(f"Run {run_id} has no step {position}.", hint="`persona-tui run show` lists them.")
    pictures, found = list_candidates(session, run_id), []
    for step in steps:
        if position in (None, step.position):
            standings = () if step.contest_id is None else contest.standings(session, step.contest_id).members
            known = {member.candidate_id: (rank, member) for rank, member in enumerate(standings, start=1)}
            through = k or (1 if step.is_last else step.top_k)
            listed = [
                _described(picture, known.get(picture.id), through, step.is_last)
                for picture in pictures
                if picture.run_step_id == step.id
            ]
            found += sorted(filter(_ONLY[only] if only else None, listed), key=_ORDERS[order])
    return tuple(found)


def _described(
    picture: CandidateView, standing: tuple[int, contest.Member] | None, k: int, may_win: bool
) -> GalleryPicture:
    if standing is None:
        return GalleryPicture(picture, None, None, 0, False, may_win)
    rank, member = standing
    return GalleryPicture(picture, rank, member.interval, member.votes, rank <= k, may_win)
