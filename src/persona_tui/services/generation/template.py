"""Workflows as templates: `{{name}}` in the inputs of a ComfyUI graph in API format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from persona_tui.errors import InvalidRequest
from persona_tui.passed import Workflow

Value: TypeAlias = str | int | float | bool

_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


@dataclass(frozen=True)
class Placeholder:
    """A place where a variable goes.

    Attributes:
        node: id of the node.
        input: name of its input; parts of a nested one are joined by dots.
        name: the variable.
        whole: it is the input's whole value, which takes the variable's type.
    """

    node: str
    input: str
    name: str
    whole: bool


def find_placeholders(workflow: Workflow) -> tuple[Placeholder, ...]:
    """Every placeholder of a workflow, in the order of its nodes."""
    return tuple(
        Placeholder(node, place, match.group(1), match.span() == (0, len(text)))
        for node, place, text in _texts(workflow)
        for match in _PLACEHOLDER.finditer(text)
    )


def fill(workflow: Workflow, variables: Mapping[str, Value]) -> dict[str, Any]:
    """A copy of the workflow with each placeholder replaced by its variable's value.

    A placeholder that is an input's whole value is replaced by the value with its type; one inside a text
    by the value's text. Values are never read again, so that one can't bring in another; links such as
    `["4", 1]`, classes and titles stay as they are.

    Raises:
        InvalidRequest: names node, input and variable of the first placeholder without a value.
    """
    return {
        node: {
            **entry,
            "inputs": {name: _filled(value, node, name, variables) for name, value in _inputs(entry)},
        }
        for node, entry in workflow.items()
    }


def asks_for(workflow: Workflow, name: str) -> bool:
    """Whether a workflow has a placeholder of that name."""
    return any(place.name == name for place in find_placeholders(workflow))


def in_step(problem: InvalidRequest, position: int, name: str) -> InvalidRequest:
    """The same error with the step in front."""
    return InvalidRequest(
        f"Step {position}, {name}: {problem.message}", title=problem.title, hint=problem.hint
    )


def is_link(value: object) -> bool:
    """Whether an input's value is a link to another node's output: `[node id, output index]`."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
        and not isinstance(value[1], bool)
    )


def as_text(value: Value) -> str:
    """How a value reads inside a text; truth values as in JSON."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _inputs(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from entry.get("inputs", {}).items()


def _texts(workflow: Workflow) -> Iterator[tuple[str, str, str]]:
    for node, entry in workflow.items():
        for name, value in _inputs(entry):
            for place, text in _texts_below(name, value):
                yield node, place, text


def _texts_below(place: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _texts_below(f"{place}.{key}", part)
    elif isinstance(value, list | tuple) and not is_link(value):
        for index, part in enumerate(value):
            yield from _texts_below(f"{place}.{index}", part)


def _filled(value: Any, node: str, place: str, variables: Mapping[str, Value]) -> Any:
    if isinstance(value, str):
        return _filled_text(value, lambda name: _value_of(name, node, place, variables))
    if isinstance(value, Mapping):
        return {key: _filled(part, node, f"{place}.{key}", variables) for key, part in value.items()}
    if isinstance(value, list | tuple) and not is_link(value):
        return [_filled(part, node, f"{place}.{index}", variables) for index, part in enumerate(value)]
    return list(value) if is_link(value) else value


def _filled_text(text: str, value_of: Callable[[str], Value]) -> Value:
    whole = _PLACEHOLDER.fullmatch(text)
    if whole is not None:
        return value_of(whole.group(1))
    return _PLACEHOLDER.sub(lambda match: as_text(value_of(match.group(1))), text)


def _value_of(name: str, node: str, place: str, variables: Mapping[str, Value]) -> Value:
    if name in variables:
        return variables[name]
    raise InvalidRequest(
        f"Node {node}, input {place}: the variable {{{{{name}}}}} has no value.",
        title="Variable without a value",
        hint="Give the run that variable, or correct its name in the workflow.",
    )
