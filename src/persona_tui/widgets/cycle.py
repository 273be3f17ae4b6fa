"""A choice on one line: ◂ casual ▸."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from persona_tui.actions import TABLES, bindings
from persona_tui.widgets.choice import Choice, ChoiceDialog


class Cycle(Widget, can_focus=True):
    """Steps through a few values with ← and →; Space lists them all.

    Args:
        choices: (value, label) pairs.
        index: the first one shown.
        title: of the list that Space opens.
    """

    SCOPES: ClassVar[tuple[str, ...]] = ("cycle",)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(TABLES["cycle"])]
    DEFAULT_CSS = """
    Cycle { height: 1; width: 1fr; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }
    Cycle:focus { background: $block-cursor-background; color: $block-cursor-foreground; }
    """

    index: reactive[int] = reactive(0, init=False)

    @dataclass
    class Changed(Message):
        """Another value is shown."""

        cycle: Cycle

        @property
        def control(self) -> Cycle:
            return self.cycle

    def __init__(
        self, choices: Sequence[tuple[Any, str]], index: int = 0, *, title: str = "", id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self._choices = tuple(choices)
        self._title = title
        self.set_reactive(Cycle.index, index)

    @property
    def value(self) -> Any:
        """The value shown; None when there are no choices."""
        return self._choices[self.index][0] if self._choices else None

    def choose(self, value: object) -> bool:
        """Show a value; False if it is none of the choices."""
        for index, (one, _) in enumerate(self._choices):
            if one == value:
                self.index = index
                return True
        return False

    def offer(self, choices: Sequence[tuple[Any, str]]) -> None:
        """Put other choices in the place of these; a value that is still among them stays."""
        held = self.value
        self._choices = tuple(choices)
        self.index = next((i for i, (value, _) in enumerate(self._choices) if value == held), 0)
        self.refresh()

    def validate_index(self, index: int) -> int:
        return index % len(self._choices) if self._choices else 0

    def watch_index(self) -> None:
        self.post_message(self.Changed(self))

    def render(self) -> Content:
        if not self._choices:
            return Content.styled("nothing to choose from", "$dim")
        return Content.assemble(
            ("◂ ", "$title"),
            self._choices[self.index][1],
            (" ▸", "$title"),
            (f"  {self.index + 1} of {len(self._choices)}", "$dim"),
        )

    def action_previous(self) -> None:
        self.index -= 1

    def action_next(self) -> None:
        self.index += 1

    def action_list(self) -> None:
        if len(self._choices) <= 2:
            self.index += 1
            return
        listed = [Choice(number, label) for number, (_, label) in enumerate(self._choices)]
        self.app.push_screen(ChoiceDialog(self._title, listed, current=self.index), self._take)

    def _take(self, choice: Choice[int] | None) -> None:
        if choice is not None:
            self.index = choice.value
