"""Pipelines as files hold them: our own export, the predecessor's, single workflows, and the editor's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from persona_tui.errors import InvalidRequest
from persona_tui.services.generation.declared import Declared
from persona_tui.services.generation.template import find_placeholders
from persona_tui.services.generation.ui_format import convert
from persona_tui.services.generation.ui_graph import is_ui_format
from persona_tui.services.generation.variables import BUILT_IN
from persona_tui.services.generation.workflow_files import read_json

_PREDECESSOR_KEYS = {"comfy_workflow_json": "workflow", "max_children": "children_per_parent"}
_ORDERS = ("order", "position")
_FLAGS = ("needs_run_prompt", "needs_parent_image_path", "needs_run_variables")
_IGNORED = frozenset({*_ORDERS, *_FLAGS, "id", "pipeline_id", "created_at", "updated_at"})
_PARENTS = frozenset({"parent_image", "parent_image_path"})


@dataclass(frozen=True)
class PipelineFile:
    """What files say of a pipeline.

    Attributes:
        values: fields of `PipelineInput`; workflows may still be in the editor's format.
        warnings: sentences on what does not match.
    """

    values: Mapping[str, Any]
    warnings: tuple[str, ...] = ()

    @property
    def asks_for_server(self) -> bool:
        """Whether a workflow is in the editor's format, which only a server's declarations explain."""
        return any(is_ui_format(step.get("workflow")) for step in self.values["steps"])


def from_documents(
    documents: Sequence[tuple[str, Mapping[str, Any]]], defaults: Mapping[str, Any]
) -> PipelineFile:
    """One pipeline of one or more files.

    Args:
        documents: each file's stem and content: one pipeline as a whole, or workflows in order.
        defaults: `name`, and what steps have that say nothing of their own. Without a name the pipeline has
            the one that a file of it as a whole gives.

    Raises:
        InvalidRequest: a step has no workflow, or two have one place, or there is no name.
    """
    name = defaults.get("name")
    own = {key: value for key, value in defaults.items() if key != "name"}
    whole = documents[0][1] if len(documents) == 1 else {}
    if isinstance(whole.get("steps"), list):
        return _whole(whole, _named(whole.get("name") if name is None else name), own)
    steps: list[Mapping[str, Any]] = [_step(stem, document, own) for stem, document in documents]
    return PipelineFile({"name": _named(name), "steps": _ordered(steps)}, tuple(_mismatches(steps)))


def _named(name: object) -> object:
    if name is None:
        raise InvalidRequest(
            "The pipeline has no name: only a `pipeline export` brings one.", hint="Add --name NAME."
        )
    return name


def in_api_format(file: PipelineFile, declared: Declared) -> PipelineFile:
    """The same with every workflow in the format that the server runs.

    Raises:
        InvalidRequest: a workflow can't be converted; names its step.
    """
    steps, warnings = [], list(file.warnings)
    for position, step in enumerate(file.values["steps"], start=1):
        if not is_ui_format(step.get("workflow")):
            steps.append(step)
            continue
        try:
            made = convert(step["workflow"], declared)
        except InvalidRequest as problem:
            told = problem.message[:1].lower() + problem.message[1:]
            sentence = f"The workflow of step {position}, {step.get('name')}, can't be converted: {told}"
            raise InvalidRequest(sentence, title=problem.title, hint=problem.hint) from None
        steps.append({**step, "workflow": made.workflow})
        warnings += [f"Step {position}, {step.get('name')}: {warning}" for warning in made.warnings]
    return PipelineFile({**file.values, "steps": steps}, tuple(warnings))


def _whole(document: Mapping[str, Any], name: object, own: Mapping[str, Any]) -> PipelineFile:
    raw = [step if isinstance(step, Mapping) else {} for step in document["steps"]]
    steps = [_step(f"step {number}", step, own) for number, step in enumerate(raw, start=1)]
    values = {key: value for key, value in document.items() if key not in _IGNORED}
    return PipelineFile({**values, "name": name, "steps": _ordered(steps)}, tuple(_mismatches(steps)))


def _step(stem: str, document: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A step by itself, or a bare workflow."""
    if not ({"workflow", "comfy_workflow_json"} & set(document)) or "nodes" in document:
        if "steps" in document or document.keys() & set(_FLAGS):
            raise InvalidRequest(f"{stem} has no workflow.", hint="A step holds it under `workflow`.")
        return {"name": stem, "workflow": document, **own}
    step = {_PREDECESSOR_KEYS.get(key, key): value for key, value in document.items() if value is not None}
    if isinstance(step.get("workflow"), str):
        step["workflow"] = read_json(step["workflow"], f"The workflow of {step.get('name', stem)}")
    return {"name": stem, **own, **step}


def _ordered(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The steps by the places that they name, without the keys that only the predecessor has."""
    places = [next((step[key] for key in _ORDERS if key in step), None) for step in steps]
    named = [place for place in places if isinstance(place, int)]
    if len(named) < len(steps) and any(place is not None for place in places):
        raise InvalidRequest("Not every step says its place.", hint="Give each step an `order`: 1, 2, 3 …")
    for place in named:
        if named.count(place) > 1:
            twice = ", ".join(
                str(step.get("name")) for step, at in zip(steps, places, strict=True) if at == place
            )
            raise InvalidRequest(
                f"Two steps have the order {place}: {twice}.", hint="Give each step a place of its own."
            )
    order = sorted(range(len(steps)), key=named.__getitem__) if named else range(len(steps))
    return [{key: value for key, value in steps[at].items() if key not in _IGNORED} for at in order]


def _mismatches(steps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Where the predecessor's flags say something else than the workflow."""
    for step in steps:
        workflow = step.get("workflow")
        if not isinstance(workflow, Mapping) or is_ui_format(workflow):
            continue
        asked = _asked(workflow)
        holds = {
            "needs_run_prompt": "prompt" in asked,
            "needs_parent_image_path": bool(asked & _PARENTS),
            "needs_run_variables": bool(asked - BUILT_IN),
        }
        for flag in _FLAGS:
            if flag in step and bool(step[flag]) != holds[flag]:
                yield _mismatch(str(step.get("name")), flag, holds[flag])


def _mismatch(step: str, flag: str, holds: bool) -> str:
    what = {
        "needs_run_prompt": "{{prompt}}",
        "needs_parent_image_path": "the parent's picture",
        "needs_run_variables": "variables of its own",
    }[flag]
    if holds:
        return f"Step {step} uses {what}, though {flag} says that it does not; what it uses counts."
    return f"Step {step} has {flag}, but its workflow does not use {what}."


def _asked(workflow: Mapping[str, Any]) -> set[str]:
    try:
        return {place.name for place in find_placeholders(workflow)}
    except AttributeError:  # no workflow at all, which the import tells
        return set()
