"""The run wizard: what is pictured, by which pipeline, how the tree grows, and what it may cost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import DescendantFocus
from textual.widgets import Input, Static, TextArea

from persona_tui.screens import runs_wizard_lines as lines
from persona_tui.screens.runs_life import night_fields
from persona_tui.screens.runs_wizard_data import LORA, STEP, VARIABLE, Offer, PipelineOffer
from persona_tui.screens.runs_wizard_rows import LoraField, LoraRow, Rail, StepField, StepRow
from persona_tui.widgets.cycle import Cycle
from persona_tui.widgets.fields import ChoiceField, Field, IntegerField, LongTextField, NumberField, TextField
from persona_tui.widgets.form import FieldRow, FormDialog, Values
from persona_tui.widgets.marks import short

if TYPE_CHECKING:
    from persona_tui.services.planning.ideas import IdeaView

DEFAULT_PIPELINE = "two-step"
LIMITS = frozenset({"max_pictures", "max_gpu_minutes", "night", "night_at", "seed"})
LONGEST_SEED = 2**53 - 1
MOST_PICTURES = 100_000
MOST_MINUTES = 525_600
Submit = Callable[[Values], Awaitable[object]]


class RunWizard(FormDialog):
    """Asks for all of a run; what it will make and cost is shown while it is typed.

    Args:
        offer: what a run can be made of, and the run that is to be cloned.
        submit: starts the run.
        now: for times of day.
    """

    SCOPE = "wizard"
    AUTO_FOCUS = "TextArea"
    CSS_PATH = "runs_wizard.tcss"

    def __init__(self, offer: Offer, submit: Submit, now: datetime) -> None:
        like = offer.like
        title = f"Clone run {like.id} for {offer.persona}" if like else f"New run for {offer.persona}"
        super().__init__(title, (), submit=submit)
        self._offer = offer
        self._now = now
        self._like = like
        self._idea: IdeaView | None = None
        self._sections = ("Picture", "Pipeline", "Steps", *(["LoRAs"] if offer.loras else []), "Limits")

    # What is on the screen

    def compose_content(self) -> ComposeResult:
        pipeline = self._pipeline_field()
        chosen = next(one for one in self._offer.pipelines if one.pipeline.id == pipeline.taken())
        yield Rail(self._sections)
        with VerticalScroll(id="fields", can_focus=False):
            with Vertical(classes="column"):
                yield from self._section("Picture", self._picture_fields())
            with Vertical(classes="column"):
                yield from self._section("Pipeline", [pipeline])
                yield Static(id="about-pipeline", markup=False)
                with Vertical(id="variables"):
                    yield from (FieldRow(field) for field in self._variable_fields(chosen, {}))
                yield from self._section("Steps", ())
                with Vertical(id="steps"):
                    yield from (StepRow(field) for field in self._step_fields(chosen))
                if self._offer.loras:
                    yield from self._section("LoRAs", ())
                    yield from (LoraRow(field) for field in self._lora_fields())
                yield from self._section("Limits", self._limit_fields())
        yield Static(id="growth", markup=False)
        yield Static("", id="outcome", markup=False)

    def _section(self, title: str, fields: Sequence[Field]) -> Iterator[Static | FieldRow]:
        name = f"section-{self._sections.index(title)}"
        yield Static(lines.section(title), classes="section", id=name)
        for field in fields:
            yield FieldRow(field)

    def _picture_fields(self) -> list[Field]:
        like, offer = self._like, self._offer
        ideas = [(None, "my own words"), *((idea.id, short(idea.title, 60)) for idea in offer.ideas)]
        clusters = [(None, "none"), *((cluster.id, cluster.name) for cluster in offer.clusters)]
        pillars = [(None, "the cluster's own"), *((pillar.id, pillar.name) for pillar in offer.pillars)]
        idea = ChoiceField(
            name="idea", label="Idea", choices=ideas, hint="Brings its prompt, its cluster and its pillar."
        )
        return [
            *([] if like else [idea]),
            LongTextField(
                name="prompt",
                label="Prompt",
                value=like.prompt if like else None,
                required=True,
                rows=4,
                hint="What is to be seen; the pipeline adds its own words.",
            ),
            TextField(
                name="negative",
                label="Not to be seen",
                value=like.negative if like else None,
                longest=1000,
                hint="Taken by pipelines that have {{negative}}.",
            ),
            ChoiceField(
                name="cluster",
                label="Winner goes to",
                value=like.cluster_id if like else None,
                choices=clusters,
                hint="The cluster that gets the winner.",
            ),
            ChoiceField(
                name="pillar",
                label="Pillar",
                value=like.pillar_id if like else None,
                choices=pillars,
                hint="What the run is made for.",
            ),
            TextField(
                name="name", label="Name", hint="Left empty, it is called after the idea or the pipeline."
            ),
        ]

    def _pipeline_field(self) -> ChoiceField:
        wanted = self._like.pipeline if self._like else DEFAULT_PIPELINE
        pipelines = [offer.pipeline for offer in self._offer.pipelines]
        default = next((pipeline.id for pipeline in pipelines if pipeline.name == wanted), None)
        return ChoiceField(
            name="pipeline",
            label="Pipeline",
            value=default,
            choices=[(pipeline.id, pipeline.name) for pipeline in pipelines],
        )

    def _limit_fields(self) -> list[Field]:
        budget = self._like.budget if self._like else None
        return [
            IntegerField(
                name="max_pictures",
                label="Pictures at most",
                value=budget.max_pictures if budget else None,
                minimum=1,
                maximum=MOST_PICTURES,
                hint="At the limit the run rests. Empty: no limit.",
            ),
            NumberField(
                name="max_gpu_minutes",
                label="Minutes at most",
                value=budget.max_gpu_minutes if budget else None,
                minimum=0,
                maximum=MOST_MINUTES,
                check=lambda minutes: None if minutes > 0 else "Must be above 0.",
                hint="Of the card's time. Empty: no limit.",
            ),
            *self._night_fields(),
            IntegerField(
                name="seed",
                label="Seed",
                minimum=0,
                maximum=LONGEST_SEED,
                hint="The same seed makes the same pictures. Empty draws one.",
            ),
        ]

    def _night_fields(self) -> list[ChoiceField | TextField]:
        like, zone = self._like, self._offer.zone
        before = like.night_at if like else None
        at = f"{before.astimezone(ZoneInfo(zone)):%H:%M}" if before is not None else None
        return night_fields(like.night if like else "off", at, zone, self._now)

    def on_mount(self) -> None:
        if self._like is None:
            self._inherit_cluster(self._chosen)
        self._tell_pipeline()

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
        await variables.mount_all(FieldRow(field) for field in self._variable_fields(chosen, typed))
        await steps.mount_all(StepRow(field) for field in self._step_fields(chosen))
        self._inherit_cluster(chosen)
        self._tell_pipeline()

    def _lora_fields(self) -> list[LoraField]:
        return [
            LoraField(
                name=f"{LORA}{offer.lora.id}",
                label=short(offer.lora.label, 19),
                value=(offer.used, offer.weight),
                about=f"{offer.lora.model_type}, {offer.lora.family}",
                hint="Weight from 0 to 1.",
            )
            for offer in self._offer.loras
        ]

    def _tell_pipeline(self) -> None:
        unfit = self._chosen.unfit
        for row in self.query(LoraRow):
            row.fit(unfit.get(int(row.field.name.removeprefix(LORA))))
        words = lines.about_pipeline(self._chosen, self._offer.persona_id)
        self.query_one("#about-pipeline", Static).update(words)
        self._show_growth()

    def _variable_fields(self, chosen: PipelineOffer, typed: Values) -> list[Field]:
        """A field for each variable that the run must bring; what does not fit its kind is told there."""
        old = self._like.variables if self._like else {}
        return [
            TextField(
                name=f"{VARIABLE}{asked.name}",
                label=asked.name,
                value=typed.get(f"{VARIABLE}{asked.name}") or lines.written(old.get(asked.name)),
                required=True,
                longest=4000,
                hint=lines.asked_hint(asked),
                check=partial(lines.misfit, asked),
            )
            for asked in chosen.asked
        ]

    def _step_fields(self, chosen: PipelineOffer) -> list[StepField]:
        like = self._like if self._like and self._like.pipeline == chosen.pipeline.name else None
        before = {step.position: step for step in like.steps} if like else {}
        fields = []
        for step in chosen.pipeline.steps:
            plan = before.get(step.position, step)
            fields.append(
                StepField(
                    name=f"{STEP}{step.position}",
                    label=f"{step.position} {step.name}",
                    value=(plan.children_per_parent, plan.top_k),
                    first=step.position == 1,
                    is_last=step.position == len(chosen.pipeline.steps),
                )
            )
        return fields

    def _inherit_cluster(self, chosen: PipelineOffer) -> None:
        """A pipeline may bring its cluster; one that the operator chose stays."""
        pipeline = chosen.pipeline
        own = pipeline.persona_id == self._offer.persona_id
        if own and pipeline.cluster_id is not None and self._row("cluster").raw() is None:
            self._choose("cluster", pipeline.cluster_id)

    def _choose(self, name: str, value: object) -> None:
        cycle = self._row(name).control
        assert isinstance(cycle, Cycle)
        cycle.choose(value)

    # What changes while it is typed

    def on_cycle_changed(self, event: Cycle.Changed) -> None:
        if event.control is self._row("pipeline").control:
            self.spawn(self._change_pipeline, group="pipeline", exclusive=True)
        elif self._like is None and event.control is self._row("idea").control:
            self._take_idea(event.control.value)

    def _take_idea(self, idea_id: int | None) -> None:
        """An idea's words take the prompt's place, unless the operator has written other ones."""
        idea = next((idea for idea in self._offer.ideas if idea.id == idea_id), None)
        area, before = self._row("prompt").control, self._idea.prompt if self._idea else ""
        assert isinstance(area, TextArea)
        if area.text.strip() in ("", before.strip()):
            area.text = idea.prompt if idea else ""
        self._choose("cluster", idea.cluster_id if idea else None)
        self._choose("pillar", idea.pillar_id if idea else None)
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
        limits = [self._typed_number(name) for name in ("max_pictures", "max_gpu_minutes")]
        names = [step.name for step in self._chosen.pipeline.steps]
        self.query_one("#growth", Static).update(lines.growth(cost, names, *limits))

    def _typed_number(self, name: str) -> float | None:
        row = self._row(name)
        try:
            found = row.field.read(row.raw())
        except ValueError:
            return None
        return None if found is None else float(found)

    # Where the cursor is

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        row = self._row_of(event.widget)
        if row is not None:
            wrong = frozenset(self._section_of(one) for one in self.rows if one.wrong)
            self.query_one(Rail).mark(self._section_of(row), wrong)

    def _section_of(self, row: FieldRow) -> int:
        name = row.field.name
        title = "Picture"
        if name.startswith(STEP):
            title = "Steps"
        elif name.startswith(LORA):
            title = "LoRAs"
        elif name.startswith(VARIABLE) or name == "pipeline":
            title = "Pipeline"
        elif name in LIMITS:
            title = "Limits"
        return self._sections.index(title)

    def action_section(self, by: int) -> None:
        """To the first field of the section before or after."""
        row = self._row_of(self.focused)
        here = self._section_of(row) if row is not None else 0
        wanted = (here + by) % len(self._sections)
        rows = (one for one in self.rows if not one.control.disabled)
        found = next((one for one in rows if self._section_of(one) == wanted), None)
        if found is not None:
            found.control.focus(scroll_visible=False)
            self.query_one(f"#section-{wanted}").scroll_visible(animate=False, top=True)
