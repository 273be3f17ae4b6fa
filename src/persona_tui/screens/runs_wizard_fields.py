"""The run wizard's fields: what each holds at first, by what a run can be made of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from persona_tui.screens import runs_wizard_lines as lines
from persona_tui.screens.runs_life import night_fields
from persona_tui.screens.runs_wizard_data import LORA, STEP, VARIABLE, Offer, PipelineOffer
from persona_tui.screens.runs_wizard_rows import LoraField, StepField
from persona_tui.widgets.fields import ChoiceField, Field, IntegerField, LongTextField, NumberField, TextField
from persona_tui.widgets.form import Values
from persona_tui.widgets.marks import short

if TYPE_CHECKING:
    from persona_tui.services.generation.placeholders import Need

Choices = Sequence[tuple[Any, str]]
LIMITS = frozenset({"max_pictures", "max_gpu_minutes", "night", "night_at", "seed"})
"""Names of the fields of the last section."""
LONGEST_SEED = 2**53 - 1
MOST_PICTURES = 100_000
MOST_MINUTES = 525_600


def persona_choices(offer: Offer) -> Choices:
    """Everyone whose run it may be."""
    return offer.personas or ((offer.persona_id, offer.persona),)


def idea_choices(offer: Offer) -> Choices:
    """The persona's ideas, after none."""
    return [(None, "my own words"), *((idea.id, short(idea.title, 60)) for idea in offer.ideas)]


def cluster_choices(offer: Offer) -> Choices:
    """The persona's clusters, after none."""
    return [(None, "none"), *((cluster.id, cluster.name) for cluster in offer.clusters)]


def pillar_choices(offer: Offer) -> Choices:
    """The persona's pillars, after the cluster's."""
    return [(None, "the cluster's own"), *((pillar.id, pillar.name) for pillar in offer.pillars)]


def pipeline_choices(offer: Offer) -> Choices:
    """All pipelines."""
    return [(one.pipeline.id, one.pipeline.name) for one in offer.pipelines]


def persona_field(offer: Offer) -> ChoiceField:
    """Whose run it is."""
    return ChoiceField(
        name="persona",
        label="Persona",
        value=offer.persona_id,
        choices=persona_choices(offer),
        hint="Whose run it is; clusters, pillars, ideas and LoRAs follow.",
    )


def picture_fields(offer: Offer) -> list[Field]:
    """What is to be seen, and what for."""
    like = offer.like
    idea = ChoiceField(
        name="idea",
        label="Idea",
        choices=idea_choices(offer),
        hint="Brings its prompt, its cluster and its pillar.",
    )
    return [
        persona_field(offer),
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
            choices=cluster_choices(offer),
            hint="The cluster that gets the winner.",
        ),
        ChoiceField(
            name="pillar",
            label="Pillar",
            value=like.pillar_id if like else None,
            choices=pillar_choices(offer),
            hint="What the run is made for.",
        ),
        TextField(name="name", label="Name", hint="Left empty, it is called after the idea or the pipeline."),
    ]


def pipeline_field(offer: Offer) -> ChoiceField:
    """The pipeline; that of the cloned run, or the persona's usual one."""
    wanted = offer.like.pipeline if offer.like else offer.usual
    default = next((one.pipeline.id for one in offer.pipelines if one.pipeline.name == wanted), None)
    return ChoiceField(name="pipeline", label="Pipeline", value=default, choices=pipeline_choices(offer))


def variable_fields(offer: Offer, chosen: PipelineOffer, typed: Values) -> list[Field]:
    """A field for each variable that the run must bring.

    Args:
        typed: what the fields of the pipeline chosen before hold, by name.
    """
    old = offer.like.variables if offer.like else {}
    return [
        _variable_field(
            asked, typed.get(f"{VARIABLE}{asked.name}") or lines.written(old.get(asked.name)) or ""
        )
        for asked in chosen.asked
    ]


def _variable_field(asked: Need, held: str) -> Field:
    """A choice where a server's list is known, else a line; what does not fit its kind is told there."""
    name = f"{VARIABLE}{asked.name}"
    if not asked.choices:
        return TextField(
            name=name,
            label=asked.name,
            value=held,
            required=True,
            longest=4000,
            hint=lines.asked_hint(asked),
            check=partial(lines.misfit, asked),
        )
    listed = [(one, one) for one in asked.choices]
    if held and held not in asked.choices:
        listed.insert(0, (held, f"{held} (not on the list)"))
    return ChoiceField(
        name=name,
        label=asked.name,
        value=held,
        required=True,
        choices=[("", "not chosen yet"), *listed],
        hint=lines.asked_hint(asked),
    )


def step_fields(offer: Offer, chosen: PipelineOffer) -> list[StepField]:
    """N and K of each step; those of the cloned run where it has the same pipeline."""
    like = offer.like if offer.like and offer.like.pipeline == chosen.pipeline.name else None
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


def lora_fields(offer: Offer) -> list[LoraField]:
    """Which LoRAs are used, and at which weight."""
    return [
        LoraField(
            name=f"{LORA}{one.lora.id}",
            label=short(one.lora.label, 19),
            value=(one.used, one.weight),
            about=f"{one.lora.model_type}, {one.lora.family}",
            hint="Weight from 0 to 1.",
        )
        for one in offer.loras
    ]


def limit_fields(offer: Offer, now: datetime) -> list[Field]:
    """What the run may cost, who passes its gates, and its seed.

    Args:
        now: for times of day.
    """
    budget = offer.like.budget if offer.like else None
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
        *night_of(offer, now),
        IntegerField(
            name="seed",
            label="Seed",
            minimum=0,
            maximum=LONGEST_SEED,
            hint="The same seed makes the same pictures. Empty draws one.",
        ),
    ]


def night_of(offer: Offer, now: datetime) -> list[ChoiceField | TextField]:
    """The night mode, in the persona's zone."""
    like, zone = offer.like, offer.zone
    before = like.night_at if like else None
    at = f"{before.astimezone(ZoneInfo(zone)):%H:%M}" if before is not None else None
    return night_fields(like.night if like else "off", at, zone, now)
