"""Check a graph as the real server does at POST /prompt, with its words and its quirks."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from persona_tui.sandbox.comfyui.files import Folders
from persona_tui.sandbox.comfyui.node_types import Input, NodeType
from persona_tui.sandbox.comfyui.nodes import NODE_TYPES

LONGEST_LIST_TOLD = 20
Graph = MutableMapping[str, Any]
Fault = dict[str, Any]
Verdicts = dict[str, tuple[bool, list[Fault]]]
_CONVERT = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


@dataclass(frozen=True)
class Verdict:
    """What POST /prompt finds.

    Attributes:
        error: the body's `error`; None when at least one output can run.
        outputs: ids of the output nodes that will run.
        node_errors: the body's `node_errors`; may be filled even without an error.
    """

    error: Fault | None
    outputs: list[str]
    node_errors: dict[str, Any]


def _fault(kind: str, message: str, details: str, **extra: Any) -> Fault:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def _type_name(problem: BaseException) -> str:
    kind = type(problem)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def validate_prompt(graph: Graph, folders: Folders, targets: Sequence[str] | None) -> Verdict:
    """Check all that the graph's output nodes need; numbers given as text are converted in place.

    Args:
        targets: only these output nodes count; None: all.
    """
    outputs = []
    for node_id in graph:
        if "class_type" not in graph[node_id]:
            return _unusable("Cannot execute because a node is missing the class_type property.", node_id)
        name = graph[node_id]["class_type"]
        if name not in NODE_TYPES:
            return _unusable(f"Cannot execute because node {name} does not exist.", node_id)
        if NODE_TYPES[name].output_node and (targets is None or node_id in targets):
            outputs.append(node_id)
    if not outputs:
        return Verdict(_fault("prompt_no_outputs", "Prompt has no outputs", ""), [], {})
    return _checked_outputs(graph, folders, outputs)


def _unusable(message: str, node_id: str) -> Verdict:
    return Verdict(_fault("invalid_prompt", message, f"Node ID '#{node_id}'"), [], {})


def _checked_outputs(graph: Graph, folders: Folders, outputs: Sequence[str]) -> Verdict:
    verdicts: Verdicts = {}
    good: list[str] = []
    told: list[str] = []
    node_errors: dict[str, Any] = {}
    for output in outputs:
        try:
            fine, faults = _check_node(graph, folders, output, verdicts)
        except Exception as problem:  # a broken link shows as whatever Python says to it, as upstream
            fine, faults = (
                False,
                [_exception(problem, "exception_during_validation", "Exception when validating node")],
            )
            verdicts[output] = (fine, faults)
        if fine:
            good.append(output)
            continue
        told += [f"{fault['message']}: {fault['details']}" for fault in faults]
        for node_id, (node_fine, node_faults) in verdicts.items():
            if not node_fine and node_faults:
                entry = {
                    "errors": node_faults,
                    "dependent_outputs": [],
                    "class_type": graph[node_id]["class_type"],
                }
                node_errors.setdefault(node_id, entry)["dependent_outputs"].append(output)
    if good:
        return Verdict(None, good, node_errors)
    error = _fault("prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(told))
    return Verdict(error, [], node_errors)


def _exception(problem: Exception, kind: str, message: str, **extra: Any) -> Fault:
    return _fault(
        kind, message, str(problem), **extra,
        exception_type=_type_name(problem), traceback=traceback.format_tb(problem.__traceback__)[-1:],
    )  # fmt: skip


def _check_node(graph: Graph, folders: Folders, node_id: str, verdicts: Verdicts) -> tuple[bool, list[Fault]]:
    if node_id in verdicts:
        return verdicts[node_id]
    given = graph[node_id]["inputs"]
    node_type = NODE_TYPES[graph[node_id]["class_type"]]
    faults: list[Fault] = []
    fine = True
    for name, (declared, required) in node_type.inputs.items():
        if name not in given:
            if required:
                faults.append(
                    _fault("required_input_missing", "Required input is missing", name, input_name=name)
                )
        elif isinstance(given[name], list):
            fault, upstream_fine = _check_link(graph, folders, name, given[name], declared, verdicts)
            faults += [fault] if fault else []
            fine = fine and upstream_fine
        else:
            fault = _check_value(folders, node_type, given, name, declared)
            faults += [fault] if fault else []
    faults += _own_checks(folders, node_type, given)
    verdicts[node_id] = (fine and not faults, faults)
    return verdicts[node_id]


def _check_link(
    graph: Graph, folders: Folders, name: str, link: list[Any], declared: Input, verdicts: Verdicts
) -> tuple[Fault | None, bool]:
    """The fault of the link itself, and whether what it leads to is fine."""
    kind = declared.type_in(folders)
    config = [kind, dict(declared.options or {})]
    if len(link) != 2:
        return _fault(
            "bad_linked_input", "Bad linked input, must be a length-2 list of [node_id, slot_index]", name,
            input_name=name, input_config=config, received_value=link,
        ), True  # fmt: skip
    source, slot = link
    received = NODE_TYPES[graph[source]["class_type"]].outputs[slot]
    if received != kind and not (isinstance(kind, list) and received == "COMBO"):
        return _fault(
            "return_type_mismatch", "Return type mismatch between linked nodes",
            f"{name}, received_type({received}) mismatch input_type({kind})",
            input_name=name, input_config=config, received_type=received, linked_node=link,
        ), True  # fmt: skip
    try:
        return None, _check_node(graph, folders, source, verdicts)[0]
    except Exception as problem:
        fault = _exception(
            problem, "exception_during_inner_validation", "Exception when validating inner node",
            input_name=name, input_config=config, exception_message=str(problem), linked_node=link,
        )  # fmt: skip
        verdicts[source] = (False, [fault])
        return None, False


def _check_value(
    folders: Folders, node_type: NodeType, given: MutableMapping[str, Any], name: str, declared: Input
) -> Fault | None:
    kind = declared.type_in(folders)
    options = dict(declared.options or {})
    told = {"input_name": name, "input_config": [kind, options]}
    value = given[name]
    if isinstance(value, dict) and "__value__" in value:
        value = given[name] = value["__value__"]
    convert = _CONVERT.get(kind) if isinstance(kind, str) else None
    if convert is not None:
        try:
            value = given[name] = convert(value)
        except Exception as problem:
            return _fault(
                "invalid_input_type", f"Failed to convert an input value to a {kind} value",
                f"{name}, {value}, {problem}", **told, received_value=value, exception_message=str(problem),
            )  # fmt: skip
    told["received_value"] = value
    if name in node_type.check:
        return None
    if "min" in options and value < options["min"]:
        return _fault(
            "value_smaller_than_min", f"Value {value} smaller than min of {options['min']}", name, **told
        )
    if "max" in options and value > options["max"]:
        return _fault(
            "value_bigger_than_max", f"Value {value} bigger than max of {options['max']}", name, **told
        )
    return _check_choice(kind, value, name, told) if isinstance(kind, list) else None


def _check_choice(choices: list[str], value: Any, name: str, told: dict[str, Any]) -> Fault | None:
    if value in choices:
        return None
    listed = str(choices)
    if len(choices) > LONGEST_LIST_TOLD:
        listed = f"(list of length {len(choices)})"
        told["input_config"] = None
    return _fault("value_not_in_list", "Value not in list", f"{name}: '{value}' not in {listed}", **told)


def _own_checks(folders: Folders, node_type: NodeType, given: Mapping[str, Any]) -> list[Fault]:
    faults = []
    for name, check in node_type.check.items():
        wrong = check(folders, given[name]) if name in given and not isinstance(given[name], list) else None
        if wrong:
            faults.append(
                _fault(
                    "custom_validation_failed",
                    "Custom validation failed for node",
                    f"{name} - {wrong}",
                    input_name=name,
                )
            )
    return faults
