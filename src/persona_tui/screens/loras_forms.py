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


def import_fields(facts: LoraFacts, persona: Persona | None, proposed: Persona | None = None) -> list[Field]:
    """What can be said of a file before it is imported, filled with what it says itself.

    Args:
        persona: the one in front.
        proposed: the one that the file names, or the operator's own choice before.
    """
    from persona_tui.services.loras.families import FAMILIES, MODEL_TYPES, UNKNOWN

    fallback = 1.0 if facts.weight is None else facts.weight
    known = [one for one in (proposed, persona) if one is not None]
    owners: list[tuple[int | None, str]] = [*dict.fromkeys(known), (None, "nobody: anyone may use it")]
    families = [(family, family) for family in (*FAMILIES, UNKNOWN)]
    return [
        TextField(name="name", label="Name", value=facts.name, required=True, longest=80),
        ChoiceField(
            name="persona_id",
            label="Likeness of",
            value=owners[0][0],
            choices=owners,
            hint="Their runs use it at once.",
        ),
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
        weight_field(None, f"Empty: as it is used now, else {fallback:g}."),
    ]


def import_values(typed: Mapping[str, Any]) -> dict[str, Any]:
    """What the service takes, from what was typed."""
    values = {**typed, "weight": None if typed["weight"] is None else _weight(typed)}
    if values["family"] == "unknown":
        values["family"] = None
    return values


def weight_field(value: float | None, when_empty: str = "") -> NumberField:
    """The weight, 0 to 1.

    Args:
        when_empty: what comes of an empty one, in a sentence; otherwise it has to be typed.
    """
    return NumberField(
        name="weight",
        label="Weight",
        value="" if value is None else f"{value:g}",
        required=not when_empty,
        minimum=0,
        maximum=1,
        hint=f"{WEIGHT_HINT} {when_empty}".rstrip(),
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


def comparison_fields(use: LoraUser | None, pipelines: Sequence[PipelineView]) -> list[Field]:
    """Over what two LoRAs are compared."""
    from persona_tui.services.generation.lora_comparison import MOST_SEEDS, PROMPTS, TRIGGER

    choices: list[tuple[int | None, str]] = [(None, "one that fits")]
    choices += [(pipeline.id, pipeline.name) for pipeline in pipelines]
    return [
        LongTextField(
            name="prompts",
            label="Prompts",
            value="\n".join(PROMPTS),
            rows=5,
            hint=f"One a line; {TRIGGER} stands for each one's own word.",
        ),
        IntegerField(
            name="seeds",
            label="Seeds of each",
            value="4",
            required=True,
            minimum=1,
            maximum=MOST_SEEDS,
            hint="So many pairs for each prompt; seeds that they were not compared at yet.",
        ),
        weight_field(use.weight if use else 1.0),
        ChoiceField(name="pipeline", label="Pipeline", choices=choices),
    ]


def comparison_values(typed: Mapping[str, Any]) -> dict[str, Any]:
    """What the service takes, from what was typed."""
    return {**typed, "prompts": typed["prompts"].splitlines(), "weight": _weight(typed)}


def trial_values(typed: Mapping[str, Any]) -> dict[str, Any]:
    """What the service takes, from what was typed."""
    return {**typed, "weight": _weight(typed)}


def about_file(path: Path, facts: LoraFacts, reason: str = "") -> str:
    """What was recognised of a file, in a few lines above its form.

    Args:
        reason: what speaks for the persona that it names.
    """
    rank = f", rank {facts.rank}" if facts.rank else ""
    known = f"{facts.family}, {facts.key_format} names{rank}, {facts.tensors} weights."
    said = [f"{path.name}: {known}", loads_words(facts.loads), reason, *facts.warnings]
    return "\n".join(filter(None, said))


def loads_words(loads: str) -> str:
    """Whether ComfyUI loads a file that is not imported yet, in a sentence."""
    return {
        "as it is": "ComfyUI loads it as it is.",
        "converted": "ComfyUI would not load all of it as it is; our copy is converted.",
        "ignored": "ComfyUI would not load all of it, and it can't be converted.",
    }.get(loads, "")


def _weight(typed: Mapping[str, Any]) -> float:
    return float(typed["weight"])
