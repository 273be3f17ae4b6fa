"""What Ideas shows: rows by status, and an idea in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.screens.dashboard_lines import gap_words
from persona_tui.widgets.marks import counted, dim

if TYPE_CHECKING:
    from persona_tui.services.planning.ideas import IdeaView
    from persona_tui.services.planning.overview import PillarBranch

STATUS_MARKS = {
    "pending": ("◌", "pending", "$section"),
    "accepted": ("●", "accepted", "$success"),
    "used": ("▶", "used", "$info"),
    "rejected": ("✖", "rejected", "$dim"),
}
"""Icon, word and style of each group, in their order."""


@dataclass(frozen=True, slots=True)
class IdeaRow:
    """An idea in the list; the first one of its group names the group with its size."""

    idea: IdeaView
    group_size: int | None


def grouped(ideas: Sequence[IdeaView]) -> list[IdeaRow]:
    """The ideas by status, the newest first in each group."""
    rows: list[IdeaRow] = []
    for status in STATUS_MARKS:
        group = [idea for idea in ideas if idea.status == status]
        rows += [IdeaRow(idea, None if place else len(group)) for place, idea in enumerate(group)]
    return rows


def list_note(which: str, branches: Sequence[PillarBranch]) -> str:
    """What the list holds, and the pillar that lacks most.

    Args:
        branches: the pillar with the largest gap first.
    """
    gap = branches[0].gap if branches else None
    if gap is None or gap.gap <= 0:
        return which
    return f"{which}; {gap.name} lacks {counted(gap.gap, 'picture')}"


def about(idea: IdeaView) -> Content:
    """All of an idea but its prompt."""
    icon, word, style = STATUS_MARKS[idea.status]
    origin = f"  {idea.pillar}, by {idea.written_by or 'unknown'}"
    lines = [
        Content.styled(idea.title, "bold"),
        Content.assemble((f"{icon} {word}", style), (origin, "$dim")),
    ]
    if idea.reason:
        why = "Rejected" if idea.status == "rejected" else "Why"
        lines.append(dim(f"{why}: {idea.reason}"))
    if idea.description:
        lines += [Content(""), Content(idea.description)]
    return Content("\n").join(lines)


def pillar_words(branch: PillarBranch) -> str:
    """A pillar and its gap, for choosing."""
    state = gap_words(branch.gap.gap) if branch.gap else "out of its dates"
    return f"{branch.pillar.name}, {state}"
