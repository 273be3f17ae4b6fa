"""Whether a server can run a workflow, found out without running it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from persona_tui.errors import ClientError
from persona_tui.passed import Workflow
from persona_tui.services.generation.asking import Connect
from persona_tui.services.generation.declared import (
    DYNAMIC_COMBO,
    Declared,
    DeclaredInput,
    chosen_inputs,
    class_of,
    inputs_of,
    nearest,
    outputs_of,
    short,
)
from persona_tui.services.generation.graph import output_nodes
from persona_tui.services.generation.template import find_placeholders, is_link
from persona_tui.services.generation.variables import BUILT_IN, is_variable_name

if TYPE_CHECKING:
    from persona_tui.clients.comfyui import ComfyUIClient
    from persona_tui.services.generation.pipeline_input import PipelineInput

_ANY = "*"
_NUMBERS = frozenset({"INT", "FLOAT"})
_CONVERTED = frozenset({"STRING", "BOOLEAN", "COMBO"})
"""Types into which the server turns any value."""


@dataclass(frozen=True)
class Finding:
    """One thing that keeps a workflow from running, or might.

    Attributes:
        severity: `fail` when the server would refuse it, `warn` when it depends on the run.
        node: its id; empty for the whole workflow.
        input: of that node; empty for the node itself.
    """

    severity: Literal["fail", "warn"]
    node: str
    input: str
    sentence: str
    hint: str


@dataclass(frozen=True)
class StepFindings:
    """What was found in one step on one server."""

    endpoint: str
    position: int
    step: str
    findings: tuple[Finding, ...]

    @property
    def runs(self) -> bool:
        """Whether nothing keeps the step from running there."""
        return all(finding.severity != "fail" for finding in self.findings)


async def check_on_servers(
    pipeline: PipelineInput, urls: Sequence[str], connect: Connect
) -> tuple[tuple[StepFindings, ...], Declared | None]:
    """Hold a pipeline against several servers; one that does not answer is a finding of its own.

    Returns:
        What was found, and what the first server that answered declares.

    Raises:
        ClientError: no server answers.
    """
    found: list[StepFindings] = []
    known: Declared | None = None
    problem: ClientError | None = None
    for url in urls:
        async with connect(url) as client:
            try:
                declared = await client.object_info()
            except ClientError as away:
                problem = away
                found += _away(pipeline, client.base_url, away)
                continue
        known = declared if known is None else known
        found += _steps(pipeline, client.base_url, declared)
    if known is None and problem is not None:
        raise problem
    return tuple(found), known


async def check_pipeline(pipeline: PipelineInput, client: ComfyUIClient) -> tuple[StepFindings, ...]:
    """Hold every step of a pipeline against what a server says that it has.

    Raises:
        ClientError: the server can't be asked.
    """
    return tuple(_steps(pipeline, client.base_url, await client.object_info()))


def check_workflow(
    workflow: Workflow, declared: Declared, output_node: str | None = None
) -> tuple[Finding, ...]:
    """Everything in a workflow that a server would refuse, by ComfyUI's own rules of validation.

    Args:
        workflow: a graph in API format; its placeholders are taken for values that fit.
        declared: the answer of `/object_info`: class → inputs and outputs.
        output_node: the node whose pictures count; None means every SaveImage.
    """
    found = [
        finding
        for node, entry in workflow.items()
        for finding in _node_findings(str(node), entry, workflow, declared)
    ]
    return (*found, *_output_findings(workflow, declared, output_node), *_variable_findings(workflow))


def _steps(pipeline: PipelineInput, endpoint: str, declared: Declared) -> Iterator[StepFindings]:
    for position, step in enumerate(pipeline.steps, start=1):
        findings = check_workflow(step.workflow, declared, step.output_node)
        yield StepFindings(endpoint, position, step.name, findings)


def _away(pipeline: PipelineInput, endpoint: str, problem: ClientError) -> Iterator[StepFindings]:
    finding = Finding("fail", "", "", problem.message, problem.hint)
    for position, step in enumerate(pipeline.steps, start=1):
        yield StepFindings(endpoint, position, step.name, (finding,))


def _node_findings(
    node: str, entry: Mapping[str, Any], workflow: Workflow, declared: Declared
) -> Iterator[Finding]:
    kind = str(entry.get("class_type", ""))
    info = class_of(declared, kind)
    if info is None:
        hint = nearest(kind, list(declared)) or "Install the custom node on that server."
        yield Finding("fail", node, "", f"Node {node}: the server has no node class {short(kind)}.", hint)
        return
    given = entry.get("inputs", {})
    place = f"Node {node} ({short(kind)})"
    for name in given:
        if "{{" in str(name):
            sentence = f"{place}: the name of an input, {short(name)}, holds a placeholder."
            yield Finding("fail", node, str(name), sentence, "Placeholders go into values only.")
    for one in _with_chosen(inputs_of(info), given):
        if one.name in given:
            yield from _value_findings(node, place, one, given[one.name], workflow, declared)
        elif one.required and not one.type.startswith("COMFY_AUTOGROW"):
            sentence = f"{place}: its input {one.name} is missing."
            yield Finding("fail", node, one.name, sentence, "Export it again.")


def _with_chosen(inputs: Iterable[DeclaredInput], given: Mapping[str, Any]) -> Iterator[DeclaredInput]:
    """The inputs with those that a dynamic choice brings."""
    for one in inputs:
        yield one
        if one.type == DYNAMIC_COMBO:
            yield from _with_chosen(chosen_inputs(one, given.get(one.name)), given)


def _value_findings(
    node: str, place: str, one: DeclaredInput, value: object, workflow: Workflow, declared: Declared
) -> Iterator[Finding]:
    if is_link(value):
        assert isinstance(value, list | tuple)
        wrong = _wrong_link(value, one, workflow, declared)
    elif isinstance(value, str) and "{{" in value:
        return
    else:
        wrong = _wrong_value(value, one)
    if wrong is not None:
        yield Finding("fail", node, one.name, f"{place}: input {one.name} {wrong[0]}.", wrong[1])


def _wrong_link(
    link: Sequence[Any], one: DeclaredInput, workflow: Workflow, declared: Declared
) -> tuple[str, str] | None:
    source = workflow.get(link[0])
    if source is None:
        return (
            f"is linked to node {short(link[0])}, which is not there",
            "Link it to a node of the workflow.",
        )
    info = class_of(declared, str(source.get("class_type")))
    if info is None:
        return None  # that node's class is a finding of its own
    outputs = outputs_of(info)
    if not 0 <= link[1] < len(outputs):
        return (
            f"is linked to output {link[1]} of node {link[0]}, which has {len(outputs)}",
            "Correct the link.",
        )
    got = outputs[link[1]]
    if one.type.startswith("COMFY_") or _fits(got, one.type):
        return None
    return f"takes {short(one.type)} but is linked to {short(got)}", "Link it to an output of that type."


def _wrong_value(value: object, one: DeclaredInput) -> tuple[str, str] | None:
    if one.type in ("COMBO", DYNAMIC_COMBO):
        choices = [
            str(choice.get("key")) if isinstance(choice, Mapping) else str(choice) for choice in one.choices
        ]
        # A picture may lie in a subfolder, which the list does not show.
        if not isinstance(value, str) or value in choices or one.options.get("image_upload"):
            return None
        hint = nearest(value, choices) or "It has none: put the file into that server's models folder."
        return f"is {short(repr(value))}, which the server does not have", hint
    if one.type in _NUMBERS:
        if not _is_number(value, one.type):
            return f"is {short(repr(value))}, which is no {one.type}", "Correct the value."
        return _beyond(value, one.options)
    if one.type in _CONVERTED or not one.type.isupper() or isinstance(value, Mapping | list):
        return None
    return f"needs a link to {short(one.type)}", "Link it to a node that makes one."


def _beyond(value: object, options: Mapping[str, Any]) -> tuple[str, str] | None:
    if not isinstance(value, int | float):
        return None
    for limit, low in (("min", True), ("max", False)):
        end = options.get(limit)
        if isinstance(end, int | float) and (value < end if low else value > end):
            side = "below the least" if low else "above the most"
            return f"is {value}, {side}, {end}", "Correct the value."
    return None


def _is_number(value: object, kind: str) -> bool:
    if not isinstance(value, str | int | float):
        return False
    try:
        int(value) if kind == "INT" else float(value)
    except (ValueError, OverflowError):
        return False
    return True


def _output_findings(workflow: Workflow, declared: Declared, output_node: str | None) -> Iterator[Finding]:
    """Whether the pictures that count are there at all, and nothing but pictures."""
    nodes = output_nodes(workflow, output_node)
    if not nodes:
        yield Finding("fail", "", "", "No node saves a picture.", "Add a SaveImage, or name the output node.")
    for node in nodes:
        entry = workflow.get(node)
        if entry is None:
            yield Finding(
                "fail", node, "", f"The output node {short(node)} is not there.", "Name another one."
            )
            continue
        kind = str(entry.get("class_type", ""))
        info = class_of(declared, kind)
        if info is not None and not info.get("output_node"):
            sentence = f"Node {node} ({short(kind)}) saves nothing, so it can't be the output node."
            yield Finding("fail", node, "", sentence, "Name a node that saves pictures, such as SaveImage.")


def _variable_findings(workflow: Workflow) -> Iterator[Finding]:
    for place in find_placeholders(workflow):
        if place.name in BUILT_IN:
            continue
        told = f"Node {place.node}, input {short(place.input)}: {{{{{short(place.name)}}}}}"
        near = difflib.get_close_matches(place.name, sorted(BUILT_IN), 1, 0.75)
        meant = f"Did you mean {{{{{near[0]}}}}}? " if near else ""
        if not is_variable_name(place.name):
            sentence, hint = f"{told} is no name that a run can set.", "Use letters, digits and _ alone."
            yield Finding("fail", place.node, place.input, sentence, meant + hint)
            continue
        sentence = f"{told} is no built-in variable."
        hint = f"{meant}Each run must set it, or it won't start."
        yield Finding("warn", place.node, place.input, sentence, hint)


def _fits(got: str, wanted: str) -> bool:
    """ComfyUI's rule: every type of the output is one of the input's; `*` fits all."""
    return _ANY in (got, wanted) or set(got.split(",")) <= set(wanted.split(",")) or wanted == "COMBO"
