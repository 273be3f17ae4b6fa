"""A run as the operator asks for it, checked before anything is made of it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    model_validator,
)

from persona_tui.services.generation.budgets import MOST_MINUTES, MOST_PICTURES
from persona_tui.services.generation.run_loras import LoraChoice
from persona_tui.services.generation.variables import BUILT_IN, SEED_BITS
from persona_tui.services.inputs import Input, Line, Prose


def _is_filled(value: str) -> str:
    if not value.strip():
        raise ValueError("it is empty")
    return value.strip()


def _is_variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
        raise ValueError(f"{name!r} is no name for a variable: letters, digits and _ only")
    if name in BUILT_IN:
        raise ValueError(f"the variable {name} is set by the program")
    return name


VariableName = Annotated[str, AfterValidator(_is_variable)]
Count = Annotated[int, Field(ge=1, le=64)]


class StepOverride(Input):
    """Another N or K for one step of one run."""

    children_per_parent: Count | None = None
    top_k: Count | None = None


class RunInput(Input):
    """A run as the operator asks for it.

    Attributes:
        persona_id: None takes the pipeline's own persona, if it has one.
        pipeline: id or name.
        name: None makes one from the pipeline's name and the time.
        variables: values for the pipeline's own placeholders.
        seed: base of all seeds; the same seed grows the same pictures. None draws one.
        steps: step's position → another N or K.
        night: who passes its gates at night: off nobody, sure the night mode once the ranking is sure enough,
            at the night mode from `night_at` on.
        loras: None takes those that the persona uses and that fit the pipeline's models.
        max_pictures, max_gpu_minutes: what it may spend at most; at a limit it rests. None: without end.
    """

    persona_id: int | None = None
    pipeline: int | str
    prompt: Annotated[Prose, AfterValidator(_is_filled)]
    negative: Prose = ""
    name: Annotated[Line, AfterValidator(_is_filled)] | None = None
    cluster_id: int | None = None
    pillar_id: int | None = None
    content_suggestion_id: int | None = None
    variables: dict[VariableName, StrictBool | StrictInt | StrictFloat | Prose] = {}
    seed: Annotated[int, Field(ge=0, lt=1 << SEED_BITS)] | None = None
    steps: dict[int, StepOverride] = {}
    night: Literal["off", "sure", "at"] = "off"
    night_at: AwareDatetime | None = None
    loras: tuple[LoraChoice, ...] | None = None
    max_pictures: Annotated[int, Field(ge=1, le=MOST_PICTURES)] | None = None
    max_gpu_minutes: Annotated[float, Field(gt=0, le=MOST_MINUTES)] | None = None

    @model_validator(mode="after")
    def _night_fits(self) -> RunInput:
        if (self.night == "at") != (self.night_at is not None):
            raise ValueError("the night mode needs a time when it is `at`, and only then")
        return self
