"""The footer: dim `[k] word` pairs, as many as fit on its lines."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

from persona_tui.actions import GLOBAL, MODES, Action
from persona_tui.widgets.failsafe import shell_of

GAP = "  "


class Legend(Widget):
    """The keys of a screen or dialog, from the registry, in the order of their priority.

    What can't be done now is left out; what does not fit is announced by `more: ?`.

    Args:
        scope: whose actions are shown; on a screen the global ones follow.
    """

    DEFAULT_CSS = """
    Legend { padding: 0 1; height: 1; width: 100%; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, scope: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._scope = scope

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_updated)

    def _bindings_updated(self, _screen: Screen[object]) -> None:
        self.refresh()

    def actions(self) -> list[Action]:
        """What the legend would show on a line without end."""
        registry = shell_of(self).registry
        modal = self.screen.is_modal
        found = [
            action
            for scope in ((self._scope,) if modal else (self._scope, GLOBAL))
            for action in registry.actions(scope)
            if action.in_footer and self._possible(action)
        ]
        return sorted(found, key=lambda action: action.priority)

    def _possible(self, action: Action) -> bool:
        node = self.app if action.scope == GLOBAL else self.screen
        if not shell_of(self).worth_showing(action):
            return False
        return node.check_action(action.handler.removeprefix("action_"), ()) is True

    def render(self) -> Content:
        registry = shell_of(self).registry
        actions = self.actions()
        pairs = [_pair(registry.label(action.name), action) for action in actions]
        if not self.screen.is_modal:
            first, last = (registry.label(f"{GLOBAL}.{mode.name}") for mode in (MODES[0], MODES[-1]))
            pairs.append(_keys(f"{first}–{last}", "$title") + Content.styled("views", "$dim"))
        more = Content.styled(f"more: {registry.label(f'{GLOBAL}.help')}", "$dim")
        lines = _lines(pairs, more, self.size.width, max(self.size.height, 1))
        return Content("\n").join(Content(GAP).join(line) for line in lines)


def _lines(pairs: Sequence[Content], more: Content, room: int, count: int) -> list[list[Content]]:
    """The pairs on at most `count` lines of `room` columns; what does not fit gives way to `more`."""
    lines: list[list[Content]] = [[]]
    for pair in pairs:
        if _width([*lines[-1], pair]) <= room:
            lines[-1].append(pair)
        elif len(lines) < count:
            lines.append([pair])
        else:
            while lines[-1] and _width([*lines[-1], more]) > room:
                lines[-1].pop()
            lines[-1].append(more)
            break
    return lines


def _pair(key: str, action: Action) -> Content:
    style = "$error" if action.dangerous else "$title"
    return _keys(key, style) + Content.styled(action.title.lower(), "$dim")


def _keys(key: str, style: str) -> Content:
    return Content.assemble(("[", "$dim"), (key, style), ("] ", "$dim"))


def _width(pairs: Sequence[Content]) -> int:
    return sum(pair.cell_length for pair in pairs) + len(GAP) * max(len(pairs) - 1, 0)
