"""What the run wizard offers and how it starts a run, as functions of a session; they run in threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from persona_tui.screens.runs_life import moment

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.generation.pipelines import PipelineDetail, PipelineView
    from persona_tui.services.generation.placeholders import Need
    from persona_tui.services.generation.runs import RunDetail, RunView
    from persona_tui.services.library.clusters import ClusterView
    from persona_tui.services.loras.registry import LoraView
    from persona_tui.services.planning.ideas import IdeaView
    from persona_tui.services.planning.pillars import PillarView

VARIABLE, STEP, LORA = "variable ", "step ", "lora "
"""What the names of the fields for variables, steps and LoRAs begin with."""


@dataclass(frozen=True)
class LoraOffer:
    """A LoRA that the persona may use.

    Attributes:
        weight: at which it is used, unless another one is told.
        used: the persona's runs use it by themselves, or the cloned run did.
    """

    lora: LoraView
    weight: float
    used: bool


@dataclass(frozen=True)
class PipelineOffer:
    """A pipeline with what a run of it needs to know.

    Attributes:
        asked: its own variables, by name.
        seconds: step's position → what a picture of it took lately.
        warnings: what works but is hardly meant.
        unfit: LoRA's id → why this pipeline can't use it.
    """

    pipeline: PipelineView
    asked: tuple[Need, ...]
    seconds: Mapping[int, float | None]
    warnings: tuple[str, ...]
    unfit: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Offer:
    """What a new run can be made of.

    Attributes:
        persona: name of the one whose run it is.
        zone: its IANA name.
        ideas: accepted ones and those that wait, the newest first.
        like: the run that is to be cloned.
        personas: id and name of everyone whose run it may be.
        usual: name of the pipeline that is taken where none is chosen.
    """

    persona_id: int
    persona: str
    zone: str
    pipelines: tuple[PipelineOffer, ...]
    clusters: tuple[ClusterView, ...]
    pillars: tuple[PillarView, ...]
    ideas: tuple[IdeaView, ...]
    loras: tuple[LoraOffer, ...] = ()
    like: RunDetail | None = None
    personas: tuple[tuple[int, str], ...] = ()
    usual: str = ""


def read_offer(session: Session, persona_id: int, like: int | None = None) -> Offer:
    """Pipelines (the examples are imported if they are not there), clusters, pillars and ideas.

    Args:
        like: the run that is to be cloned.

    Raises:
        UnknownName: persona or run is gone.
    """
    from persona_tui.services.generation.pipelines import ensure_examples, list_pipelines
    from persona_tui.services.generation.runs import run_detail
    from persona_tui.services.generation.usual_pipeline import usual_pipeline
    from persona_tui.services.library.clusters import list_clusters
    from persona_tui.services.planning.ideas import list_ideas
    from persona_tui.services.planning.personas import get_persona, list_personas
    from persona_tui.services.planning.pillars import list_pillars

    ensure_examples(session)
    persona = get_persona(session, persona_id)
    run = run_detail(session, like) if like is not None else None
    loras = _loras(session, persona_id, run)
    return Offer(
        persona_id,
        persona.name,
        persona.zone,
        tuple(_pipeline(session, persona_id, pipeline, loras) for pipeline in list_pipelines(session)),
        list_clusters(session, persona_id),
        list_pillars(session, persona_id),
        list_ideas(session, persona_id),
        loras,
        run,
        tuple((one.id, one.name) for one in list_personas(session)),
        usual_pipeline(session, persona_id),
    )


def _loras(session: Session, persona_id: int, like: RunDetail | None) -> tuple[LoraOffer, ...]:
    """Those that the persona or the cloned run uses first, then those that anyone may use."""
    from persona_tui.services.loras.registry import list_loras

    before = {use.lora_model_id: use.weight for use in like.loras} if like is not None else None
    found = []
    for lora in list_loras(session):
        mapped = next((user.weight for user in lora.users if user.persona_id == persona_id), None)
        chosen = mapped if before is None else before.get(lora.id)
        if lora.persona_id in (None, persona_id) or chosen is not None:
            weight = next(one for one in (chosen, mapped, lora.default_weight, 1.0) if one is not None)
            found.append(LoraOffer(lora, weight, chosen is not None))
    return tuple(sorted(found, key=lambda offer: not offer.used))


def _pipeline(
    session: Session, persona_id: int, view: PipelineView, loras: Sequence[LoraOffer]
) -> PipelineOffer:
    from persona_tui.services.generation.estimates import picture_seconds
    from persona_tui.services.generation.pipelines import pipeline_detail

    detail = pipeline_detail(session, view.id)
    asked = tuple(need for need in detail.asked if not need.built_in)
    seconds = picture_seconds(session, view.version_id)
    return PipelineOffer(view, asked, seconds, detail.warnings, _unfit(session, persona_id, detail, loras))


def _unfit(
    session: Session, persona_id: int, detail: PipelineDetail, loras: Sequence[LoraOffer]
) -> dict[int, str]:
    """Which LoRAs a pipeline can't use, in the words of the plan that would leave them out."""
    from persona_tui.services.generation.run_loras import LoraChoice, plan_loras

    names = [step.name for step in detail.pipeline.steps]
    steps = list(zip(names, detail.workflows, strict=True))
    unfit = {}
    for offer in loras:
        choice = LoraChoice(lora_model_id=offer.lora.id, weight=offer.weight)
        plan = plan_loras(session, persona_id, [choice], steps)
        if not plan.loras:
            why = plan.warnings[0] if plan.warnings else "The pipeline can't use it."
            unfit[offer.lora.id] = why.removeprefix(f"{offer.lora.label} is not used: ")
    return unfit


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
        return cloning.clone_run(session, offer.like.id, {"persona_id": offer.persona_id, **told})
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
    from sqlalchemy import text

    from persona_tui.services.generation.placeholders import typed_words
    from persona_tui.services.library.clusters import get_cluster

    cluster_id, pillar_id = values["cluster"], values["pillar"]
    if cluster_id is not None and pillar_id is None:
        pillar_id = get_cluster(session, cluster_id).pillar_id
    chosen = next(one for one in offer.pipelines if one.pipeline.id == values["pipeline"])
    now = session.execute(text("SELECT persona_now()")).scalar_one()
    return {
        "prompt": values["prompt"],
        "negative": values["negative"],
        "name": values["name"] or None,
        "pipeline": values["pipeline"],
        "cluster_id": cluster_id,
        "pillar_id": pillar_id,
        "variables": typed_words(
            {
                name.removeprefix(VARIABLE): typed
                for name, typed in values.items()
                if name.startswith(VARIABLE)
            },
            chosen.asked,
        ),
        "steps": {
            step.position: {"children_per_parent": count, "top_k": top_k}
            for step in chosen.pipeline.steps
            for count, top_k in [values[f"{STEP}{step.position}"]]
        },
        "seed": values["seed"],
        "max_pictures": values["max_pictures"],
        "max_gpu_minutes": values["max_gpu_minutes"],
        "night": values["night"],
        "night_at": moment(values["night"], values["night_at"], offer.zone, now),
        "loras": _picked(values, chosen) if offer.loras else None,
    }


def _picked(values: Mapping[str, Any], chosen: PipelineOffer) -> list[dict[str, Any]]:
    """The LoRAs that are on, at their weights."""
    found = []
    for name, value in values.items():
        if name.startswith(LORA):
            on, weight = value
            lora_id = int(name.removeprefix(LORA))
            if on and lora_id not in chosen.unfit:
                found.append({"lora_model_id": lora_id, "weight": weight})
    return found
