"""Small pieces of the look: prefixes, stock dots, trees, days, each with a word beside the colour.

They return `Content`, so they can be joined with `+` and shown by any widget; nothing that comes from
outside is read as markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from textual.content import Content

from persona_tui.widgets.shell import Level

PREFIX: dict[Level, tuple[str, str, str]] = {
    "ok": ("✅", "Done", "$success"),
    "error": ("❌", "Failed", "$error"),
    "warn": ("⚠ ", "Careful", "$warning"),
    "info": ("ℹ ", "Note", "$info"),
    "busy": ("⏳", "Busy", "$title"),
}
"""Icon, word and style for each level of a message; every icon is two columns wide.

None has a variation selector (U+FE0F): terminals disagree on the width of such signs, and a row that
is a column off leaves dirt behind.
"""

RANKS = ("🔴", "🟡", "🔵")
"""Icons of the first, second and third thing to do next."""

A_MINUTE = timedelta(minutes=1)
"""Until then what is due is not overdue: it is the publisher's next round."""
PLENTY = 3
"""Unposted pictures from which a cluster counts as well stocked."""


def say(level: Level, text: str) -> Content:
    """A sentence behind its icon, in its colour."""
    icon, _, style = PREFIX[level]
    return Content.assemble((f"{icon} ", style), (text, style))


def dim(text: str) -> Content:
    """Secondary words."""
    return Content.styled(text, "$dim")


def stock_dot(unposted: int, *, word: bool = True) -> Content:
    """How well stocked a cluster is: ● plenty (3 or more), ◐ low (1 or 2), ○ empty.

    Args:
        unposted: pictures not yet posted.
        word: add the word, so that the colour is not needed.
    """
    if unposted >= PLENTY:
        dot, name, style = "●", "plenty", "$success"
    elif unposted > 0:
        dot, name, style = "◐", "low", "$warning"
    else:
        dot, name, style = "○", "empty", "$error"
    return Content.styled(f"{dot} {name}" if word else dot, style)


def tree(children: Sequence[Content | str], *, indent: int = 4) -> Iterable[Content]:
    """The children's lines behind dim connectors: ├─ for all but the last, └─ for that."""
    for index, child in enumerate(children, 1):
        connector = "└─ " if index == len(children) else "├─ "
        line = child if isinstance(child, Content) else Content(child)
        yield Content.styled(" " * indent + connector, "$dim") + line


def short(text: str, length: int) -> str:
    """The text on one line, cut to `length` characters with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: max(length - 1, 0)].rstrip() + "…"


def days_away(moment: datetime, now: datetime, *, due: bool = False) -> str:
    """`in 2d`, `3d ago`, `today`; with `due`, the past is `due now`, after a minute `5d overdue`.

    Whole days, truncated.
    """
    days = int((moment - now).total_seconds() / 86400)
    if moment < now:
        if due and now - moment < A_MINUTE:
            return "due now"
        if due:
            return f"{-days}d overdue" if days else "overdue"
        return f"{-days}d ago" if days else "earlier today" if moment.date() == now.date() else "1d ago"
    return f"in {days}d" if days else "today" if moment.date() == now.date() else "in 1d"


def duration(seconds: float) -> str:
    """A length of time in its two largest units: `45 s`, `3 min 20 s`, `2 h 05 min`, `4 d 3 h`."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 photo`, `12,000 photos`, `no photos`."""
    word = noun if number == 1 else plural or noun + "s"
    return f"{number:,} {word}" if number else f"no {word}"
