"""UPPERCASE yellow words over a dim rule."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget


class SectionTitle(Widget):
    """A section's title with, in parentheses, what is worth knowing about it.

    The rule below it is heavy while the keys go to its section: what lies beside it in the same container.

    Args:
        title: shown in capitals.
        note: secondary words behind it.
    """

    DEFAULT_CSS = """
    SectionTitle { height: 2; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    title: reactive[str] = reactive("")
    note: reactive[str] = reactive("")
    lit: reactive[bool] = reactive(False)

    def __init__(
        self, title: str, note: str = "", *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.set_reactive(SectionTitle.title, title)
        self.set_reactive(SectionTitle.note, note)

    def on_mount(self) -> None:
        self.watch(self.screen, "focused", self._follow)

    def _follow(self, focused: Widget | None) -> None:
        section = self.parent
        alone = section is not None and len(section.query_children(SectionTitle)) == 1
        self.lit = alone and focused is not None and section in focused.ancestors

    def render(self) -> Content:
        words = Content.styled(self.title.upper(), "$section bold")
        if self.note:
            words += Content.styled(f"  ({self.note})", "$dim")
        line, colour = ("━", "$section") if self.lit else ("─", "$rule")
        return Content("\n").join([words, Content.styled(line * self.size.width, colour)])
