"""The message line: a dim rule that says one thing for a few seconds."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.timer import Timer
from textual.widget import Widget

from persona_tui.widgets.marks import say
from persona_tui.widgets.shell import Level


class Flash(Widget):
    """One line above the legend.

    It costs a line of text on the wire, where a toast costs a redraw of the screen. What stays true,
    such as "database is away", is `standing`; what happened, such as "saved", is said over it and goes away.
    """

    DEFAULT_CSS = """
    Flash { height: 1; width: 100%; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    message: reactive[tuple[Level, str] | None] = reactive[tuple[Level, str] | None](None)
    """What has just happened."""
    standing: reactive[tuple[Level, str] | None] = reactive[tuple[Level, str] | None](None)
    """What stays true until it is taken away."""

    def __init__(self) -> None:
        super().__init__()
        self._clear_timer: Timer | None = None

    def say(self, text: str, level: Level = "ok", *, seconds: float = 6.0) -> None:
        """Show a sentence for some seconds, in place of the one before."""
        if self._clear_timer is not None:
            self._clear_timer.stop()
        self.message = (level, " ".join(text.split()))
        self._clear_timer = self.set_timer(seconds, self.clear)

    def unsay(self, message: tuple[Level, str]) -> None:
        """Take this sentence away, if it is still the one that is shown."""
        if self.message is message:
            self.clear()

    def clear(self) -> None:
        """Take the sentence away."""
        self.message = None

    def render(self) -> Content:
        shown = self.message or self.standing
        if shown is None:
            return Content.styled("─" * self.size.width, "$rule")
        level, text = shown
        return Content(" ") + say(level, text)
