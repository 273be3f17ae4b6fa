"""What the vote view says once in its message line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persona_tui.widgets.marks import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from persona_tui.screens.vote_changes import Accepted, Outcome
    from persona_tui.services.voting.comparison import ComparisonState
    from persona_tui.services.voting.contest import OpenContest, Standings


def accepted(done: Accepted) -> str:
    """What was accepted, in a sentence."""
    if done.winner_id is not None:
        draft = " A draft post is made of it." if done.post_id is not None else ""
        return f"Picture {done.winner_id} won.{draft}"
    went = "The best picture goes on" if done.went_on == 1 else f"The best {done.went_on} pictures go on"
    return f"{went}: {done.step} makes {counted(done.to_come, 'picture')}."


def rejected(candidate_id: int, outcome: Outcome, undo: str) -> str:
    """What went along with a rejected picture, and the key that takes it back."""
    return f"Picture {candidate_id} is rejected{_along(outcome.along)}. [{undo}] takes it back."


def came_back(candidate_id: int, outcome: Outcome) -> str:
    """What came back with a picture."""
    if not outcome.counted:
        return f"Picture {candidate_id} was taken back elsewhere already."
    return f"Picture {candidate_id} is back{_along(outcome.along)}."


def _along(steps: Sequence[tuple[str, int]]) -> str:
    if not steps:
        return ""
    parts = [f"{counted(number, 'picture')} of {step}" for step, number in steps]
    return f", with {' and '.join(parts)} that grew from it"


def not_counted(outcome: Outcome) -> str:
    """Why a vote was not counted, and what is on the screen in its place."""
    if outcome.closed:
        return "Not counted: this step was accepted elsewhere meanwhile, so it needs no vote any more."
    return f"Not counted: {gone(outcome.gone)}. Here is what comes next."


def gone(candidates: Sequence[int]) -> str:
    """`picture 7 was rejected elsewhere meanwhile`."""
    if len(candidates) == 1:
        return f"picture {candidates[0]} was rejected elsewhere meanwhile"
    listed = " and ".join(str(number) for number in candidates)
    return f"pictures {listed} were rejected elsewhere meanwhile"


def waiting(contest: OpenContest, standing: Standings) -> str:
    """A contest in the queue: `4 pictures, 12 votes, 81 %`."""
    pictures, votes = counted(contest.pictures, "picture"), counted(contest.votes, "vote")
    if contest.pictures < 2:
        return f"{pictures}, nothing to compare"
    if not contest.votes:
        return f"{pictures}, no votes"
    return f"{pictures}, {votes}, " + ("✅ sure" if standing.sure else f"{standing.p_top_k:.0%}")


def between(state: ComparisonState) -> str:
    """A contest between two LoRAs in the queue: `LoRA mira: @2 or @1`."""
    (name, version), (other, other_version) = state.lora.split("@"), state.beside.split("@")
    if name == other:
        return f"LoRA {name}: @{version} or @{other_version}"
    return f"LoRA {state.lora} or {state.beside}"


def pairs(state: ComparisonState) -> str:
    """What waits of it: `12 pairs, 3 votes`."""
    waiting = counted(state.to_vote, "pair")
    return f"{waiting}, {counted(state.voted, 'vote') if state.voted else 'no votes'}"
