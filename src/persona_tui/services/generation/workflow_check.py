"""Whether a server can run a workflow, found out without running it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from persona_tui.clients.comfyui_refusals import choices_in
from persona_tui.passed import Workflow
from persona_tui.services.generation.template import find_placeholders, is_link
from persona_tui.services.generation.variables import BUILT_IN
from persona_tui.text import clean

if TYPE_CHECKING:
    from persona_tui.clients.comfyui import ComfyUIClient
    from persona_tui.services.generation.pipeline_input import PipelineInput

_NEAREST = 3
_LONGEST = 80
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


async def check_pipeline(pipeline: PipelineInput, client: ComfyUIClient) -> tuple[StepFindings, ...]:
    """Hold every step of a pipeline against what a server says that it has.

    Raises:
        ClientError: the server can't be asked.
    """
    declared = await client.object_info()
    return tuple(
        StepFindings(client.base_url, position, step.name, check_workflow(step.workflow, declared))
        for position, step in enumerate(pipeline.steps, start=1)
    )


def check_workflow(workflow: Workflow, declared: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Everything in a workflow that a server would refuse, by ComfyUI's own rules of validation.

    Args:
        workflow: a graph in API format; its placeholders are taken for values that fit.
        declared: the answer of `/object_info`: class → inputs and outputs.
    """
    found = [
        finding
        for node, entry in workflow.items()
        for finding in _node_findings(str(node), entry, workflow, declared)
    ]
    return (*found, *_variable_findings(workflow))


def _node_findings(
    node: str, entry: Mapping[str, Any], workflow: Workflow, declared: Mapping[str, Any]
) -> Iterator[Finding]:
    kind = str(entry.get("class_type", ""))
    info = declared.get(kind)
    if not isinstance(info, Mapping):
        hint = _nearest(kind, list(declared)) or "Install the custom node on that server."
        yield Finding("fail", node, "", f"Node {node}: the server has no node class {_short(kind)}.", hint)
        return
    groups = info.get("input")
    groups = groups if isinstance(groups, Mapping) else {}
    required, optional = (_group(groups, name) for name in ("required", "optional"))
    given = entry.get("inputs", {})
    place = f"Node {node} ({_short(kind)})"
    for name in given:
        if "{{" in str(name):
            sentence = f"{place}: the name of an input, {_short(name)}, holds a placeholder."
            yield Finding("fail", node, str(name), sentence, "Placeholders go into values only.")
    for name, config in {**required, **optional}.items():
        if name in given:
            yield from _value_findings(node, place, name, given[name], config, workflow, declared)
        elif name in required:
            yield Finding("fail", node, name, f"{place}: its input {name} is missing.", "Export it again.")


def _value_findings(
    node: str,
    place: str,
    name: str,
    value: object,
    config: object,
    workflow: Workflow,
    declared: Mapping[str, Any],
) -> Iterator[Finding]:
    if is_link(value):
        assert isinstance(value, list | tuple)
        wrong = _wrong_link(value, config, workflow, declared)
    elif isinstance(value, str) and "{{" in value:
        return
    else:
        wrong = _wrong_value(value, config)
    if wrong is not None:
        yield Finding("fail", node, name, f"{place}: input {name} {wrong[0]}.", wrong[1])


def _wrong_link(
    link: Sequence[Any], config: object, workflow: Workflow, declared: Mapping[str, Any]
) -> tuple[str, str] | None:
    source = workflow.get(link[0])
    if source is None:
        return (
            f"is linked to node {_short(link[0])}, which is not there",
            "Link it to a node of the workflow.",
        )
    info = declared.get(source.get("class_type"))
    outputs = info.get("output") if isinstance(info, Mapping) else None
    if not isinstance(outputs, list):
        return None  # that node's class is a finding of its own
    if not 0 <= link[1] < len(outputs):
        return (
            f"is linked to output {link[1]} of node {link[0]}, which has {len(outputs)}",
            "Correct the link.",
        )
    wanted, got = _type_of(config), outputs[link[1]]
    if wanted is None or not isinstance(got, str) or _fits(got, wanted):
        return None
    return f"takes {_short(wanted)} but is linked to {_short(got)}", "Link it to an output of that type."


def _wrong_value(value: object, config: object) -> tuple[str, str] | None:
    kind, options = _type_of(config), _options_of(config)
    if kind is None or isinstance(options.get("options"), list):
        choices = choices_in(config)
        # A picture may lie in a subfolder, which the list does not show.
        if not isinstance(value, str) or value in choices or options.get("image_upload"):
            return None
        hint = _nearest(value, choices) or "It has none: put the file into that server's models folder."
        return f"is {_short(repr(value))}, which the server does not have", hint
    if kind in _NUMBERS:
        if not _is_number(value, kind):
            return f"is {_short(repr(value))}, which is no {kind}", "Correct the value."
        return _beyond(value, options)
    if kind in _CONVERTED or not kind.isupper() or isinstance(value, Mapping | list):
        return None
    return f"needs a link to {_short(kind)}", "Link it to a node that makes one."


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


def _variable_findings(workflow: Workflow) -> Iterator[Finding]:
    for place in find_placeholders(workflow):
        if place.name not in BUILT_IN:
            sentence = (
                f"Node {place.node}, input {place.input}: {{{{{place.name}}}}} is no built-in variable."
            )
            yield Finding(
                "warn", place.node, place.input, sentence, "Each run must set it, or it won't start."
            )


def _group(groups: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = groups.get(name)
    return found if isinstance(found, Mapping) else {}


def _type_of(config: object) -> str | None:
    """The declared type; None for the older way to declare choices."""
    kind = config[0] if isinstance(config, list) and config else None
    return kind if isinstance(kind, str) else None


def _options_of(config: object) -> Mapping[str, Any]:
    options = config[1] if isinstance(config, list) and len(config) > 1 else None
    return options if isinstance(options, Mapping) else {}


def _fits(got: str, wanted: str) -> bool:
    """ComfyUI's rule: every type of the output is one of the input's; `*` fits all."""
    return _ANY in (got, wanted) or set(got.split(",")) <= set(wanted.split(",")) or wanted == "COMBO"


def _nearest(wanted: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(wanted, names, _NEAREST, 0.4) or list(names[:_NEAREST])
    return f"Nearest there: {', '.join(_short(name) for name in near)}." if near else ""


def _short(words: object) -> str:
    told = clean(str(words), keep_lines=False)
    return told if len(told) <= _LONGEST else told[: _LONGEST - 1] + "…"
