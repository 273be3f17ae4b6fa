"""ComfyUI's refusals, made readable: which node, which input, what value, and what would do."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from persona_tui.clients.comfyui_facts import shortened
from persona_tui.errors import KeyRejected, ServiceRefused

_NODE_OF = re.compile(r"Node ID '#(.*)'")
_CLASS_OF = re.compile(r"node (.*) does not exist")
_LISTED = re.compile(r" not in \[(.*)\]$", re.DOTALL)
_HTML = re.compile(r"<!doctype html|<html", re.IGNORECASE)
_NAMES_TOLD = 3
INVALID = 400


class WorkflowRejected(ServiceRefused):
    """The server won't run the workflow.

    Attributes:
        node_errors: the server's own findings, node id → {"errors": […], "class_type": …}; may be empty.
        status: 400, also where a valid part was queued under status 200; that part has been withdrawn.
    """

    title = "Workflow was rejected"
    hint = "Change the pipeline's template, or install on the server what it lacks."

    def __init__(
        self, message: str, *, node_errors: Mapping[str, Any] | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, status=INVALID, hint=hint)
        self.node_errors: Mapping[str, Any] = node_errors or {}


def refusal_of(response: httpx.Response) -> ServiceRefused:
    """The error for an answer that is not 2xx."""
    status = response.status_code
    if status in {401, 403}:
        return KeyRejected(f"ComfyUI, or a proxy before it, refused the key ({status}).", status=status)
    if status == 413:
        return ServiceRefused(
            f"ComfyUI takes no upload of that size: {_words(response)}.",
            status=status,
            hint="Make the picture smaller, or start the server with a larger --max-upload-size.",
        )
    told = _json_of(response)
    if isinstance(told, dict) and isinstance(told.get("error"), dict):
        return rejection_of(told["error"], told.get("node_errors"))
    if 300 <= status < 400:
        return ServiceRefused(
            f"ComfyUI's address leads on to another one ({status}).",
            status=status,
            hint="Set the final address in the settings.",
        )
    return ServiceRefused(f"ComfyUI answered {status}: {_words(response)}.", status=status)


def rejection_of(error: Mapping[str, Any], node_errors: object) -> WorkflowRejected:
    """The error for the body of a refused prompt."""
    nodes = _usable(node_errors)
    if nodes:
        return WorkflowRejected(node_sentence(nodes), node_errors=nodes)
    message, details = shortened(str(error.get("message", ""))), str(error.get("details", ""))
    found, named = _NODE_OF.search(details), _CLASS_OF.search(message)
    node = shortened(found.group(1), 60) if found else "?"
    if named:
        return WorkflowRejected(
            f"The server has no node class {named.group(1)} (node {node}).",
            hint="Install the custom node on the server, or change the pipeline's template.",
        )
    if "class_type" in message:
        return WorkflowRejected(
            f"The workflow's entry {node} is no node: it has no class_type.",
            hint="Export the workflow from ComfyUI with Export (API), not Save.",
        )
    if error.get("type") == "prompt_no_outputs":
        return WorkflowRejected("The workflow has no output node such as SaveImage.")
    words = ": ".join(part.rstrip(".") for part in (message, shortened(details)) if part)
    return WorkflowRejected(f"ComfyUI rejected the workflow: {words or 'no reason given'}.")


def _usable(node_errors: object) -> dict[str, Any]:
    if not isinstance(node_errors, dict):
        return {}
    return {
        str(node): told
        for node, told in node_errors.items()
        if isinstance(told, dict) and isinstance(told.get("errors"), list) and told["errors"]
    }


def node_sentence(node_errors: Mapping[str, Any], known: Sequence[str] = ()) -> str:
    """One sentence on the first finding, and how many more there are.

    Args:
        known: what the server has in place of an unknown name, where its answer leaves that out.
    """
    node, told = next(iter(node_errors.items()))
    first = told["errors"][0] if isinstance(told["errors"][0], dict) else {}
    more = sum(len(one["errors"]) for one in node_errors.values()) - 1
    kind = shortened(str(told.get("class_type", "unknown class")), 60)
    tail = f" There {'is' if more == 1 else 'are'} {more} more." if more else ""
    return f"Node {shortened(node, 60)} ({kind}): {_finding(first, known)}.{tail}"


def unlisted_choice(node_errors: Mapping[str, Any]) -> tuple[str, str] | None:
    """Class and input of the first finding, where a name is unknown and the server lists no others."""
    told: object = next(iter(node_errors.values()), None)
    match told:
        case {
            "class_type": str() as kind,
            "errors": [
                {
                    "type": "value_not_in_list",
                    "extra_info": {"input_name": str() as name, "input_config": None},
                },
                *_,
            ],
        }:
            return kind, name
    return None


def _finding(error: Mapping[str, Any], known: Sequence[str]) -> str:
    extra = error.get("extra_info")
    extra = extra if isinstance(extra, dict) else {}
    name = shortened(str(extra.get("input_name") or error.get("details") or "?"), 60)
    value = shortened(repr(extra.get("received_value")), 80)
    match error.get("type"):
        case "required_input_missing":
            return f"its input {name} is missing"
        case "value_not_in_list":
            return f"input {name} is {value}, which the server does not have{_nearest(error, extra, known)}"
        case "invalid_input_type":
            return f"input {name} is {value}, which is no {_declared(extra)}"
        case "value_smaller_than_min":
            return f"input {name} is {value}, below the least, {_limit(extra, 'min')}"
        case "value_bigger_than_max":
            return f"input {name} is {value}, above the most, {_limit(extra, 'max')}"
        case "return_type_mismatch":
            received = shortened(str(extra.get("received_type")), 40)
            return f"input {name} takes {_declared(extra)} but is linked to {received}"
        case "exception_during_validation" | "exception_during_inner_validation" if _is_lost_link(extra):
            lost = shortened(str(error.get("details")), 40).strip("'")
            return f"it, or a node before it, is linked to node {lost}, which is not there"
    words = (shortened(str(error.get(part, "")), 200).rstrip(".") for part in ("message", "details"))
    return ": ".join(part for part in words if part) or "no reason given"


def _is_lost_link(extra: Mapping[str, Any]) -> bool:
    return extra.get("exception_type") == "KeyError"


def _declared(extra: Mapping[str, Any]) -> str:
    config = extra.get("input_config")
    kind = config[0] if isinstance(config, list) and config else None
    return shortened(kind, 40) if isinstance(kind, str) else "value of its kind"


def _limit(extra: Mapping[str, Any], which: str) -> str:
    config = extra.get("input_config")
    options = config[1] if isinstance(config, list) and len(config) > 1 else None
    return shortened(str(options.get(which)), 40) if isinstance(options, dict) else "unknown"


def _nearest(error: Mapping[str, Any], extra: Mapping[str, Any], known: Sequence[str]) -> str:
    """What the server has instead: the nearest names, or that it has none."""
    names = list(known) or choices_in(extra.get("input_config")) or _names_in(str(error.get("details", "")))
    if not names:
        return "; it has none" if str(error.get("details", "")).endswith(" not in []") else ""
    wanted = str(extra.get("received_value"))
    near = difflib.get_close_matches(wanted, names, _NAMES_TOLD, 0.4) or names[:_NAMES_TOLD]
    told = ", ".join(shortened(name, 80) for name in near)
    rest = len(names) - len(near)
    return f"; it has {told}{f' and {rest} more' if rest > 0 else ''}"


def _names_in(details: str) -> list[str]:
    found = _LISTED.search(details)
    return re.findall(r"'((?:[^'\\]|\\.)*)'", found.group(1)) if found else []


def choices_in(config: object) -> list[str]:
    """The choices of an input's declaration: `[[names…], {…}]`, or newer `["COMBO", {"options": […]}]`."""
    match config:
        case [list() as names, *_]:
            return [name for name in names if isinstance(name, str)]
        case ["COMBO", {"options": list() as names}, *_]:
            return [name for name in names if isinstance(name, str)]
    return []


def is_web_page(response: httpx.Response) -> bool:
    """Whether the answer is HTML: of a proxy, a login page, or another program."""
    return bool(_HTML.match(response.text[:200].lstrip())) or "text/html" in response.headers.get(
        "content-type", ""
    )


def _json_of(response: httpx.Response) -> object:
    try:
        return response.json()
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        return None


def _words(response: httpx.Response) -> str:
    if is_web_page(response):
        return "a web page, perhaps a proxy's"
    return shortened(response.text, 200).rstrip(".") or "no words"
