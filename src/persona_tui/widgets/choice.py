"""Pick one of a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Input

from persona_tui.widgets.data_list import Column, DataList
from persona_tui.widgets.dialog import Dialog

T = TypeVar("T")
ROWS = 14
"""Choices shown at once."""


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """One thing to choose.

    Attributes:
        value: what the dialog returns.
        label: what is shown and searched.
        note: dim words behind the label.
    """

    value: T
    label: str
    note: str = ""


class ChoiceDialog(Dialog[Choice[Any]]):
    """A list with a filter above it; every word typed must occur in a choice's label or note.

    The result is the `Choice`, or None.

    Args:
        title: in the border.
        choices: what can be chosen.
        current: the value under the cursor at first.
        empty: said when there is nothing to choose.
    """

    SCOPE = "choice"

    DEFAULT_CSS = """
    ChoiceDialog Input { margin-bottom: 1; }
    ChoiceDialog DataList { height: auto; max-height: 14; }
    """

    def __init__(
        self,
        title: str,
        choices: Sequence[Choice[Any]],
        *,
        current: object = None,
        empty: str = "nothing to choose from",
    ) -> None:
        super().__init__(title)
        self._choices = list(choices)
        self._current = current
        self._empty = empty

    def compose_content(self) -> ComposeResult:
        yield Input(placeholder="type to filter", compact=True)
        choices: DataList[Choice[Any]] = DataList(
            [Column("", share=3), Column("", share=2)],
            lambda choice: (choice.label, Content.styled(choice.note, "$dim")),
            key=id,
            empty=self._empty,
            classes="-active",
        )
        choices.can_focus = False
        yield choices

    @property
    def _list(self) -> DataList[Choice[Any]]:
        return self.query_one(DataList)

    def on_mount(self) -> None:
        self._list.styles.height = min(max(len(self._choices), 2), ROWS)
        self._list.show(self._choices)
        for choice in self._choices:
            if choice.value == self._current:
                self._list.go_to(id(choice))

    def on_input_changed(self, event: Input.Changed) -> None:
        words = event.value.casefold().split()
        self._list.show(
            [c for c in self._choices if all(word in f"{c.label} {c.note}".casefold() for word in words)]
        )

    def on_data_list_row_selected(self, event: DataList.RowSelected) -> None:
        self.dismiss(event.item)

    def action_take(self) -> None:
        self.dismiss(self._list.current)

    def on_input_submitted(self) -> None:
        self.action_take()

    def action_up(self) -> None:
        self._list.action_up()

    def action_down(self) -> None:
        self._list.action_down()

    def action_page_up(self) -> None:
        self._list.action_page_up()

    def action_page_down(self) -> None:
        self._list.action_page_down()

    def action_cancel(self) -> None:
        self.dismiss(None)
