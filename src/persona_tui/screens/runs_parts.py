"""Titled parts, one below the other: the panel beside or below what a view is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from persona_tui.widgets.section import SectionTitle

Parts = Iterable[tuple[str, list[Content]]]
"""Titles with their lines."""


class PartsPanel(VerticalScroll, can_focus=False):
    """Shows the parts that have lines, in the order of their titles; `-compact` leaves the titles out
    and cuts long lines.

    Args:
        titles: every title that may come, from top to bottom.
    """

    DEFAULT_CSS = """
    PartsPanel { scrollbar-size-vertical: 1; }
    PartsPanel .part { height: auto; margin-bottom: 1; }
    PartsPanel .part > Static { height: auto; }
    PartsPanel.-compact .part { margin-bottom: 0; }
    PartsPanel.-compact SectionTitle { display: none; }
    PartsPanel.-compact .part > Static { text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, titles: Sequence[str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._titles = tuple(titles)
        self._shown: dict[str, Content] = {}

    def compose(self) -> ComposeResult:
        for title in self._titles:
            with Vertical(classes="part"):
                yield SectionTitle(title)
                yield Static(markup=False)

    def show(self, parts: Parts) -> None:
        """Replace the lines; a part that stays as it is costs nothing."""
        found = {title: Content("\n").join(lines) for title, lines in parts if lines}
        for part, title in zip(self.query(".part").results(Vertical), self._titles, strict=True):
            before, now = self._shown.get(title), found.get(title)
            part.display = now is not None
            if now is not None and (before is None or not now.is_same(before)):
                lines = part.query_one(Static)
                lines.update(now, layout=before is None or _height(lines, now) != lines.size.height)
        self._shown = found


def _height(lines: Static, now: Content) -> int:
    """Rows that other words would take; where they are as many, nothing has to be laid out anew."""
    return now.get_height(lines.styles.get_rules(), lines.size.width) if lines.size.width else 0
