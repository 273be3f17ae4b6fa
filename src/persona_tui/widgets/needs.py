"""What a view will need before it can work, said plainly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.widget import Widget


@dataclass(frozen=True, slots=True)
class Need:
    """Something that must be there.

    Attributes:
        what: its name.
        why: what it is for, and where it comes from.
        there: whether it is there now; None when that is not looked at yet.
    """

    what: str
    why: str
    there: bool | None = None


class NeedsList(Widget):
    """A sentence on what the view will do, and a tree of what it needs.

    Args:
        about: what the view will do and when; lines are separated by line feeds.
        needs: what it needs.
    """

    DEFAULT_CSS = "NeedsList { width: 1fr; height: auto; padding: 1 2 0 2; }"

    def __init__(self, about: str, needs: Sequence[Need], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._about = about
        self._needs = tuple(needs)

    def render(self) -> Content:
        lines = [Content(self._about), Content("")]
        for index, need in enumerate(self._needs, 1):
            last = index == len(self._needs)
            lines += [Content.styled("└─ " if last else "├─ ", "$dim") + _state(need)]
            lines += [Content.styled(f"{' ' if last else '│'}    {need.why}", "$dim")]
        return Content("\n").join(lines)


def _state(need: Need) -> Content:
    dot, word, style = {
        True: ("●", "there", "$success"),
        False: ("○", "missing", "$warning"),
        None: ("◌", "not looked at yet", "$dim"),
    }[need.there]
    return Content.assemble((f"{dot} ", style), (need.what, "bold"), (f"  {word}", style))
