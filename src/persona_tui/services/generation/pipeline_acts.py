"""Changing a pipeline that is there: its name, its defaults, its steps; and deleting it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import DuplicateName, InvalidRequest, NotAllowedNow
from persona_tui.models.pipeline import Pipeline
from persona_tui.services import events
from persona_tui.services.generation.declared import Declared
from persona_tui.services.generation.examples import DELETED
from persona_tui.services.generation.gate_sizes import gate_excesses, require_gates
from persona_tui.services.generation.pipeline_defaults import set_cluster, set_persona
from persona_tui.services.generation.pipeline_input import PipelineInput
from persona_tui.services.generation.pipelines import (
    PipelineView,
    export_pipeline,
    get_pipeline,
    import_pipeline,
)
from persona_tui.services.inputs import Input, Name, Prose, told, validated
from persona_tui.services.safety import audit


class PipelineChange(Input):
    """What is to change; fields that are not given stay, and null takes persona or cluster away."""

    name: Name | None = None
    description: Prose | None = None
    persona: Name | None = None
    cluster: Name | None = None


class StepChange(Input):
    """What is to change in one step; fields that are not given stay."""

    name: Name | None = None
    workflow: dict[str, Any] | None = None
    children_per_parent: Annotated[int, Field(ge=1, le=64)] | None = None
    top_k: Annotated[int, Field(ge=1, le=64)] | None = None
    timeout: Annotated[int, Field(ge=1, le=86_400)] | None = None
    output_node: str | None = None


def change_pipeline(
    session: Session, pipeline: int | str, values: PipelineChange | Mapping[str, Any]
) -> PipelineView:
    """Give a pipeline another name, description, persona or cluster; that makes no new version.

    Raises:
        UnknownName: pipeline, persona or cluster is not there.
        DuplicateName: another pipeline has that name.
    """
    given = values if isinstance(values, PipelineChange) else validated(PipelineChange, values)
    view = get_pipeline(session, pipeline)
    row = session.get_one(Pipeline, view.id, with_for_update=True)
    taken = DuplicateName(f"There is a pipeline {given.name} already.")
    with told(session, {"uq_pipelines_name": taken}):
        row.name = given.name or row.name
        row.description = row.description if given.description is None else given.description
        session.add(row)
    if row.name.lower() != view.name.lower():
        _remember_old_name(session, view)
    if "persona" in given.model_fields_set:
        set_persona(session, view.id, given.persona)
    if "cluster" in given.model_fields_set:
        set_cluster(session, view.id, given.cluster)
    session.expire(row)
    events.emit(session, "pipeline", view.id)
    return get_pipeline(session, view.id)


def change_step(
    session: Session,
    pipeline: int | str,
    position: int,
    values: StepChange | Mapping[str, Any],
    declared: Declared | None = None,
) -> PipelineView:
    """Change one step; that makes a new version, and runs that are there keep theirs.

    Args:
        position: of the step, from 1.
        declared: see `import_pipeline`.

    Raises:
        UnknownName: there is no such pipeline.
        InvalidRequest: there is no such step, or it can't be used as it would be.
        GuardRefused: the guard forbids what the workflow says.
    """
    given = values if isinstance(values, StepChange) else validated(StepChange, values)
    whole = export_pipeline(session, pipeline)
    if not 1 <= position <= len(whole.steps):
        raise InvalidRequest(
            f"The pipeline {whole.name} has no step {position}.",
            hint=f"Its steps are 1 to {len(whole.steps)}.",
        )
    changes = {
        name: getattr(given, name)
        for name in given.model_fields_set
        if name == "output_node" or getattr(given, name) is not None
    }
    steps = list(whole.steps)
    steps[position - 1] = steps[position - 1].model_copy(update=changes)
    before = {
        one.position
        for one in gate_excesses([(step.children_per_parent, step.top_k) for step in whole.steps])
    }
    plans = [(step.children_per_parent, step.top_k) for step in steps]
    if changes.keys() & {"children_per_parent", "top_k"}:
        here = {position} if "top_k" in changes else set()
        require_gates(plans, here | (set(range(1, len(steps))) - before), what="K")
    return replace_pipeline(session, pipeline, whole.model_copy(update={"steps": tuple(steps)}), declared)


def replace_pipeline(
    session: Session, pipeline: int | str, values: PipelineInput, declared: Declared | None = None
) -> PipelineView:
    """Put an edited pipeline in the place of the one that was edited, under its new name if it has one.

    Raises:
        UnknownName, DuplicateName, InvalidRequest, GuardRefused: as `change_pipeline` and `import_pipeline`.
    """
    view = get_pipeline(session, pipeline)
    if values.name.lower() != view.name.lower():
        change_pipeline(session, view.id, PipelineChange(name=values.name))
    return import_pipeline(session, values, declared)


def delete_pipeline(session: Session, pipeline: int | str) -> PipelineView:
    """Delete a pipeline that no run was made with.

    Returns:
        The pipeline as it was.

    Raises:
        UnknownName: there is no such pipeline.
        NotAllowedNow: there are runs of it.
    """
    view = get_pipeline(session, pipeline)
    session.get_one(Pipeline, view.id, with_for_update=True)
    if view.runs:
        raise NotAllowedNow(
            f"{view.runs} run{'s' if view.runs > 1 else ''} used the pipeline {view.name}, so it stays.",
            hint="Delete its runs first, or leave it: it takes no room.",
        )
    for statement in (
        "DELETE FROM pipeline_versions WHERE pipeline_id = :id",
        "DELETE FROM pipelines WHERE id = :id",
    ):
        session.execute(text(statement), {"id": view.id})
    _remember_old_name(session, view)
    events.emit(session, "pipeline", view.id)
    return view


def _remember_old_name(session: Session, view: PipelineView) -> None:
    """So that an example that was deleted or renamed does not come back by itself."""
    audit.append(
        session,
        actor="operator",
        action=DELETED,
        subject=f"pipelines:{view.id}",
        details={"name": view.name, "version": view.version},
    )
