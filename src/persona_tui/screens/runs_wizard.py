"""The run wizard: what is pictured, by which pipeline, how the tree grows, and what it may cost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import DescendantFocus
from textual.widget import Widget
from textual.widgets import Input, Static, TextArea

from persona_tui.screens import runs_wizard_fields as fields
from persona_tui.screens import runs_wizard_lines as lines
from persona_tui.screens.runs_wizard_data import LORA, STEP, VARIABLE, Offer, PipelineOffer
from persona_tui.screens.runs_wizard_rows import LoraRow, Rail, StepRow
from persona_tui.widgets.capped_scroll import CappedScroll
from persona_tui.widgets.cycle import Cycle
from persona_tui.widgets.fields import Field
from persona_tui.widgets.form import FieldRow, FormDialog, Values

if TYPE_CHECKING:
    from persona_tui.services.planning.ideas import IdeaView

SECTIONS = ("Picture", "Pipeline", "Steps", "LoRAs", "Limits")
TWO_COLUMNS = 170
"""Columns of the terminal from which the pictures' part and the pipeline's stand side by side."""
OTHER_ROWS = 10
"""For frame, rail, growth, an outcome and the legend."""
Read = Callable[[int], Awaitable[Offer]]
Submit = Callable[[Offer, Values], Awaitable[object]]


class RunWizard(FormDialog):
    """Asks for all of a run; what it will make and cost is shown while it is typed.

    Args:
        offer: what a run can be made of, and the run that is to be cloned.
        read: reads what another persona's run can be made of, by the persona's id.
        submit: starts the run, of what was offered last.
        now: for times of day.
    """

    SCOPE = "wizard"
    AUTO_FOCUS = "TextArea"
    CSS_PATH = "runs_wizard.tcss"
    HORIZONTAL_BREAKPOINTS = [
        (0, "-tiny"),
        (80, "-narrow"),
        (TWO_COLUMNS, "-wide"),
    ]

    def __init__(self, offer: Offer, read: Read, submit: Submit, now: datetime) -> None:
        super().__init__(lines.title(offer), (), submit=self._start)
        self._offer = offer
        self._read = read
        self._begin = submit
        self._now = now
        self._idea: IdeaView | None = None
        self._by_hand = offer.like is not None
        self._turning = asyncio.Lock()
        self._title: tuple[Widget, FieldRow] | None = None

    async def _start(self, values: Values) -> None:
        await self._begin(self._offer, values)

    # What is on the screen

    def compose_content(self) -> ComposeResult:
        offer, pipeline = self._offer, fields.pipeline_field(self._offer)
        chosen = next(one for one in offer.pipelines if one.pipeline.id == pipeline.taken())
        yield Rail()
        with CappedScroll(others=OTHER_ROWS, id="fields"):
            with Vertical(classes="column"):
                yield from self._section("Picture", fields.picture_fields(offer))
            with Vertical(classes="column"):
                yield from self._section("Pipeline", [pipeline])
                yield Static(id="about-pipeline", markup=False)
                with Vertical(id="variables"):
                    yield from (FieldRow(field) for field in fields.variable_fields(offer, chosen, {}))
                yield from self._section("Steps", ())
                with Vertical(id="steps"):
                    yield from (StepRow(field) for field in fields.step_fields(offer, chosen))
                yield from self._section("LoRAs", ())
                with Vertical(id="loras"):
                    yield from (LoraRow(field) for field in fields.lora_fields(offer))
                yield from self._section("Limits", fields.limit_fields(offer, self._now))
        yield Static(id="growth", markup=False)
        yield Static("", id="outcome", markup=False)

    def _section(self, title: str, held: Sequence[Field]) -> Iterator[Static | FieldRow]:
        yield Static(lines.section(title), classes="section", id=f"section-{title.lower()}")
        for field in held:
            yield FieldRow(field)

    def on_mount(self) -> None:
        if self._offer.like is None:
            self._inherit_cluster(self._chosen)
        self._show_loras()
        self._tell_pipeline()

    @property
    def _sections(self) -> tuple[str, ...]:
        return tuple(title for title in SECTIONS if title != "LoRAs" or self._offer.loras)

    def _show_loras(self) -> None:
        self.query_one("#section-loras").display = bool(self._offer.loras)

    # The persona

    async def _change_persona(self) -> None:
        """Offer what the chosen persona has; what was typed stays where it still fits."""
        async with self._turning:
            persona_id = self._row("persona").raw()
            if persona_id == self._offer.persona_id:
                return
            before, self._offer = self._offer, await self._read(persona_id)
            self.query_one("#frame").border_title = lines.title(self._offer)
            self._offer_choices()
            await self._offer_loras(before)
            self._inherit_cluster(self._chosen)
            self._tell_pipeline()

    def _offer_choices(self) -> None:
        offer = self._offer
        offered = {
            "persona": fields.persona_choices(offer),
            "cluster": fields.cluster_choices(offer),
            "pillar": fields.pillar_choices(offer),
            "pipeline": fields.pipeline_choices(offer),
        }
        if offer.like is None:
            offered["idea"] = fields.idea_choices(offer)
            self._idea = None  # its words stay: they are the operator's now
        for name, choices in offered.items():
            cycle = self._cycle(name)
            with cycle.prevent(Cycle.Changed):
                cycle.offer(choices)
        for field in fields.night_of(offer, self._now):
            self._row(field.name).field = field  # its hint and its check know the zone

    async def _offer_loras(self, before: Offer) -> None:
        """The persona's LoRAs; one whose use or weight was changed by hand keeps them."""
        default = {f"{LORA}{one.lora.id}": (one.used, f"{one.weight:g}") for one in before.loras}
        typed = {row.field.name: row.raw() for row in self.query(LoraRow)}
        loras = self.query_one("#loras", Vertical)
        await loras.remove_children()
        rows = [LoraRow(field) for field in fields.lora_fields(self._offer)]
        await loras.mount_all(rows)
        for row in rows:
            held = typed.get(row.field.name)
            if held is not None and held != default[row.field.name]:
                row.put(*held)
        self._show_loras()

    def _follow_pipeline(self, chosen: PipelineOffer) -> None:
        """A pipeline may bring its persona; one that the operator chose by hand stays."""
        cycle, persona_id = self._cycle("persona"), chosen.pipeline.persona_id
        if persona_id is None or self._by_hand:
            return
        with cycle.prevent(Cycle.Changed):
            cycle.choose(persona_id)
        self.spawn(self._change_persona, group="persona")

    async def _save(self) -> None:
        await self._change_persona()  # what is started is what the persona shown has
        await super()._save()

    # The pipeline

    @property
    def _chosen(self) -> PipelineOffer:
        chosen = self._row("pipeline").raw()
        return next(offer for offer in self._offer.pipelines if offer.pipeline.id == chosen)

    def _row(self, name: str) -> FieldRow:
        return next(row for row in self.rows if row.field.name == name)

    async def _change_pipeline(self) -> None:
        """Ask for what the chosen pipeline needs; what was typed for the one before stays where it fits."""
        chosen = self._chosen
        typed = {row.field.name: row.raw() for row in self.rows}
        variables, steps = self.query_one("#variables", Vertical), self.query_one("#steps", Vertical)
        await variables.remove_children()
        await steps.remove_children()
        await variables.mount_all(
            FieldRow(field) for field in fields.variable_fields(self._offer, chosen, typed)
        )
        await steps.mount_all(StepRow(field) for field in fields.step_fields(self._offer, chosen))
        self._inherit_cluster(chosen)
        self._tell_pipeline()

    def _tell_pipeline(self) -> None:
        unfit = self._chosen.unfit
        for row in self.query(LoraRow):
            row.fit(unfit.get(int(row.field.name.removeprefix(LORA))))
        words = lines.about_pipeline(self._chosen, self._offer.persona_id, self._offer.like)
        self.query_one("#about-pipeline", Static).update(words)
        self._show_growth()

    def _inherit_cluster(self, chosen: PipelineOffer) -> None:
        """A pipeline may bring its cluster; one that the operator chose stays."""
        pipeline = chosen.pipeline
        own = pipeline.persona_id == self._offer.persona_id
        if own and pipeline.cluster_id is not None and self._row("cluster").raw() is None:
            self._cycle("cluster").choose(pipeline.cluster_id)

    def _cycle(self, name: str) -> Cycle:
        cycle = self._row(name).control
        assert isinstance(cycle, Cycle)
        return cycle

    # What changes while it is typed

    def on_cycle_changed(self, event: Cycle.Changed) -> None:
        if event.control is self._row("pipeline").control:
            self._follow_pipeline(self._chosen)
            self.spawn(self._change_pipeline, group="pipeline", exclusive=True)
        elif event.control is self._row("persona").control:
            self._by_hand = True
            self.spawn(self._change_persona, group="persona")
        elif self._offer.like is None and event.control is self._row("idea").control:
            self._take_idea(event.control.value)

    def _take_idea(self, idea_id: int | None) -> None:
        """An idea's words take the prompt's place, unless the operator has written other ones."""
        idea = next((idea for idea in self._offer.ideas if idea.id == idea_id), None)
        area, before = self._row("prompt").control, self._idea.prompt if self._idea else ""
        assert isinstance(area, TextArea)
        if area.text.strip() in ("", before.strip()):
            area.text = idea.prompt if idea else ""
        self._cycle("cluster").choose(idea.cluster_id if idea else None)
        self._cycle("pillar").choose(idea.pillar_id if idea else None)
        self._idea = idea

    def on_input_changed(self, _event: Input.Changed) -> None:
        self._show_growth()

    def _show_growth(self) -> None:
        rows = list(self.query(StepRow))
        plans = [plan for row in rows if (plan := row.plan()) is not None]
        whole = bool(rows) and len(plans) == len(rows)
        cost = lines.cost(self._chosen, plans) if whole else None
        for index, row in enumerate(rows):
            row.show_outcome(lines.step_outcome(cost.steps[index]) if cost else Content.empty())
        pictures, minutes = (self._typed_number(name) for name in ("max_pictures", "max_gpu_minutes"))
        names = [step.name for step in self._chosen.pipeline.steps]
        self.query_one("#growth", Static).update(lines.growth(cost, names, pictures, minutes, plans))

    def _typed_number(self, name: str) -> float | None:
        row = self._row(name)
        try:
            found = row.field.read(row.raw())
        except ValueError:
            return None
        return None if found is None else float(found)

    # Where the cursor is

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        self._mark_section(self._row_of(event.widget))

    def _mark_section(self, row: FieldRow | None) -> None:
        if row is not None:
            wrong = {self._section_of(one) for one in self.rows if one.wrong}
            self.query_one(Rail).mark(self._sections, self._section_of(row), wrong)

    def _changed(self, control: Widget) -> FieldRow | None:
        row = super()._changed(control)
        self._mark_section(self._row_of(self.focused))
        return row

    def _show_focused(self) -> None:
        """Where the operator went to a section, with its title."""
        if self._title is not None and self._row_of(self.focused) is self._title[1]:
            self._title[0].scroll_visible(animate=False, top=True, immediate=True)
        super()._show_focused()

    def _section_of(self, row: FieldRow) -> str:
        name = row.field.name
        if name.startswith(STEP):
            return "Steps"
        if name.startswith(LORA):
            return "LoRAs"
        if name.startswith(VARIABLE) or name == "pipeline":
            return "Pipeline"
        return "Limits" if name in fields.LIMITS else "Picture"

    def action_section(self, by: int) -> None:
        """To the first field of the section before or after."""
        row, sections = self._row_of(self.focused), self._sections
        here = sections.index(self._section_of(row)) if row is not None else 0
        wanted = sections[(here + by) % len(sections)]
        first = next((one for one in self.rows if self._section_of(one) == wanted and one.controls), None)
        if first is not None:
            self._title = self.query_one(f"#section-{wanted.lower()}"), first
            first.controls[0].focus(scroll_visible=False)
