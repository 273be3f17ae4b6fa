"""What the vote view asks before it accepts a choice that is hardly one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.marks import counted

if TYPE_CHECKING:
    from persona_tui.screens.vote_data import Scene


def question_before(scene: Scene) -> ConfirmDialog | None:
    """The one question before this scene's choice is accepted, if it needs one."""
    step = scene.step
    assert step is not None
    if step.unseen:
        return (
            _incomplete(step.unseen, step.wanted)
            if step.is_last
            else _go_on_when_complete(step.unseen, step.wanted)
        )
    votes = scene.standings.votes if scene.standings else 0
    chosen = 1 if step.is_last else scene.going_on
    if votes or step.active <= chosen or scene.leader is None:
        return None
    return _unjudged(step.active, scene.leader.candidate_id)


def _go_on_when_complete(unseen: int, wanted: int) -> ConfirmDialog:
    return ConfirmDialog(
        f"{counted(unseen, 'picture')} of {wanted} are still to come. Go on as soon as they are here?",
        "You can vote until then; the best by your votes go on.",
        title="Not complete yet",
        yes="Go on by itself",
        no="Wait for me",
    )


def _incomplete(unseen: int, wanted: int) -> ConfirmDialog:
    return ConfirmDialog(
        f"{counted(unseen, 'picture')} of {wanted} are still to come. Let the leading one win now?",
        "The rest is then not made.",
        title="Not complete yet",
        yes="It wins",
        no="Wait",
    )


def _unjudged(active: int, first: int) -> ConfirmDialog:
    return ConfirmDialog(
        f"You have not voted on these {active} pictures. Go on without?",
        f"All of them rate the same, so the oldest comes first: picture {first}.",
        title="No votes yet",
        yes="Go on",
        no="Vote first",
    )
