"""A form: labelled fields, each with its own message, saved with Ctrl+S."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import DescendantBlur, DescendantFocus
from textual.widget import Widget
from textual.widgets import Input, Static, TextArea

from persona_tui.errors import PersonaError
from persona_tui.widgets.capped_scroll import CappedScroll
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.cycle import Cycle
from persona_tui.widgets.dialog import Dialog
from persona_tui.widgets.fields import CheckField, ChoiceField, Field, LongTextField, SecretField
from persona_tui.widgets.marks import say

Values = dict[str, Any]
OTHER_ROWS = 8
"""For frame, an outcome of a line and the legend."""


class FieldRow(Vertical):
    """A label, its control, and below them a hint or what is wrong."""

    DEFAULT_CSS = """
    FieldRow { height: auto; }
    FieldRow > Horizontal { height: auto; }
    FieldRow Input { width: 1fr; }
    FieldRow .label { width: 20; padding-right: 1; }
    FieldRow .message { margin-left: 20; height: auto; display: none; }
    FieldRow.-said .message { display: block; }
    FieldRow TextArea { border: none; padding: 0; background: $panel; }
    """

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field
        self._wrong = False

    def compose(self) -> ComposeResult:
        label = Content(self.field.label)
        if self.field.required:
            label += Content.styled(" *", "$section")
        with Horizontal():
            yield Static(label, classes="label")
            yield _control(self.field)
        yield Static("", classes="message", markup=False)

    @property
    def wrong(self) -> bool:
        """Whether its value was found wrong."""
        return self._wrong

    @property
    def control(self) -> Widget:
        """The widget that holds the value."""
        return self.query_one("#value")

    @property
    def controls(self) -> list[Widget]:
        """All that can be typed into or stepped through now, from left to right."""
        return [control for control in self.query("Input, Cycle, TextArea") if not control.disabled]

    def raw(self) -> Any:
        """What the control holds, unread."""
        control = self.control
        if isinstance(control, TextArea):
            return control.text
        if isinstance(control, Input | Cycle):
            return control.value
        raise TypeError(f"no value in {type(control).__name__}")

    def read(self) -> Any:
        """The field's value.

        Raises:
            ValueError: a sentence on what is wrong; it is also shown under the field.
        """
        raw = self.raw()
        try:
            value = self.field.read(raw) if isinstance(raw, str) else raw
        except ValueError as problem:
            self.complain(str(problem))
            raise
        self.settle()
        return value

    def complain(self, problem: str) -> None:
        """Show what is wrong with the value."""
        self._wrong = True
        self._say(say("error", problem))

    def settle(self) -> None:
        """Take the complaint away; with the focus inside, the hint comes back."""
        self._wrong = False
        inside = self.has_focus_within
        self._say(Content.styled(self.field.hint, "$dim") if inside and self.field.hint else None)

    def _say(self, words: Content | None) -> None:
        self.set_class(words is not None, "-said")
        self.query_one(".message", Static).update(words or "")

    def on_descendant_focus(self, _event: DescendantFocus) -> None:
        if not self._wrong:
            self.settle()

    def on_descendant_blur(self, _event: DescendantBlur) -> None:
        if not self._wrong:
            self._say(None)


def _control(field: Field) -> Widget:
    if isinstance(field, ChoiceField):
        return Cycle(field.choices, field.index(), title=field.label, id="value")
    if isinstance(field, CheckField):
        return Cycle(((False, "no"), (True, "yes")), int(bool(field.value)), title=field.label, id="value")
    if isinstance(field, LongTextField):
        area = TextArea(field.written(), compact=True, id="value", soft_wrap=True)
        area.styles.height = field.rows
        return area
    return Input(field.written(), password=isinstance(field, SecretField), compact=True, id="value")


class FormDialog(Dialog[Values]):
    """Asks for several values at once; the result is {name: value}, or None.

    Args:
        title: in the border.
        fields: from top to bottom.
        about: a sentence above them.
        busy: said while `submit` works.
        submit: carries the form out while it is still open, so that an error leaves what was typed:
            a `PersonaError` is shown in the form, and only success closes it.
    """

    SCOPE = "form"
    DEFAULT_CSS = """
    FormDialog > #frame { width: 78; }
    FormDialog #about { color: $dim; margin-bottom: 1; }
    FormDialog #outcome { height: auto; margin-top: 1; display: none; }
    FormDialog.-told #outcome { display: block; }
    """

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        *,
        about: str = "",
        busy: str = "Saving…",
        submit: Callable[[Values], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__(title)
        self._fields = tuple(fields)
        self._about = about
        self._busy = busy
        self._submit = submit
        self._before: list[Any] = []

    def compose_content(self) -> ComposeResult:
        if self._about:
            yield Static(self._about, id="about", markup=False)
        with CappedScroll(others=OTHER_ROWS, id="fields"):
            for field in self._fields:
                yield FieldRow(field)
        yield Static("", id="outcome", markup=False)

    @property
    def rows(self) -> list[FieldRow]:
        """The fields' rows, from top to bottom."""
        return list(self.query(FieldRow))

    def on_mount(self) -> None:
        self._before = [row.raw() for row in self.rows]

    def _tell(self, words: Content | None) -> None:
        self.set_class(words is not None, "-told")
        self.query_one("#outcome", Static).update(words or "")

    def _row_of(self, node: Widget | None) -> FieldRow | None:
        return next((row for row in self.rows if node is not None and row in node.ancestors_with_self), None)

    def on_descendant_focus(self, _event: DescendantFocus) -> None:
        self.call_after_refresh(self._show_focused)

    def on_descendant_blur(self, event: DescendantBlur) -> None:
        """A field is checked when it is left, not while it is being typed."""
        row = self._row_of(event.widget)
        if row is not None and row.raw() not in ("", None):
            self._checked(row)
        self.call_after_refresh(self._show_focused)  # its hint is gone, so that what is below has moved

    def _show_focused(self) -> None:
        row = self._row_of(self.focused)
        if row is not None and self.focused is not None:
            row.scroll_visible(animate=False, immediate=True)
            self.focused.scroll_visible(animate=False, immediate=True)

    def on_input_changed(self, event: Input.Changed) -> None:
        row = self._changed(event.input)
        typed = event.input.has_focus and event.value.strip()
        if typed and row is not None and row.field.implies is not None:
            name, value = row.field.implies
            for control in (other.control for other in self.rows if other.field.name == name):
                assert isinstance(control, Cycle)
                control.choose(value)

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        self._changed(event.text_area)

    def on_cycle_changed(self, event: Cycle.Changed) -> None:
        self._changed(event.cycle)

    def _changed(self, control: Widget) -> FieldRow | None:
        """What was wrong with the value, or with all of it, is no longer said of another one."""
        row = self._row_of(control)
        if row is not None:
            self._tell(None)
            if row.wrong:
                row.settle()
        return row

    def _checked(self, row: FieldRow) -> bool:
        try:
            row.read()
        except ValueError:
            return False
        return True

    def on_input_submitted(self) -> None:
        self.action_next()

    @property
    def _controls(self) -> list[Widget]:
        return [control for row in self.rows for control in row.controls]

    def action_next(self) -> None:
        controls = self._controls
        if self.focused not in controls or self.focused is controls[-1]:
            self.action_save()
        else:
            controls[controls.index(self.focused) + 1].focus()

    def action_down(self) -> None:
        self._step(1)

    def action_up(self) -> None:
        self._step(-1)

    def _step(self, by: int) -> None:
        controls = self._controls
        here = controls.index(self.focused) if self.focused in controls else -by
        controls[min(max(here + by, 0), len(controls) - 1)].focus()

    def action_save(self) -> None:
        self.spawn(self._save, group="save", exclusive=True)

    async def _save(self) -> None:
        values: Values = {}
        wrong: list[FieldRow] = []
        for row in self.rows:
            try:
                values[row.field.name] = row.read()
            except ValueError:
                wrong.append(row)
        if wrong:
            wrong[0].control.focus()
            return
        if self._submit is not None and not await self._carried_out(values):
            return
        self.dismiss(values)

    async def _carried_out(self, values: Values) -> bool:
        assert self._submit is not None
        self._tell(say("busy", self._busy))
        try:
            await self._submit(values)
        except PersonaError as error:
            self._tell(say("error", error.message) + Content.styled(f" {error.hint}", "$dim"))
            return False
        return True

    def action_cancel(self) -> None:
        if [row.raw() for row in self.rows] == self._before:
            self.dismiss(None)
        else:
            self.spawn(self._ask_and_close, group="close", exclusive=True)

    async def _ask_and_close(self) -> None:
        question = ConfirmDialog(
            "Throw away what you have typed?", title=self._dialog_title, yes="Throw away", no="Keep typing"
        )
        if await self.app.push_screen_wait(question):
            self.dismiss(None)
