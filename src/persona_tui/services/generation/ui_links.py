"""Where an input of the editor's graph really gets its value: past reroutes, bypassed nodes and subgraphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from persona_tui.errors import InvalidRequest
from persona_tui.services.generation.ui_expansion import Scope, slot_named
from persona_tui.services.generation.ui_graph import BYPASS, INPUT_NODE, NEVER, OUTPUT_NODE, UiNode, UiSlot

REROUTES = frozenset({"Reroute", "Reroute (rgthree)"})
NOTES = frozenset({"Note", "MarkdownNote", "Label (rgthree)", "Bookmark (rgthree)"})
PRIMITIVE, SETTER, GETTER = "PrimitiveNode", "SetNode", "GetNode"
"""Nodes that only the editor knows: a value with its own node, and links without a line."""
EDITOR_ONLY = REROUTES | NOTES | {PRIMITIVE, SETTER, GETTER}


@dataclass(frozen=True)
class Link:
    """An output of a node that runs."""

    node: str
    slot: int


@dataclass(frozen=True)
class Literal:
    """A value that stands in place of a link."""

    value: Any


@dataclass(frozen=True)
class Removed:
    """What was linked is muted: the input gets nothing, not even its own value."""


Source: TypeAlias = Link | Literal | Removed


@dataclass(frozen=True)
class _Input:
    scope: Scope
    node: UiNode
    slot: int


@dataclass(frozen=True)
class _Output:
    scope: Scope
    node: UiNode
    slot: int


def source_of(scope: Scope, node: UiNode, slot: int) -> Source | None:
    """What an input is linked to in the end; None when nothing is, so that its own value counts.

    Raises:
        InvalidRequest: the links run in a circle, or lead to a node that is not there.
    """
    kind = node.inputs[slot].type
    at: _Input | _Output | Source | None = _Input(scope, node, slot)
    seen: set[_Input | _Output] = set()
    while isinstance(at, _Input | _Output):
        if at in seen:
            place = f"input {node.inputs[slot].name} of node {scope.id_of(node)}"
            raise InvalidRequest(
                f"The links behind {place} run in a circle.",
                hint="Cut the circle in ComfyUI and save the workflow again.",
            )
        seen.add(at)
        at = _before(at) if isinstance(at, _Input) else _behind(at, kind)
    return at


def _before(place: _Input) -> _Input | _Output | Source | None:
    scope = place.scope
    number = place.node.inputs[place.slot].link if place.slot < len(place.node.inputs) else None
    link = None if number is None else scope.graph.links.get(number)
    if link is None:
        return None
    if link.origin == INPUT_NODE:
        return _outside(scope, link.origin_slot)
    return _output(scope, link.origin, link.origin_slot)


def _output(scope: Scope, node: str, slot: int) -> _Output:
    found = scope.graph.nodes.get(node)
    if found is None:
        raise InvalidRequest(
            f"A link begins at node {':'.join((*scope.path, node))}, which is not there.",
            hint="Save it again in ComfyUI.",
        )
    return _Output(scope, found, slot)


def _outside(scope: Scope, index: int) -> _Input | Source | None:
    """From an input of a subgraph to the node that stands for it."""
    if scope.host is None or scope.outer is None or index >= len(scope.graph.inputs):
        return None
    name = scope.graph.inputs[index].name
    slot = slot_named(scope.host.inputs, name)
    if slot is not None and scope.host.inputs[slot].link is not None:
        return _Input(scope.outer, scope.host, slot)
    return Literal(scope.shared[name]) if name in scope.shared else None


def _behind(place: _Output, kind: str) -> _Input | _Output | Source | None:
    scope, node = place.scope, place.node
    if node.mode == BYPASS:
        slot = _bypassing(node, place.slot, kind)
        return None if slot is None else _Input(scope, node, slot)
    if node.type in EDITOR_ONLY:
        return _editor_only(place)
    if node.mode == NEVER:
        return Removed()
    inner = scope.inner.get(node.id)
    return Link(scope.id_of(node), place.slot) if inner is None else _inner_output(inner, place.slot)


def _inner_output(inner: Scope, slot: int) -> _Input | _Output | Source | None:
    for link in inner.graph.links.values():
        if link.target == OUTPUT_NODE and link.target_slot == slot:
            if link.origin == INPUT_NODE:
                return _outside(inner, link.origin_slot)
            return _output(inner, link.origin, link.origin_slot)
    return None


def _editor_only(place: _Output) -> _Input | Source | None:
    scope, node = place.scope, place.node
    if node.type in REROUTES or node.type == SETTER:
        return _Input(scope, node, 0)
    if node.type == PRIMITIVE:
        value = _first(node.values)
        return None if value is None else Literal(value)
    return _setter_of(scope, node) if node.type == GETTER else None


def _setter_of(scope: Scope | None, getter: UiNode) -> _Input | None:
    """The node that gives a name to what the getter takes by it, here or further out."""
    name = _first(getter.values)
    while scope is not None:
        for node in scope.graph.nodes.values():
            if node.type == SETTER and _first(node.values) == name:
                return _Input(scope, node, 0)
        scope = scope.outer
    return None


def _first(values: Sequence[Any] | Mapping[str, Any]) -> Any:
    return next(iter(values.values() if isinstance(values, Mapping) else values), None)


def _bypassing(node: UiNode, slot: int, kind: str) -> int | None:
    """The input that a bypassed node passes on: at the same place if it fits, else the first that does."""
    inputs = node.inputs
    if not inputs:
        return None
    if kind in ("*", ""):
        return slot if slot < len(inputs) else 0
    given = node.outputs[slot].type if slot < len(node.outputs) else kind
    if slot < len(inputs) and _passes(inputs[slot], given, kind):
        return slot
    same = (index for index, one in enumerate(inputs) if one.type == kind)
    near = (index for index, one in enumerate(inputs) if _passes(one, given, kind))
    return next(same, next(near, None))


def _passes(one: UiSlot, given: str, kind: str) -> bool:
    return _fit(one.type, given) and _fit(one.type, kind)


def _fit(one: str, other: str) -> bool:
    """The editor's rule for links: same types, a common one among several, or any."""
    if "*" in (one, other) or "" in (one, other):
        return True
    return bool(set(one.lower().split(",")) & set(other.lower().split(",")))
