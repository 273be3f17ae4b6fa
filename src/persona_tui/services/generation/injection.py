"""Putting a run's LoRAs into a workflow: after the last loader, or the last LoRA, of each model branch.

LoRAs that the workflow brings itself stay where they are (steps and guidance of a speed LoRA depend on it);
ours come after them. Pure: a graph comes in, another one goes out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from persona_tui.passed import Workflow
from persona_tui.services.generation.lora_use import LoraUse
from persona_tui.services.generation.model_flow import (
    MODEL_ONLY,
    Branch,
    Consumer,
    Output,
    branches,
    is_lora_loader,
)
from persona_tui.services.generation.template import find_placeholders
from persona_tui.services.loras.families import UNKNOWN

_PATH = re.compile(r"lora(?:_(\d{1,2}))?_path")


@dataclass(frozen=True)
class Fit:
    """How a LoRA and a workflow go together.

    Attributes:
        placed: the workflow names it itself.
        branches: loaders after which it is chained.
        reason: why it is not used, or what is not known; empty when all is clear.
    """

    lora: LoraUse
    placed: bool
    branches: tuple[str, ...]
    reason: str = ""

    @property
    def is_used(self) -> bool:
        """Whether the workflow's pictures show it."""
        return self.placed or bool(self.branches)


@dataclass(frozen=True)
class _Link:
    """What one chain of new nodes is put between."""

    model: Output
    model_users: tuple[Consumer, ...]
    clip: Output | None = None
    clip_users: tuple[Consumer, ...] = ()


def placed_positions(template: Workflow) -> frozenset[int]:
    """Positions of the LoRAs that a workflow names itself: `{{lora_path}}` is the first."""
    found = (_PATH.fullmatch(placeholder.name) for placeholder in find_placeholders(template))
    return frozenset(int(match.group(1) or 1) for match in found if match)


def fits(template: Workflow, loras: Sequence[LoraUse], *, filled: Workflow | None = None) -> tuple[Fit, ...]:
    """What a workflow does with each of a run's LoRAs.

    Args:
        filled: the same workflow with its values, where they are known: a variable may name the model.
    """
    placed = placed_positions(template)
    ways = branches(template if filled is None else filled)
    return tuple(Fit(lora, True, ()) if lora.position in placed else fit(lora, ways) for lora in loras)


def inject(template: Workflow, filled: Workflow, loras: Sequence[LoraUse]) -> dict[str, Any]:
    """The filled workflow with the run's LoRAs that it does not place itself.

    Args:
        template: the workflow with its placeholders, which say what it places.
    """
    if not loras:
        return dict(filled)
    graph: dict[str, Any] = {node: {**entry} for node, entry in filled.items()}
    wanted = [one for one in fits(template, loras, filled=filled) if one.branches]
    done: set[Output] = set()
    for branch in branches(filled):
        chain = [one.lora for one in wanted if branch.loader in one.branches and one.lora.weight > 0]
        for link in _links(branch) if chain else ():
            # Where two models were merged before a LoRA, both branches end there.
            if link.model not in done or not link.model_users:
                _chain(graph, link, chain)
            done.add(link.model)
    return graph


def with_listed_names(workflow: Workflow, listed: Sequence[str]) -> dict[str, Any]:
    """The workflow with the names of its own LoRAs as the server writes them (`sub\\\\x` on Windows)."""
    graph: dict[str, Any] = dict(workflow)
    for node, entry in workflow.items():
        given = entry.get("inputs", {})
        name = given.get("lora_name")
        if is_lora_loader(entry) and isinstance(name, str) and name not in listed:
            found = listed_as(name, listed)
            if found is not None:
                graph[node] = {**entry, "inputs": {**given, "lora_name": found}}
    return graph


def listed_as(name: str, listed: Sequence[str]) -> str | None:
    """The name under which a server lists a file: in whichever folder, with whichever separator."""
    wanted = _parts(name)
    same = [one for one in listed if _parts(one) == wanted]
    below = [one for one in listed if _parts(one)[-1:] == wanted[-1:]]
    return min(same or below, key=lambda one: (len(_parts(one)), one), default=None)


def missing_loras(names: Sequence[str], listed: Sequence[str]) -> tuple[str, ...]:
    """Which of these files a server does not list."""
    return tuple(name for name in names if listed_as(name, listed) is None)


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part.lower() for part in re.split(r"[\\/]", name) if part not in ("", "."))


def fit(lora: LoraUse, ways: Sequence[Branch]) -> Fit:
    """Whether a LoRA goes into a workflow with these model branches, and into which."""
    if not ways:
        return Fit(lora, False, (), "the workflow loads no model that takes LoRAs")
    families = [way for way in ways if _same_family(lora.family, way.family)]
    if not families:
        others = ", ".join(sorted({str(way.family) for way in ways}))
        return Fit(lora, False, (), f"the LoRA is for {lora.family}, the workflow for {others}")
    usable = [way for way in families if lora.model_type != "editor" or way.edits]
    if not usable:
        return Fit(lora, False, (), "it is an editor's LoRA, and the workflow does not edit pictures")
    unsure = lora.family == UNKNOWN or any(way.family is None for way in usable)
    reason = "whether it fits the workflow's model is not known" if unsure else ""
    return Fit(lora, False, tuple(way.loader for way in usable), reason)


def _same_family(family: str, other: str | None) -> bool:
    return other is None or UNKNOWN in (family, other) or family == other


def _links(branch: Branch) -> list[_Link]:
    """Where the chains go: each output at which a model leaves gets one, together with its text encoder."""
    if branch.family in MODEL_ONLY:
        return [_Link(output, users) for output, users in branch.tails.items()]
    clips = dict(branch.clip_tails)
    links = []
    for output, users in branch.tails.items():
        clip = (output[0], 1)
        links.append(_Link(output, users, clip if clip in clips else None, clips.pop(clip, ())))
    for clip, users in clips.items():
        free = next((number for number, link in enumerate(links) if link.clip is None), None)
        if free is None:
            # Every way of the model has its text encoder: this one gets a chain for itself.
            links.append(_Link(links[0].model, (), clip, users))
        else:
            links[free] = _Link(links[free].model, links[free].model_users, clip, users)
    return links


def _chain(graph: dict[str, Any], link: _Link, loras: Sequence[LoraUse]) -> None:
    model, clip = link.model, link.clip
    for lora in loras:
        node = _new_id(graph)
        graph[node] = _loader(lora, model, clip)
        model, clip = (node, 0), None if clip is None else (node, 1)
    _rewire(graph, link.model_users, model)
    if clip is not None:
        _rewire(graph, link.clip_users, clip)


def _loader(lora: LoraUse, model: Output, clip: Output | None) -> dict[str, Any]:
    inputs: dict[str, Any] = {
        "lora_name": lora.server_name,
        "strength_model": lora.weight,
        "model": list(model),
    }
    kind = "LoraLoaderModelOnly"
    if clip is not None:
        kind = "LoraLoader"
        inputs |= {"strength_clip": lora.weight, "clip": list(clip)}
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": f"persona-tui: {lora.label}"}}


def _rewire(graph: dict[str, Any], users: Sequence[Consumer], output: Output) -> None:
    for user in users:
        entry = graph[user.node]
        graph[user.node] = {**entry, "inputs": {**entry["inputs"], user.input: list(output)}}


def _new_id(graph: Mapping[str, Any]) -> str:
    """A number that no node has: one above the highest."""
    numbers = [int(node) for node in graph if node.isascii() and node.isdigit() and len(node) < 16]
    return str(max(numbers, default=0) + 1)
