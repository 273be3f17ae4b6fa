"""A pipeline as it is given to us, and what makes a step of it usable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from persona_tui.errors import InvalidRequest, PersonaError
from persona_tui.services.generation.graph import SAVE_CLASS, output_nodes, require_api_format
from persona_tui.services.generation.template import find_placeholders
from persona_tui.services.generation.variables import PARENT_IMAGE, PARENTS
from persona_tui.services.inputs import Input, Name, Prose

_SEEDS = frozenset({"seed", "auto_seed", "random", "seed_color"})


class StepInput(Input):
    """One workflow of a pipeline.

    Attributes:
        workflow: ComfyUI graph in API format with {{placeholders}}.
        children_per_parent: N: pictures in step 1, pictures per parent later.
        top_k: K: how many the gate lets through unless told otherwise.
        timeout: seconds that one picture may take once it runs.
        output_node: node whose pictures count; None means every SaveImage.
    """

    name: Name
    workflow: dict[str, Any]
    children_per_parent: Annotated[int, Field(ge=1, le=64)] = 3
    top_k: Annotated[int, Field(ge=1, le=64)] = 1
    timeout: Annotated[int, Field(ge=1, le=86_400)] = 600
    output_node: str | None = None


class PipelineInput(Input):
    """A pipeline as a file describes it.

    Attributes:
        persona, cluster: names of the defaults of its runs; where a file does not name them, those that the
            pipeline has stay, and null takes them away.
    """

    name: Name
    description: Prose = ""
    persona: Name | None = None
    cluster: Name | None = None
    steps: Annotated[tuple[StepInput, ...], Field(min_length=1, max_length=20)]


def require_usable(position: int, step: StepInput) -> None:
    """Refuse a step that could never make a picture.

    Raises:
        InvalidRequest: names the step and what is wrong with its workflow.
    """
    try:
        require_api_format(step.workflow)
        _require_plain_keys(step)
        _require_output(step)
        _require_parent(position, step)
    except InvalidRequest as problem:
        sentence = f"The workflow of step {position}, {step.name}, can't be used: {_lowered(problem)}"
        raise InvalidRequest(sentence, title="Workflow can't be used", hint=problem.hint) from None


def _require_parent(position: int, step: StepInput) -> None:
    asked = [name for name in PARENTS if name in _asked(step)]
    if position == 1 and asked:
        raise InvalidRequest(
            f"It uses {{{{{asked[0]}}}}}, but the first step has no parent picture.",
            hint="Load a file there, or put a step before it.",
        )


def _lowered(problem: PersonaError) -> str:
    return problem.message[:1].lower() + problem.message[1:]


def _require_plain_keys(step: StepInput) -> None:
    for node, entry in step.workflow.items():
        name = next((name for name in (node, *entry.get("inputs", {})) if "{{" in str(name)), None)
        if name is not None:
            raise InvalidRequest(
                f"Node {node} has a placeholder in a name, {name}.", hint="Placeholders go into values only."
            )


def _require_output(step: StepInput) -> None:
    if step.output_node is not None and step.output_node not in step.workflow:
        raise InvalidRequest(f"There is no node {step.output_node}.", hint="Correct the output node.")
    if not output_nodes(step.workflow, step.output_node):
        raise InvalidRequest(
            f"No node saves a picture: it has no {SAVE_CLASS}.",
            hint=f"Add a {SAVE_CLASS}, or name the output node.",
        )


def warnings_on(position: int, step: StepInput) -> Iterator[str]:
    """What works in a step, but is hardly meant."""
    asked = _asked(step)
    if step.children_per_parent > 1 and not asked & _SEEDS:
        yield f"Step {position}, {step.name}, has no {{{{seed}}}}: all its pictures will be alike."
    if position > 1 and not asked & set(PARENTS):
        yield f"Step {position}, {step.name}, has no {{{{{PARENT_IMAGE}}}}}: it ignores the step before."


def _asked(step: StepInput) -> set[str]:
    return {placeholder.name for placeholder in find_placeholders(step.workflow)}
