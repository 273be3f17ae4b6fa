"""The frame of every dialog: a thick cyan border with the title set into it."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from persona_tui.actions import TABLES, bindings
from persona_tui.widgets.failsafe import Failsafe
from persona_tui.widgets.legend import Legend
from persona_tui.widgets.too_small import TooSmall

Result = TypeVar("Result")
TALLEST = 92
"""Of the screen's height, in per cent."""


class Dialog(Failsafe, ModalScreen[Result], Generic[Result]):
    """A modal dialog; subclasses compose its content and name the scope of its keys.

    Args:
        title: shown in the border.
    """

    SCOPE: ClassVar[str] = ""
    DANGEROUS_CLASS: ClassVar[str] = "-dangerous"

    DEFAULT_CSS = f"""
    Dialog {{ align: center middle; background: $background 70%; layers: default too-small; }}
    Dialog > #frame {{
        width: 72; max-width: 96%; height: auto; max-height: {TALLEST}%; padding: 1 2 0 2;
        background: $surface; border: heavy $title; border-title-color: $title; border-title-style: bold;
    }}
    Dialog.-dangerous > #frame {{ border: heavy $error; border-title-color: $error; }}
    Dialog > #frame > Legend {{ margin-top: 1; padding: 0; }}
    """

    def __init_subclass__(cls, **options: object) -> None:
        if "SCOPE" in cls.__dict__:
            own: list[BindingType] = [*bindings(TABLES[cls.SCOPE])]
            cls.BINDINGS = own
        super().__init_subclass__(**options)  # type: ignore[arg-type]

    def __init__(self, title: str, *, dangerous: bool = False) -> None:
        super().__init__(classes=self.DANGEROUS_CLASS if dangerous else None)
        self._dialog_title = title

    def compose(self) -> ComposeResult:
        with Vertical(id="frame") as frame:
            frame.border_title = self._dialog_title
            yield from self.compose_content()
            yield Legend(self.SCOPE)
        yield TooSmall()

    def compose_content(self) -> ComposeResult:
        """The widgets between the title and the legend."""
        yield from ()
