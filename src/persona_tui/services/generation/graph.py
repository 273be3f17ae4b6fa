"""What we need to know of a ComfyUI graph in API format: whether it is one, and what files it writes."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from persona_tui.errors import InvalidRequest
from persona_tui.passed import Workflow

SAVE_CLASS = "SaveImage"
PREFIX_INPUT = "filename_prefix"

_HOW_TO_EXPORT = "In ComfyUI choose Workflow → Export (API) and import that file."


@dataclass(frozen=True)
class SavedFile:
    """A file that a SaveImage node writes below the server's output folder."""

    filename: str
    subfolder: str


def require_api_format(workflow: Mapping[str, Any]) -> None:
    """Refuse what is not a graph in API format.

    Raises:
        InvalidRequest: it is the editor's own format, empty, or no graph at all.
    """
    if isinstance(workflow.get("nodes"), list) and "links" in workflow:
        raise InvalidRequest(
            "It is in the editor's format, which the server does not run.", hint=_HOW_TO_EXPORT
        )
    if not workflow:
        raise InvalidRequest("It has no nodes.", hint=_HOW_TO_EXPORT)
    for node, entry in workflow.items():
        if not (isinstance(entry, Mapping) and isinstance(entry.get("class_type"), str)):
            raise InvalidRequest(f"Node {node} has no class_type.", hint=_HOW_TO_EXPORT)
        if not isinstance(entry.get("inputs", {}), Mapping):
            raise InvalidRequest(f"The inputs of node {node} are no object.", hint=_HOW_TO_EXPORT)
    try:
        plain = json.dumps(workflow, allow_nan=False)
    except (ValueError, TypeError):
        raise InvalidRequest("It holds a value that JSON does not have.", hint=_HOW_TO_EXPORT) from None
    if "\\u0000" in plain:
        raise InvalidRequest("A text in it holds a null character.", hint="Remove it from the file.")


def output_nodes(workflow: Workflow, output_node: str | None) -> tuple[str, ...]:
    """The nodes whose pictures count: the one that is named, or every SaveImage."""
    if output_node is not None:
        return (output_node,)
    return tuple(sorted((node for node, entry in workflow.items() if _saves(entry)), key=node_order))


def node_order(node: str) -> tuple[int, str]:
    """Sorts node ids as numbers where they are numbers, so that a job's outputs keep their order."""
    return (int(node) if node.isascii() and node.isdigit() else 1 << 62, node)


def with_token(workflow: Workflow, token: str) -> dict[str, Any]:
    """The filled workflow with the job's token in the prefix of every SaveImage (R11)."""
    marked = dict(workflow)
    for node, entry in workflow.items():
        prefix = entry.get("inputs", {}).get(PREFIX_INPUT)
        if _saves(entry) and isinstance(prefix, str) and token not in prefix:
            marked[node] = {**entry, "inputs": {**entry["inputs"], PREFIX_INPUT: f"{prefix}_{token}"}}
    return marked


def saved_files(workflow: Workflow, output_node: str | None, token: str) -> Iterator[tuple[SavedFile, ...]]:
    """For each SaveImage that counts, the files of its first 64 pictures, were they written.

    A prefix with `%width%` and the like is only known to the server: such a node yields nothing. The counter
    starts at 1, since the token makes the prefix this job's own.
    """
    for node in output_nodes(workflow, output_node):
        entry = workflow.get(node, {})
        prefix = entry.get("inputs", {}).get(PREFIX_INPUT)
        if _saves(entry) and isinstance(prefix, str) and token in prefix and "%" not in prefix:
            subfolder, stem = posixpath.split(posixpath.normpath(prefix))
            yield tuple(SavedFile(f"{stem}_{counter:05}_.png", subfolder) for counter in range(1, 65))


def _saves(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("class_type") == SAVE_CLASS)
