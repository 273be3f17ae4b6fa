"""From ComfyUI's editor format to the API format, which alone the server runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from persona_tui.errors import InvalidRequest
from persona_tui.services.generation.declared import Declared, class_of, nearest, short, title_of
from persona_tui.services.generation.ui_expansion import Scope, laid_out, values_of
from persona_tui.services.generation.ui_graph import UiNode, read_ui_file
from persona_tui.services.generation.ui_links import EDITOR_ONLY, Link, Literal, Removed, source_of
from persona_tui.services.generation.ui_widgets import with_comments_dropped

_GROUP_NODE = re.compile(r"^workflow[>/]")
_CHOICE = re.compile(r"(?<!\{)\{[^{}|]*\|[^{}]*\}(?!\})")
_DATE = re.compile(r"%(date:[^%]+|[^%\s]+\.[^%\s]+)%")


@dataclass(frozen=True)
class Converted:
    """A workflow in API format.

    Attributes:
        warnings: sentences on what the editor does and a server does not.
    """

    workflow: dict[str, Any]
    warnings: tuple[str, ...]


def convert(document: Mapping[str, Any], declared: Declared) -> Converted:
    """What the editor would send to the server for a file that it saved.

    Subgraphs are laid out, reroutes, primitives and notes resolved, bypassed nodes passed by, muted ones left
    out with all that hangs on them. Texts are not touched, so that `{{placeholders}}` stay.

    Args:
        document: the editor's file.
        declared: the answer of `/object_info`; it says which value belongs to which input.

    Raises:
        InvalidRequest: it can't be read, or a node's values can't be told apart.
    """
    canvas = laid_out(read_ui_file(document), declared)
    workflow: dict[str, Any] = {}
    warnings: list[str] = []
    for scope, node in canvas.nodes():
        if not node.runs or node.type in EDITOR_ONLY:
            continue
        if class_of(declared, node.type) is None and not _is_linked(scope, node):
            warnings.append(
                f"Node {scope.id_of(node)}, {short(node.type)}, was left out: the server has no such class,"
                " and nothing is linked to it."
            )
            continue
        workflow[scope.id_of(node)] = _entry(scope, node, declared)
    _drop_lost_links(workflow)
    return Converted(workflow, (*warnings, *_left_to_the_editor(workflow)))


def _entry(scope: Scope, node: UiNode, declared: Declared) -> dict[str, Any]:
    info = class_of(declared, node.type)
    values = values_of(scope, node, declared)
    if values is None:
        raise _unknown_class(scope, node, declared)
    inputs = with_comments_dropped(values, info or {})
    for index, slot in enumerate(node.inputs):
        if info is not None and slot.widget is not None and slot.name not in values:
            continue  # a value of another version of the class
        source = source_of(scope, node, index)
        if isinstance(source, Link):
            inputs[slot.name] = [source.node, source.slot]
        elif isinstance(source, Literal):
            inputs[slot.name] = source.value
        elif isinstance(source, Removed):
            inputs.pop(slot.name, None)
    return {
        "class_type": node.type,
        "inputs": {
            name: value if _is_link_of(node, name, value) else _wrapped(value)
            for name, value in inputs.items()
        },
        "_meta": {"title": node.title or title_of(info or {}, node.type)},
    }


def _is_link_of(node: UiNode, name: str, value: object) -> bool:
    if not isinstance(value, list):
        return False
    return any(slot.name == name and slot.link is not None for slot in node.inputs)


def _wrapped(value: object) -> object:
    """A list that is a value stands in an object, so that nobody takes it for a link."""
    return {"__value__": value} if isinstance(value, list) else value


def _unknown_class(scope: Scope, node: UiNode, declared: Declared) -> InvalidRequest:
    place = f"Node {scope.id_of(node)} is of the class {short(node.type)}"
    if _GROUP_NODE.match(node.type):
        return InvalidRequest(
            f"{place}, a group node of older files.",
            hint="Ungroup it in ComfyUI, or make it a subgraph, and save the workflow again.",
        )
    return InvalidRequest(
        f"{place}, which the server does not have, so its values can't be told apart.",
        hint=nearest(node.type, list(declared)) or "Name a server that has it with --endpoint.",
    )


def _is_linked(scope: Scope, node: UiNode) -> bool:
    return any(slot.link is not None for slot in node.inputs) or any(scope.graph.links_from(node.id))


def _drop_lost_links(workflow: dict[str, Any]) -> None:
    """Links to nodes that were left out go with them."""
    for entry in workflow.values():
        lost = [
            name
            for name, value in entry["inputs"].items()
            if isinstance(value, list) and str(value[0]) not in workflow
        ]
        for name in lost:
            del entry["inputs"][name]


def _left_to_the_editor(workflow: Mapping[str, Any]) -> Iterator[str]:
    for node, entry in workflow.items():
        for name, value in entry["inputs"].items():
            if not isinstance(value, str):
                continue
            place = f"Node {node}, input {short(name)}"
            if (found := _CHOICE.search(value)) is not None:
                yield f"{place}: {short(found.group())} is a choice that only the editor makes."
            if (found := _DATE.search(value)) is not None:
                yield f"{place}: only the editor fills {short(found.group())}."
