"""The forms of a pipeline, of a step, of an import and of an export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_tui.widgets.fields import ChoiceField, Field, IntegerField, LongTextField, TextField

if TYPE_CHECKING:
    from persona_tui.services.generation.pipelines import PipelineView, StepView

PATH_HINT = "Several files are steps in this order; separate them by commas."


def import_fields() -> list[Field]:
    """The fields of an import."""
    return [
        TextField(name="paths", label="Files", required=True, longest=4096, hint=PATH_HINT),
        TextField(
            name="name",
            label="Name",
            longest=80,
            hint="Empty: as in the file, or the first file's name. One that is there gets a new version.",
        ),
        IntegerField(name="children_per_parent", label="N", value=3, required=True, minimum=1, maximum=64),
        IntegerField(name="top_k", label="K", value=1, required=True, minimum=1, maximum=64),
        IntegerField(name="timeout", label="Timeout s", value=600, required=True, minimum=1, maximum=86_400),
    ]


def paths_in(typed: str) -> list[Path]:
    """The files that were typed."""
    return [Path(word.strip()).expanduser() for word in typed.split(",") if word.strip()]


def pipeline_fields(
    view: PipelineView, personas: Sequence[str], clusters: Mapping[str, Sequence[str]]
) -> list[Field]:
    """The fields of a pipeline.

    Args:
        clusters: persona → names of its clusters.
    """
    named = [(name, f"{name} ({persona})") for persona in personas for name in clusters.get(persona, ())]
    return [
        TextField(name="name", label="Name", value=view.name, required=True, longest=80),
        LongTextField(name="description", label="What it is for", value=view.description, rows=3),
        ChoiceField(
            name="persona",
            label="Persona",
            value=view.persona,
            choices=[(None, "any"), *((name, name) for name in personas)],
            hint="Whose pictures its runs make, unless told otherwise.",
        ),
        ChoiceField(
            name="cluster",
            label="Into",
            value=view.cluster,
            choices=[(None, "no cluster"), *named],
            hint="A cluster of that persona, which gets the winners.",
        ),
    ]


def step_fields(step: StepView) -> list[Field]:
    """The fields of a step."""
    return [
        TextField(name="name", label="Name", value=step.name, required=True, longest=80),
        IntegerField(
            name="children_per_parent",
            label="N",
            value=step.children_per_parent,
            required=True,
            minimum=1,
            maximum=64,
            hint="Pictures in the first step, pictures per parent later.",
        ),
        IntegerField(
            name="top_k",
            label="K",
            value=step.top_k,
            required=True,
            minimum=1,
            maximum=64,
            hint="How many the gate lets through unless told otherwise.",
        ),
        IntegerField(
            name="timeout",
            label="Timeout s",
            value=step.timeout,
            required=True,
            minimum=1,
            maximum=86_400,
            hint="What one picture may take once it runs.",
        ),
        TextField(
            name="output_node",
            label="Output node",
            value=step.output_node,
            longest=200,
            hint="Its pictures count; empty: those of every SaveImage.",
        ),
    ]


def step_values(typed: Mapping[str, Any]) -> dict[str, Any]:
    """What the service takes, from what was typed."""
    return {**typed, "output_node": typed["output_node"] or None}
