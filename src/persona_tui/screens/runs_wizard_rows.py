"""Rows that only the run wizard has: N and K of a step, and the rail that says where the cursor is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from persona_tui.widgets.cycle import Cycle
from persona_tui.widgets.fields import Field, IntegerField, NumberField
from persona_tui.widgets.form import FieldRow
from persona_tui.widgets.marks import dim

MOST = 64
"""Pictures per parent, and pictures that go on, at most."""


@dataclass(frozen=True, kw_only=True)
class StepField(Field):
    """N and K of a step; gives the pair.

    Attributes:
        is_last: no gate follows, so that K says nothing.
    """

    first: bool = False
    is_last: bool = False


class StepRow(FieldRow):
    """`1 base   makes [4 ]  best [1 ] go on`, and behind it what comes of it."""

    DEFAULT_CSS = """
    StepRow .label { width: 14; }
    StepRow .message { margin-left: 14; }
    StepRow .word { width: auto; padding-right: 1; color: $dim; }
    StepRow .makes { width: 11; }
    StepRow Input { width: 4; margin-right: 1; }
    StepRow .outcome { width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, field: StepField) -> None:
        super().__init__(field)
        self.step = field

    def compose(self) -> ComposeResult:
        count, top_k = self.step.value
        with Horizontal():
            yield Static(self.step.label, classes="label", markup=False)
            yield Static("makes" if self.step.first else "each makes", classes="word makes")
            yield Input(str(count), compact=True, id="value", classes="number")
            if not self.step.is_last:
                yield Static("best", classes="word")
                yield Input(str(top_k), compact=True, classes="number")
                yield Static("go on", classes="word")
            yield Static(classes="outcome", markup=False)
        yield Static("", classes="message", markup=False)

    def raw(self) -> tuple[str, ...]:
        return tuple(entry.value for entry in self.query(Input))

    def plan(self) -> tuple[int, int] | None:
        """N and K as they are typed; None while they can't be used."""
        try:
            return self._parsed()
        except ValueError:
            return None

    def _parsed(self) -> tuple[int, int]:
        number = IntegerField(name="n", label="", required=True, minimum=1, maximum=MOST)
        count, *rest = (number.read(typed) for typed in self.raw())
        return count, rest[0] if rest else self.step.value[1]

    def read(self) -> Any:
        try:
            value = self._parsed()
        except ValueError as problem:
            self.complain(str(problem))
            raise
        self.settle()
        return value

    def show_outcome(self, words: Content) -> None:
        """What comes of N and K, behind them."""
        self.query_one(".outcome", Static).update(words)


@dataclass(frozen=True, kw_only=True)
class LoraField(Field):
    """Whether a LoRA is used, and at which weight; gives the pair.

    Attributes:
        about: its kind and family.
    """

    about: str = ""


class LoraRow(FieldRow):
    """`mira@2   ◂ on ▸  weight [0.8 ]  character, flux`; greyed where the pipeline can't use it."""

    DEFAULT_CSS = """
    LoraRow Cycle { width: 16; margin-right: 2; }
    LoraRow .word { width: auto; padding-right: 1; color: $dim; }
    LoraRow Input { width: 6; margin-right: 2; }
    LoraRow .outcome { width: 1fr; color: $dim; text-wrap: nowrap; text-overflow: ellipsis; }
    LoraRow.-unfit Static, LoraRow.-unfit Input, LoraRow.-unfit Cycle { color: $dim; text-style: dim; }
    """

    def __init__(self, field: LoraField) -> None:
        super().__init__(field)
        self.lora = field

    def compose(self) -> ComposeResult:
        used, weight = self.lora.value
        with Horizontal():
            yield Static(self.lora.label, classes="label", markup=False)
            yield Cycle(((False, "off"), (True, "on")), int(used), title=self.lora.label, id="value")
            yield Static("weight", classes="word")
            yield Input(f"{weight:g}", compact=True)
            yield Static(self.lora.about, classes="outcome", markup=False)
        yield Static("", classes="message", markup=False)

    def fit(self, why_not: str | None) -> None:
        """Grey it out with the reason, or let it be chosen."""
        self.set_class(why_not is not None, "-unfit")
        for control in self.query("Cycle, Input"):
            control.disabled = why_not is not None
        self._say(dim(f"✗ {why_not}") if why_not is not None else None)

    def put(self, used: bool, weight: str) -> None:
        """Show another use and weight."""
        self.query_one(Cycle).choose(used)
        self.query_one(Input).value = weight

    def raw(self) -> tuple[bool, str]:
        return bool(self.query_one(Cycle).value), self.query_one(Input).value

    def read(self) -> Any:
        on, typed = self.raw()
        number = NumberField(name="w", label="", required=True, minimum=0, maximum=1)
        try:
            weight = float(number.read(typed))
        except ValueError as problem:
            self.complain(str(problem))
            raise
        self.settle()
        return on, weight


class Rail(Static):
    """`● Picture ─ ○ Pipeline ─ ○ Steps`: the sections, the one with the cursor marked."""

    DEFAULT_CSS = "Rail { height: 1; margin-bottom: 1; text-wrap: nowrap; text-overflow: ellipsis; }"

    def __init__(self) -> None:
        super().__init__(markup=False)

    def mark(self, titles: Sequence[str], current: str, wrong: Collection[str] = ()) -> None:
        """Mark the section with the cursor, and those with a bad value."""
        parts = []
        for title in titles:
            here = title == current
            icon = "✗" if title in wrong else "●" if here else "○"
            style = "$error" if title in wrong else "$title" if here else "$dim"
            parts.append(Content.styled(f"{icon} {title}", f"{style} bold" if here else style))
        self.update(Content.styled(" ── ", "$rule").join(parts))
