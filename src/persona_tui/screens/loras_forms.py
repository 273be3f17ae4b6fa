"""The forms of the screen LoRAs: importing, using, testing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_tui.widgets.fields import (
    CheckField,
    ChoiceField,
    Field,
    IntegerField,
    LongTextField,
    NumberField,
    TextField,
)

if TYPE_CHECKING:
    from persona_tui.services.generation.pipelines import PipelineView
    from persona_tui.services.loras.importing import LoraFacts
    from persona_tui.services.loras.registry import LoraUser, LoraView

Persona = tuple[int, str]
WEIGHT_HINT = "How strongly it acts: 0 not at all, 1 fully."


def import_fields(facts: LoraFacts, persona: Persona | None) -> list[Field]:
    """What can be said of a file before it is imported, filled with what it says itself."""
    from persona_tui.services.loras.families import FAMILIES, MODEL_TYPES, UNKNOWN

    owners: list[tuple[int | None, str]] = [(None, "nobody: anyone may use it")]
    if persona is not None:
        owners.insert(0, persona)
    families = [(family, family) for family in (*FAMILIES, UNKNOWN)]
    return [
        TextField(name="name", label="Name", value=facts.name, required=True, longest=80),
        ChoiceField(name="persona_id", label="Likeness of", value=owners[0][0], choices=owners),
        ChoiceField(
            name="model_type",
            label="Type",
            value=facts.model_type,
            choices=[(one, one) for one in MODEL_TYPES],
        ),
        ChoiceField(name="family", label="Base model", value=facts.family, choices=families),
        TextField(
            name="trigger_word",
            label="Trigger word",
            value=facts.trigger_word,
            hint="The word in a prompt that calls it; pipelines use it as {{trigger_word}}.",
        ),
        weight_field(1.0 if facts.weight is None else facts.weight),
    ]


def import_values(typed: Mapping[str, Any]) -> dict[str, Any]:
    """What the service takes, from what was typed."""
    values = {**typed, "weight": _weight(typed)}
    if values["family"] == "unknown":
        values["family"] = None
    return values


def weight_field(value: float) -> NumberField:
    """The weight, 0 to 1."""
    return NumberField(
        name="weight",
        label="Weight",
        value=f"{value:g}",
        required=True,
        minimum=0,
        maximum=1,
        hint=WEIGHT_HINT,
    )


def use_fields(lora: LoraView, use: LoraUser | None) -> list[Field]:
    """How a persona uses a LoRA."""
    fallback = 1.0 if lora.default_weight is None else lora.default_weight
    return [
        weight_field(use.weight if use else fallback),
        CheckField(
            name="primary",
            label="Primary",
            value=use.primary if use else True,
            hint=f"The first {lora.model_type} for {lora.family} that the persona's runs use.",
        ),
    ]


def use_values(typed: Mapping[str, Any]) -> dict[str, Any]:
    """What the service takes, from what was typed."""
    return {"weight": _weight(typed), "primary": typed["primary"]}


def trial_fields(use: LoraUser | None, pipelines: Sequence[PipelineView]) -> list[Field]:
    """What a trial pictures."""
    choices: list[tuple[int | None, str]] = [(None, "one that fits")]
    choices += [(pipeline.id, pipeline.name) for pipeline in pipelines]
    return [
        LongTextField(
            name="prompt", label="Prompt", rows=3, hint="Empty: a plain portrait with its trigger word."
        ),
        IntegerField(
            name="seed", label="Seed", value=1, required=True, minimum=0, maximum=2**53 - 1,
            hint="The same for both pictures.",
        ),
        weight_field(use.weight if use else 1.0),
        ChoiceField(name="pipeline", label="Pipeline", choices=choices),
    ]  # fmt: skip


def trial_values(typed: Mapping[str, Any]) -> dict[str, Any]:
    """What the service takes, from what was typed."""
    return {**typed, "weight": _weight(typed)}


def about_file(path: Path, facts: LoraFacts) -> str:
    """A sentence or two on a file above its form."""
    words = f"{path.name}: {facts.key_format} names, {facts.tensors} weights."
    return " ".join([words, *facts.warnings])


def _weight(typed: Mapping[str, Any]) -> float:
    return float(typed["weight"])
