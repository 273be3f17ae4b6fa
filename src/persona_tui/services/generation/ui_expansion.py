"""The canvas with every subgraph laid out: which nodes there are, and what their shared values are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from persona_tui.errors import InvalidRequest
from persona_tui.services.generation.declared import Declared, class_of
from persona_tui.services.generation.ui_graph import INPUT_NODE, UiFile, UiGraph, UiNode, UiSlot
from persona_tui.services.generation.ui_widgets import values_by_slots, widget_values

DEEPEST = 32
"""Subgraphs within subgraphs."""
LARGEST = 20_000
"""Nodes, once all subgraphs are laid out."""

_OWN = "-1"
"""Stands in `proxyWidgets` for a value that belongs to an input of the subgraph itself."""

Values: TypeAlias = Mapping[tuple[str, str], Any]
"""Node and widget → the value that an outer node gives it."""


@dataclass(frozen=True, eq=False)
class Scope:
    """One canvas: the outer one, or a subgraph where it is used.

    Attributes:
        path: ids of the subgraph nodes from outside to here.
        host: the node that stands for this subgraph in `outer`.
        shared: input of the subgraph → its value, where no link goes to it.
        given: values that outer nodes give to nodes here.
        inner: subgraph node → its inside, for those that run.
    """

    path: tuple[str, ...]
    graph: UiGraph
    outer: Scope | None = None
    host: UiNode | None = None
    shared: Mapping[str, Any] = field(default_factory=dict)
    given: Values = field(default_factory=dict)
    inner: dict[str, Scope] = field(default_factory=dict)

    def id_of(self, node: UiNode) -> str:
        """The node's id in the workflow that the server gets."""
        return ":".join((*self.path, node.id))

    def nodes(self) -> Iterator[tuple[Scope, UiNode]]:
        """Every node here and further in, each with its scope, in the order of the file."""
        for node in self.graph.nodes.values():
            inner = self.inner.get(node.id)
            if inner is not None:
                yield from inner.nodes()
            else:
                yield self, node


def laid_out(file: UiFile, declared: Declared) -> Scope:
    """The outer scope with all inner ones.

    Raises:
        InvalidRequest: the subgraphs never end, or are too many.
    """
    canvas = Scope((), file.canvas)
    waiting, count = [canvas], len(file.canvas.nodes)
    while waiting:
        scope = waiting.pop()
        for node in scope.graph.nodes.values():
            if node.type in file.subgraphs and node.runs:
                inner = _inside(scope, node, file, declared)
                count += len(inner.graph.nodes)
                if len(inner.path) > DEEPEST or count > LARGEST:
                    raise InvalidRequest(
                        f"Its subgraphs hold each other too deeply: at most {DEEPEST} levels and"
                        f" {LARGEST} nodes.",
                        hint="Unpack the subgraphs in ComfyUI and save the workflow again.",
                    )
                scope.inner[node.id] = inner
                waiting.append(inner)
    return canvas


def values_of(scope: Scope, node: UiNode, declared: Declared) -> dict[str, Any] | None:
    """What the node's own widgets hold, with what outer nodes give it; None when they can't be named."""
    info = class_of(declared, node.type)
    values = values_by_slots(node) if info is None else widget_values(node, info)
    if values is None:
        return None
    return values | {name: value for (owner, name), value in scope.given.items() if owner == node.id}


def slot_named(slots: tuple[UiSlot, ...], name: str) -> int | None:
    """The index of the slot with a name."""
    return next((index for index, slot in enumerate(slots) if slot.name == name), None)


def _inside(outer: Scope, host: UiNode, file: UiFile, declared: Declared) -> Scope:
    graph = file.subgraphs[host.type]
    shared = {
        slot.name: value
        for index, slot in enumerate(graph.inputs)
        if (value := _first_value(graph, index, file, declared)) is not None
    }
    given: dict[tuple[str, str], Any] = {}
    for (owner, name), value in _host_values(outer, host, graph, file):
        if owner != _OWN:
            given[owner, name] = value
        if owner == _OWN or name in shared:
            shared[name] = value
    return Scope((*outer.path, host.id), graph, outer, host, shared, given)


def _host_values(
    outer: Scope, host: UiNode, graph: UiGraph, file: UiFile
) -> Iterator[tuple[tuple[str, str], Any]]:
    """What the subgraph node itself holds: values of its inputs, and of nodes inside it."""
    places = _places(host, graph, file)
    if isinstance(host.values, Mapping):
        named: Mapping[str, Any] = host.values
    else:
        named = host.named
        # null means: as inside.
        yield from (pair for pair in zip(places, host.values, strict=False) if pair[1] is not None)
    yield from ((place, named[place[1]]) for place in places if named.get(place[1]) is not None)
    for (owner, name), value in outer.given.items():
        if owner == host.id:
            place = next((place for place in places if place[1] == name), (_OWN, name))
            yield place, value


def _places(host: UiNode, graph: UiGraph, file: UiFile) -> list[tuple[str, str]]:
    """Whose value each of the subgraph node's widgets is, in their order."""
    own = [(_OWN, slot.name) for index, slot in enumerate(graph.inputs) if _is_shared(graph, index, file)]
    proxies = host.properties.get("proxyWidgets")
    if not isinstance(proxies, list):
        return own
    listed = [
        (str(entry[0]), str(entry[1])) for entry in proxies if isinstance(entry, list) and len(entry) >= 2
    ]
    names = {name for _owner, name in listed}
    return [*(place for place in own if place[1] not in names), *listed]


def _is_shared(graph: UiGraph, index: int, file: UiFile, depth: int = 0) -> bool:
    """Whether an input of a subgraph stands for a widget inside it."""
    for node, slot in _targets(graph, index):
        if slot.widget is not None:
            return True
        inner = file.subgraphs.get(node.type)
        further = None if inner is None else slot_named(inner.inputs, slot.name)
        if inner is not None and further is not None and depth < DEEPEST:
            return _is_shared(inner, further, file, depth + 1)
    return False


def _first_value(graph: UiGraph, index: int, file: UiFile, declared: Declared, depth: int = 0) -> Any:
    """What an input of a subgraph holds by itself: the value of the first widget behind it."""
    for node, slot in _targets(graph, index):
        inner = file.subgraphs.get(node.type)
        if inner is None and slot.widget is not None:
            return (values_of(Scope((), graph), node, declared) or {}).get(slot.widget)
        if inner is not None and (further := slot_named(inner.inputs, slot.name)) is not None:
            places = _places(node, inner, file)
            values = list(node.values) if not isinstance(node.values, Mapping) else []
            held = dict(zip(places, values, strict=False)).get((_OWN, slot.name))
            if held is not None or depth >= DEEPEST:
                return held
            return _first_value(inner, further, file, declared, depth + 1)
    return None


def _targets(graph: UiGraph, index: int) -> Iterator[tuple[UiNode, UiSlot]]:
    for link in graph.links_from(INPUT_NODE):
        node = graph.nodes.get(link.target)
        if link.origin_slot == index and node is not None and link.target_slot < len(node.inputs):
            yield node, node.inputs[link.target_slot]
