"""What the run wizard offers and how it starts a run, as functions of a session; they run in threads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.generation.pipelines import PipelineView
    from persona_tui.services.generation.runs import RunDetail, RunView
    from persona_tui.services.library.clusters import ClusterView
    from persona_tui.services.planning.ideas import IdeaView
    from persona_tui.services.planning.pillars import PillarView

VARIABLE, STEP = "variable ", "step "
"""What the names of the fields for variables and steps begin with."""


@dataclass(frozen=True)
class Asked:
    """A variable that a pipeline asks for.

    Attributes:
        places: where it goes, such as `step 1, node 5, cfg`.
        whole: it is the whole value of an input, so that a number stays a number.
    """

    name: str
    places: tuple[str, ...]
    whole: bool


@dataclass(frozen=True)
class PipelineOffer:
    """A pipeline with what a run of it needs to know.

    Attributes:
        asked: its own variables, by name.
        seconds: step's position → what a picture of it took lately.
        warnings: what works but is hardly meant.
    """

    pipeline: PipelineView
    asked: tuple[Asked, ...]
    seconds: Mapping[int, float | None]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Offer:
    """What a new run can be made of.

    Attributes:
        persona: name of the one whose run it is.
        ideas: accepted ones and those that wait, the newest first.
        like: the run that is to be cloned.
    """

    persona_id: int
    persona: str
    pipelines: tuple[PipelineOffer, ...]
    clusters: tuple[ClusterView, ...]
    pillars: tuple[PillarView, ...]
    ideas: tuple[IdeaView, ...]
    like: RunDetail | None = None


def read_offer(session: Session, persona_id: int, like: int | None = None) -> Offer:
    """Pipelines (the examples are imported if they are not there), clusters, pillars and ideas.

    Args:
        like: the run that is to be cloned.

    Raises:
        UnknownName: persona or run is gone.
    """
    from persona_tui.services.generation.pipelines import ensure_examples, list_pipelines
    from persona_tui.services.generation.runs import run_detail
    from persona_tui.services.library.clusters import list_clusters
    from persona_tui.services.planning.ideas import list_ideas
    from persona_tui.services.planning.personas import get_persona
    from persona_tui.services.planning.pillars import list_pillars

    ensure_examples(session)
    return Offer(
        persona_id,
        get_persona(session, persona_id).name,
        tuple(_pipeline(session, pipeline) for pipeline in list_pipelines(session)),
        list_clusters(session, persona_id),
        tuple(list_pillars(session, persona_id)),
        list_ideas(session, persona_id),
        run_detail(session, like) if like is not None else None,
    )


def _pipeline(session: Session, view: PipelineView) -> PipelineOffer:
    from persona_tui.services.generation.estimates import picture_seconds
    from persona_tui.services.generation.pipelines import pipeline_detail
    from persona_tui.services.generation.template import find_placeholders
    from persona_tui.services.generation.variables import BUILT_IN

    detail = pipeline_detail(session, view.id)
    places: dict[str, list[str]] = {}
    whole: dict[str, bool] = {}
    for step, workflow in zip(view.steps, detail.workflows, strict=True):
        for found in find_placeholders(workflow):
            if found.name not in BUILT_IN:
                place = f"step {step.position}, node {found.node}, {found.input}"
                places.setdefault(found.name, []).append(place)
                whole[found.name] = whole.get(found.name, True) and found.whole
    asked = tuple(Asked(name, tuple(where), whole[name]) for name, where in sorted(places.items()))
    return PipelineOffer(view, asked, picture_seconds(session, view.version_id), detail.warnings)


def value_of(typed: str) -> str | int | float | bool:
    """A number or a truth value where it reads as one in JSON, otherwise the words."""
    try:
        found = json.loads(typed, parse_constant=str)
    except (ValueError, RecursionError):
        return typed
    return found if isinstance(found, bool | int | float) and math.isfinite(found) else typed


def start_run(session: Session, offer: Offer, values: Mapping[str, Any]) -> RunView:
    """Start a run of what the wizard holds; a run that is cloned gives what the wizard does not ask for.

    Raises:
        PersonaError: something can't be used, or the guard forbids the prompt.
    """
    from persona_tui.services.generation import cloning
    from persona_tui.services.generation.runs import create_run
    from persona_tui.services.planning.ideas import mark_used

    told = run_values(session, offer, values)
    if offer.like is not None:
        return cloning.clone_run(session, offer.like.id, told)
    if values.get("idea") is not None:
        told |= _of_idea(session, values["idea"], told)
    made = create_run(session, {"persona_id": offer.persona_id, **told})
    if made.content_suggestion_id is not None:
        mark_used(session, made.content_suggestion_id)
    return made


def _of_idea(session: Session, idea_id: int, told: Mapping[str, Any]) -> dict[str, Any]:
    """What an idea brings: it is accepted, and its own cluster gets the winner unless another one is told."""
    from persona_tui.services.planning.ideas import accept_idea, get_idea

    idea = get_idea(session, idea_id)
    if idea.status == "pending":
        idea = accept_idea(session, idea_id)
    brought: dict[str, Any] = {"content_suggestion_id": idea.id, "name": told["name"] or idea.title}
    if told["cluster_id"] is None:
        brought |= {"cluster_id": idea.cluster_id, "pillar_id": told["pillar_id"] or idea.pillar_id}
    return brought


def run_values(session: Session, offer: Offer, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a run that the wizard's fields give."""
    from persona_tui.services.library.clusters import get_cluster

    cluster_id, pillar_id = values["cluster"], values["pillar"]
    if cluster_id is not None and pillar_id is None:
        pillar_id = get_cluster(session, cluster_id).pillar_id
    pipeline = next(one.pipeline for one in offer.pipelines if one.pipeline.id == values["pipeline"])
    return {
        "prompt": values["prompt"],
        "negative": values["negative"],
        "name": values["name"] or None,
        "pipeline": values["pipeline"],
        "cluster_id": cluster_id,
        "pillar_id": pillar_id,
        "variables": {
            name.removeprefix(VARIABLE): value_of(typed)
            for name, typed in values.items()
            if name.startswith(VARIABLE)
        },
        "steps": {
            step.position: {"children_per_parent": count, "top_k": top_k}
            for step in pipeline.steps
            for count, top_k in [values[f"{STEP}{step.position}"]]
        },
        "seed": values["seed"],
        "max_pictures": values["max_pictures"],
        "max_gpu_minutes": values["max_gpu_minutes"],
    }
