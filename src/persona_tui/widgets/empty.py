"""What an empty screen says: what is missing, and the key that changes it."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from persona_tui.widgets.failsafe import shell_of


class EmptyState(Widget):
    """A sentence or two in the middle, and the key for what to do next.

    Args:
        text: what is so; the first line is emphasised.
        action: name of the action to press next; its key is looked up in the registry.
        icon: stands above the text.
    """

    DEFAULT_CSS = """
    EmptyState { width: 1fr; height: 1fr; content-align: center middle; text-align: center; padding: 0 4; }
    """

    text: reactive[str] = reactive("", layout=True)
    action: reactive[str | None] = reactive[str | None](None, layout=True)

    def __init__(
        self,
        text: str,
        action: str | None = None,
        *,
        icon: str = "",
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.set_reactive(EmptyState.text, text)
        self.set_reactive(EmptyState.action, action)
        self._icon = icon

    def render(self) -> Content:
        first, _, rest = self.text.partition("\n")
        lines = [Content.styled(first, "bold")]
        if self._icon:
            lines = [Content(self._icon), Content(""), *lines]
        if rest:
            lines.append(Content.styled(rest, "$dim"))
        if self.action is not None:
            registry = shell_of(self).registry
            action = registry[self.action]
            lines += [
                Content(""),
                Content.assemble(
                    ("Press ", "$dim"),
                    (f"[{registry.label(action.name)}]", "$title bold"),
                    (f" {action.title.lower()}", "$dim"),
                ),
            ]
        return Content("\n").join(lines)
