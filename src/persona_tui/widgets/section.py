"""UPPERCASE yellow words over a dim rule."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget


class SectionTitle(Widget):
    """A section's title with, in parentheses, what is worth knowing about it.

    Args:
        title: shown in capitals.
        note: secondary words behind it.
    """

    DEFAULT_CSS = """
    SectionTitle { height: 2; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    title: reactive[str] = reactive("")
    note: reactive[str] = reactive("")

    def __init__(
        self, title: str, note: str = "", *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.set_reactive(SectionTitle.title, title)
        self.set_reactive(SectionTitle.note, note)

    def render(self) -> Content:
        words = Content.styled(self.title.upper(), "$section bold")
        if self.note:
            words += Content.styled(f"  ({self.note})", "$dim")
        return Content("\n").join([words, Content.styled("─" * self.size.width, "$rule")])
