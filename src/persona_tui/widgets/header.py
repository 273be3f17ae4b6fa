"""The head of every screen: heavy cyan rules around title, persona, state and clock."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from persona_tui.actions import MODES
from persona_tui.widgets.failsafe import shell_of
from persona_tui.widgets.shell import CoreState

BAR_FROM = (150, 30)
"""Columns and rows from which there is room for the bar of modes."""


class ScreenHeader(Widget):
    """Three lines; on a large screen a fourth names the twelve views with their keys.

    Args:
        title: the screen's title.
        mode: name of the screen's mode, marked in the bar.
    """

    DEFAULT_CSS = """
    ScreenHeader { height: 3; width: 100%; text-wrap: nowrap; text-overflow: clip; }
    """

    def __init__(self, title: str, mode: str) -> None:
        super().__init__()
        self._title = title
        self._mode = mode

    def on_mount(self) -> None:
        shell = shell_of(self)
        for name in ("persona", "leader", "core_state", "database_away"):
            self.watch(shell, name, self._changed, init=False)
        self._tick()

    def _changed(self) -> None:
        self.refresh()

    def _tick(self) -> None:
        """Redraw once a minute, on the minute."""
        self.refresh()
        self.set_timer(60.05 - shell_of(self).now().second, self._tick)

    def on_resize(self) -> None:
        columns, rows = self.app.size
        self.styles.height = 4 if columns >= BAR_FROM[0] and rows >= BAR_FROM[1] else 3

    def set_title(self, title: str) -> None:
        """Show another title."""
        self._title = title
        self.refresh()

    def render(self) -> Content:
        width = self.size.width
        rule = Content.styled("━" * width, "$title bold")
        lines = [rule, self._title_line(width), rule]
        if self.size.height > len(lines):
            lines.insert(2, self._bar())
        return Content("\n").join(lines)

    def _title_line(self, width: int) -> Content:
        persona = shell_of(self).persona
        left = Content.styled(f"  {self._title}", "$title bold")
        right = self._state()
        room = width - right.cell_length - 1
        if persona is not None:
            left += Content.styled(f"  Persona: {persona.name}", "$title")
        left = left.truncate(room, ellipsis=True)
        return left.pad_right(width - left.cell_length - right.cell_length) + right

    def _state(self) -> Content:
        shell = shell_of(self)
        parts = []
        if shell.sandbox:
            parts.append(Content.styled(" ⚑ SANDBOX ", "bold $on-badge on $warning"))
        parts.append(_core_word(shell.core_state, shell.leader, shell.database_away))
        parts.append(Content.styled(f"{shell.now().astimezone(shell.zone):%H:%M} ", "$title"))
        return Content("  ").join(part for part in parts if part)

    def _bar(self) -> Content:
        registry = shell_of(self).registry
        parts = []
        for mode in MODES:
            here = mode.name == self._mode
            key = Content.styled(registry.label(f"global.{mode.name}"), "$title" if here else "$dim")
            word = Content.styled(f" {mode.short}", "$title bold underline" if here else "$dim")
            parts.append(key + word)
        return Content("  ") + Content("  ").join(parts)


def _core_word(state: CoreState, leader: bool | None, away: bool) -> Content:
    if away:
        return Content.styled("✖ database away", "$error")
    if state is CoreState.STARTING:
        return Content.styled("◌ starting…", "$dim")
    if state is CoreState.FAILED:
        return Content.styled("✖ not started", "$error")
    if leader is None:
        return Content.empty()
    return Content.styled("● leading", "$success") if leader else Content.styled("○ standing by", "$dim")
