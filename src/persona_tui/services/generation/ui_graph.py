"""The editor's own file format, read into plain values: nodes, links and subgraphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from persona_tui.errors import InvalidRequest
from persona_tui.text import clean

NEVER, BYPASS = 2, 4
"""Modes of a node: muted, and bypassed; everything else runs."""
INPUT_NODE, OUTPUT_NODE = "-10", "-20"
"""Ids that stand in a subgraph's links for its own inputs and outputs."""

_HINT = "Save it again in ComfyUI, or use Workflow → Export (API)."


@dataclass(frozen=True)
class UiSlot:
    """An input or output of a node.

    Attributes:
        link: what is linked to an input; None for an output and a free input.
        widget: name of the value that the input stands for, if it stands for one.
    """

    name: str
    type: str
    link: int | None = None
    widget: str | None = None


@dataclass(frozen=True)
class UiLink:
    """From an output to an input; ids of nodes, indexes of slots."""

    origin: str
    origin_slot: int
    target: str
    target_slot: int


@dataclass(frozen=True, eq=False)
class UiNode:
    """A node as the editor saves it.

    Attributes:
        type: its class, or the id of a subgraph.
        values: what its widgets hold, by place or by name.
        named: the same by name, where the editor wrote that too.
    """

    id: str
    type: str
    mode: int
    title: str | None
    inputs: tuple[UiSlot, ...]
    outputs: tuple[UiSlot, ...]
    values: Sequence[Any] | Mapping[str, Any]
    named: Mapping[str, Any]
    properties: Mapping[str, Any]

    @property
    def runs(self) -> bool:
        """Whether it is neither muted nor bypassed."""
        return self.mode not in (NEVER, BYPASS)


@dataclass(frozen=True, eq=False)
class UiGraph:
    """The whole canvas, or the inside of one subgraph.

    Attributes:
        name: of the subgraph; empty for the canvas.
        inputs, outputs: a subgraph's own; empty for the canvas.
    """

    name: str
    nodes: Mapping[str, UiNode]
    links: Mapping[int, UiLink]
    inputs: tuple[UiSlot, ...] = ()
    outputs: tuple[UiSlot, ...] = ()

    def links_from(self, node: str) -> Iterator[UiLink]:
        """The links that begin at a node."""
        return (link for link in self.links.values() if link.origin == node)


@dataclass(frozen=True)
class UiFile:
    """A file of the editor: the canvas, and the subgraphs that stand on it by their ids."""

    canvas: UiGraph
    subgraphs: Mapping[str, UiGraph]


def is_ui_format(document: object) -> bool:
    """Whether a document is the editor's own format rather than the server's."""
    return (
        isinstance(document, Mapping)
        and isinstance(document.get("nodes"), list)
        and isinstance(document.get("links"), list | Mapping)
    )


def read_ui_file(document: Mapping[str, Any]) -> UiFile:
    """The document as plain values.

    Raises:
        InvalidRequest: a node, a link or a subgraph is not as the editor writes it.
    """
    definitions = _object(document.get("definitions"), "its definitions")
    subgraphs: dict[str, UiGraph] = {}
    for raw in _list(definitions.get("subgraphs"), "its subgraphs"):
        found = _object(raw, "a subgraph")
        if not isinstance(found.get("id"), str):
            raise _bad("a subgraph has no id")
        subgraphs[found["id"]] = _graph(found, str(found.get("name", "subgraph")))
    return UiFile(_graph(document, ""), subgraphs)


def _graph(raw: Mapping[str, Any], name: str) -> UiGraph:
    nodes: dict[str, UiNode] = {}
    for entry in _list(raw.get("nodes"), "the list of nodes"):
        node = _node(_object(entry, "a node"))
        if node.id in nodes:
            raise _bad(f"two nodes have the id {node.id}")
        nodes[node.id] = node
    links = raw.get("links")
    entries = list(links.values()) if isinstance(links, Mapping) else _list(links, "the list of links")
    return UiGraph(
        name,
        nodes,
        dict(_link(entry) for entry in entries if entry),
        _slots(raw.get("inputs"), name),
        _slots(raw.get("outputs"), name),
    )


def _node(raw: Mapping[str, Any]) -> UiNode:
    identity, kind, mode = raw.get("id"), raw.get("type"), raw.get("mode", 0)
    if not isinstance(identity, int | str) or not isinstance(kind, str):
        raise _bad("a node has no id or no type")
    values, title = raw.get("widgets_values"), raw.get("title")
    return UiNode(
        str(identity),
        kind,
        mode if isinstance(mode, int) else 0,
        title if isinstance(title, str) and title else None,
        _slots(raw.get("inputs"), f"node {identity}"),
        _slots(raw.get("outputs"), f"node {identity}"),
        values if isinstance(values, list | Mapping) else (),
        _mapping(raw.get("widgets_values_named")),
        _mapping(raw.get("properties")),
    )


def _slots(raw: object, owner: str) -> tuple[UiSlot, ...]:
    return tuple(_slot(_object(entry, f"a slot of {owner}")) for entry in _list(raw, f"the slots of {owner}"))


def _slot(raw: Mapping[str, Any]) -> UiSlot:
    link, widget = raw.get("link"), _mapping(raw.get("widget")).get("name")
    kind = raw.get("type", "*")
    return UiSlot(
        str(raw.get("name", "")),
        # A combo of older files has the list of its choices for a type.
        kind if isinstance(kind, str) else "COMBO" if isinstance(kind, list) else "*",
        link if isinstance(link, int) and not isinstance(link, bool) else None,
        widget if isinstance(widget, str) else None,
    )


def _link(raw: object) -> tuple[int, UiLink]:
    if isinstance(raw, Mapping):
        names = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
        parts: Sequence[Any] = [raw.get(name) for name in names]
    else:
        parts = raw if isinstance(raw, list) else ()
    if len(parts) < 5 or not all(isinstance(parts[index], int) for index in (0, 2, 4)):
        raise _bad("a link does not say from where to where it goes")
    return parts[0], UiLink(str(parts[1]), parts[2], str(parts[3]), parts[4])


def _list(raw: object, what: str) -> list[Any]:
    if raw is None:
        return []
    if not isinstance(raw, list):
        raise _bad(f"{what} is no list")
    return raw


def _object(raw: object, what: str) -> Mapping[str, Any]:
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise _bad(f"{what} is no object")
    return raw


def _mapping(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}


def _bad(what: str) -> InvalidRequest:
    return InvalidRequest(
        f"It is not as ComfyUI's editor saves it: {clean(what, keep_lines=False)}.", hint=_HINT
    )
