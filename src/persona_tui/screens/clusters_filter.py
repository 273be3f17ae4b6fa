"""Which pictures of a shelf are shown: chips with a key each, a line to type in, and a form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, tzinfo
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input, Static

from persona_tui.actions import TABLES, bindings
from persona_tui.widgets.fields import ChoiceField, DateField
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.marks import dim
from persona_tui.widgets.marks import short as cut

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.actions import Registry
    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.library.pictures import Order, PictureFilters

Steps = tuple[tuple[str, Mapping[str, Any]], ...]

CHIPS: Mapping[str, Steps] = {
    "posted": (("posted or not", {}), ("○ unposted", {"posted": False}), ("✅ in a post", {"posted": True})),
    "faces": (
        ("any faces", {}),
        ("with a face", {"faces_min": 1}),
        ("one face", {"faces_min": 1, "faces_max": 1}),
        ("no face", {"faces_max": 0}),
    ),
    "flagged": (("flagged or not", {}), ("⚑ flagged", {"flagged": True})),
    "rating": (
        ("any rating", {}),
        ("rating 1000+", {"rating_min": 1000}),
        ("rating 1100+", {"rating_min": 1100}),
        ("rating 1200+", {"rating_min": 1200}),
    ),
    "kind": (
        ("every kind", {}),
        ("photos", {"kind": "still"}),
        ("videos", {"kind": "video"}),
        ("generated", {"kind": "generated"}),
    ),
}
"""Name of each chip → its steps, the first of which asks for nothing: words, and filters by name."""
ORDERS: Mapping[Order | None, str] = {
    None: "as it lies",
    "newest": "newest first",
    "oldest": "oldest first",
    "taken": "by day taken",
    "rating": "best first",
}


@dataclass(frozen=True)
class Chips:
    """What is filtered for.

    Attributes:
        steps: name of a chip → its step; those at their first are left out.
        words: part of a name or caption.
        more: filters from the form, by name.
        order: None is the shelf's own.
    """

    steps: tuple[tuple[str, int], ...] = ()
    words: str = ""
    more: tuple[tuple[str, Any], ...] = ()
    order: Order | None = None

    @property
    def active(self) -> bool:
        """Whether anything is left out."""
        return bool(self.steps or self.words or self.more)

    def stepped(self, name: str) -> Chips:
        """With a chip at its next step."""
        steps = dict(self.steps)
        step = (steps.pop(name, 0) + 1) % len(CHIPS[name])
        return replace(self, steps=tuple(sorted((steps | ({name: step} if step else {})).items())))

    def sorted_on(self) -> Chips:
        """In the next order."""
        orders = list(ORDERS)
        return replace(self, order=orders[(orders.index(self.order) + 1) % len(orders)])

    def filters(self, base: Mapping[str, Any]) -> PictureFilters:
        """Together with what a shelf asks for, which wins."""
        from persona_tui.services.library.pictures import PictureFilters

        found: dict[str, Any] = dict(self.more)
        for name, step in self.steps:
            found |= CHIPS[name][step][1]
        if self.words.strip():
            found["text_in_name"] = self.words
        return PictureFilters(**{**found, **base})


def bar(chips: Chips, registry: Registry, words: Mapping[str, str], *, short: bool) -> Content:
    """`/ find  1 ○ unposted  2 faces …`: the chips with their keys, those that filter marked.

    Args:
        words: of what the form asked for, by the filter's name.
        short: chips that don't filter are named by their keys alone.
    """
    parts = [_chip(registry, "filter", f"“{cut(chips.words, 16)}”" if chips.words else "", "find")]
    steps = dict(chips.steps)
    for name in CHIPS:
        step = steps.get(name, 0)
        if step or not short:
            parts.append(_chip(registry, name, CHIPS[name][step][0] if step else "", name))
    if short:
        first, *_, last = (registry.label(f"clusters.{name}") for name in CHIPS)
        parts.append(Content.styled(f"{first}-{last} ", "$title") + dim("filter"))
    more = ", ".join(words.get(name, name) for name, _ in chips.more)
    parts.append(_chip(registry, "more", more, "more"))
    parts.append(_chip(registry, "sort", ORDERS[chips.order] if chips.order else "", "sort"))
    if chips.active:
        parts.append(_chip(registry, "clear", "", "all"))
    return Content("  ").join(parts)


def _chip(registry: Registry, name: str, said: str, otherwise: str) -> Content:
    key = Content.styled(registry.label(f"clusters.{name}"), "$title") + Content(" ")
    return key + (Content.styled(f" {said} ", "$title bold reverse") if said else dim(otherwise))


class FilterLine(Horizontal):
    """A line to type in: filters while typing, or looks for pictures by what they show when entered."""

    DEFAULT_CSS = """
    FilterLine { height: 1; display: none; }
    FilterLine.-open { display: block; }
    FilterLine > Static { width: auto; }
    FilterLine > Input { width: 1fr; }
    """

    by_meaning: reactive[bool] = reactive(False)
    """What is typed is looked for in the pictures, not in their names."""

    @dataclass
    class Typed(Message):
        """Part of a name or caption; comes with every letter."""

        words: str

    @dataclass
    class Entered(Message):
        """Enter was pressed."""

        words: str
        by_meaning: bool

    def compose(self) -> ComposeResult:
        yield Static(markup=False)
        yield FilterInput(compact=True)

    @property
    def input(self) -> Input:
        """Where it is typed."""
        return self.query_one(Input)

    def open(self, words: str, *, by_meaning: bool) -> None:
        """Show the line with these words and put the focus there."""
        self.add_class("-open")
        self.by_meaning = by_meaning
        with self.input.prevent(Input.Changed):
            self.input.value = words
        self._say()
        self.input.focus()

    def close(self) -> None:
        """Hide the line."""
        self.remove_class("-open")

    def turn(self) -> None:
        """From names to meaning, or back."""
        self.by_meaning = not self.by_meaning
        self._say()
        self.post_message(self.Typed("" if self.by_meaning else self.input.value))

    def _say(self) -> None:
        where = "🔍 what it shows: " if self.by_meaning else "🔍 name or caption: "
        self.query_one(Static).update(Content.styled(where, "$title"))
        other = "looks in names and captions" if self.by_meaning else "looks for what pictures show"
        enter = "Enter searches" if self.by_meaning else "filters as you type"
        self.input.placeholder = f"{enter}; Tab {other}"

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if not self.by_meaning:
            self.post_message(self.Typed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Entered(event.value.strip(), self.by_meaning))


class FilterInput(Input):
    """The input of a filter line; Tab asks for the other way to look."""

    SCOPES: ClassVar[tuple[str, ...]] = ("filter",)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(TABLES["filter"])]

    def action_turn(self) -> None:
        line = self.parent
        assert isinstance(line, FilterLine)
        line.turn()


async def ask_for_more(
    screen: PersonaScreen, persona_id: int, chips: Chips
) -> tuple[Chips, Mapping[str, str]] | None:
    """Filters that no chip has: days, LoRA, pipeline; with words for them."""
    choices = await screen.read(_origins, persona_id)
    now = dict(chips.more)
    fields = [
        DateField(name="since", label="From day", value=_day(now.get("since"), screen.shell.zone)),
        DateField(name="until", label="Before day", value=_day(now.get("until"), screen.shell.zone)),
        *(
            ChoiceField(name=name, label=label, value=now.get(name), choices=[(None, "any"), *found])
            for name, (label, found) in choices.items()
        ),
    ]
    about = "Days are those on which a picture was taken, or else came here."
    values = await screen.ask(FormDialog("More filters", fields, about=about))
    if values is None:
        return None
    more: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    words: dict[str, str] = {name: f"{name} {more[name]}" for name in ("since", "until") if name in more}
    for name, (_, found) in choices.items():
        if name in more:
            words[name] = dict(found)[more[name]]
    for name in ("since", "until"):
        if name in more:
            more[name] = datetime.combine(more[name], datetime.min.time(), screen.shell.zone).astimezone(UTC)
    return replace(chips, more=tuple(sorted(more.items()))), words


def _day(moment: datetime | None, zone: tzinfo) -> date | None:
    return moment.astimezone(zone).date() if moment is not None else None


def _origins(session: Session, persona_id: int) -> dict[str, tuple[str, list[tuple[Any, str]]]]:
    """What pictures were made with, to choose from."""
    from persona_tui.services.generation.pipelines import list_pipelines
    from persona_tui.services.loras.registry import list_loras

    pipelines = [(one.id, one.name) for one in list_pipelines(session)]
    loras = [(one.id, f"{one.name}@{one.version}") for one in list_loras(session, persona_id)]
    return {"pipeline_id": ("Pipeline", pipelines), "lora_model_id": ("LoRA version", loras)}
