"""Pipelines: named chains of ComfyUI workflows, kept in versions that never change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import func, text
from sqlmodel import Session, col, select

from persona_tui.errors import InvalidRequest, PersonaError, UnknownName
from persona_tui.models.pipeline import Pipeline, PipelineStep, PipelineVersion
from persona_tui.services.generation.graph import SAVE_CLASS, output_nodes, require_api_format
from persona_tui.services.generation.template import find_placeholders
from persona_tui.services.generation.variables import PARENT_IMAGE
from persona_tui.services.inputs import Input, Name, Prose, validated
from persona_tui.services.safety import guard

EXAMPLES = ("one-step", "two-step")

_SEEDS = frozenset({"seed", "auto_seed", "random"})


class StepInput(Input):
    """One workflow of a pipeline.

    Attributes:
        workflow: ComfyUI graph in API format with {{placeholders}}.
        children_per_parent: N: pictures in step 1, pictures per parent later.
        top_k: K: how many the gate lets through unless told otherwise.
        timeout: seconds that one picture may take once it runs.
        output_node: node whose pictures count; None means every SaveImage.
    """

    name: Name
    workflow: dict[str, Any]
    children_per_parent: Annotated[int, Field(ge=1, le=64)] = 3
    top_k: Annotated[int, Field(ge=1, le=64)] = 1
    timeout: Annotated[int, Field(ge=1, le=86_400)] = 600
    output_node: str | None = None


class PipelineInput(Input):
    """A pipeline as a file describes it."""

    name: Name
    description: Prose = ""
    steps: Annotated[tuple[StepInput, ...], Field(min_length=1, max_length=20)]


@dataclass(frozen=True)
class StepView:
    """A step of a pipeline; `timeout` in seconds."""

    id: int
    position: int
    name: str
    children_per_parent: int
    top_k: int
    timeout: int
    output_node: str | None


@dataclass(frozen=True)
class PipelineView:
    """A pipeline in its newest version."""

    id: int
    name: str
    description: str
    version_id: int
    version: int
    persona_id: int | None
    cluster_id: int | None
    steps: tuple[StepView, ...]


@dataclass(frozen=True)
class PipelineDetail:
    """A pipeline with what its workflows ask for.

    Attributes:
        workflows: one for each step, in order.
        variables: names of all placeholders.
        warnings: sentences on what works but is hardly meant.
    """

    pipeline: PipelineView
    workflows: tuple[Mapping[str, Any], ...]
    variables: tuple[str, ...]
    warnings: tuple[str, ...]


def import_pipeline(session: Session, values: PipelineInput | Mapping[str, Any]) -> PipelineView:
    """Store a pipeline; one that has changed gets a new version, which the next runs use.

    Raises:
        InvalidRequest: a field can't be used, or a workflow is not in API format.
        GuardRefused: the guard forbids what a workflow says.
    """
    given = values if isinstance(values, PipelineInput) else validated(PipelineInput, values)
    for position, step in enumerate(given.steps, start=1):
        _require_usable(position, step)
    pipeline_id = _upsert(session, given)
    if _newest(session, pipeline_id) != given.steps:
        _add_version(session, pipeline_id, given.steps)
    return _view(session, session.get_one(Pipeline, pipeline_id, populate_existing=True))


def list_pipelines(session: Session) -> tuple[PipelineView, ...]:
    """All pipelines by name."""
    rows = session.exec(select(Pipeline).order_by(func.lower(Pipeline.name)))
    return tuple(_view(session, row) for row in rows.all())


def get_pipeline(session: Session, pipeline: int | str) -> PipelineView:
    """One pipeline by id or name.

    Raises:
        UnknownName: there is none.
    """
    return _view(session, _find(session, pipeline))


def pipeline_detail(session: Session, pipeline: int | str) -> PipelineDetail:
    """One pipeline with its workflows.

    Raises:
        UnknownName: there is none.
    """
    view = get_pipeline(session, pipeline)
    steps = _newest(session, view.id)
    names = {placeholder.name for step in steps for placeholder in find_placeholders(step.workflow)}
    warnings = tuple(
        warning
        for position, step in enumerate(steps, start=1)
        if (warning := _warning(position, step)) is not None
    )
    return PipelineDetail(view, tuple(step.workflow for step in steps), tuple(sorted(names)), warnings)


def export_pipeline(session: Session, pipeline: int | str) -> PipelineInput:
    """The newest version as it can be imported again; `model_dump(mode="json")` is the file.

    Raises:
        UnknownName: there is none.
    """
    view = get_pipeline(session, pipeline)
    return PipelineInput(name=view.name, description=view.description, steps=_newest(session, view.id))


def ensure_examples(session: Session) -> tuple[PipelineView, ...]:
    """Import the examples that are not there yet; one that the operator changed stays as it is."""
    folder = files(__package__) / "examples"
    taken = set(session.exec(select(func.lower(Pipeline.name))))
    missing = [name for name in EXAMPLES if name not in taken]
    return tuple(
        import_pipeline(session, json.loads((folder / f"{name}.json").read_text("utf-8"))) for name in missing
    )


def _require_usable(position: int, step: StepInput) -> None:
    try:
        require_api_format(step.workflow)
        _require_output(step)
        asked = {placeholder.name for placeholder in find_placeholders(step.workflow)}
        if position == 1 and PARENT_IMAGE in asked:
            raise InvalidRequest(
                f"It uses {{{{{PARENT_IMAGE}}}}}, but the first step has no parent picture.",
                hint="Load a file there, or put a step before it.",
            )
    except InvalidRequest as problem:
        sentence = f"The workflow of step {position}, {step.name}, can't be used: {_lowered(problem)}"
        raise InvalidRequest(sentence, title="Workflow can't be used", hint=problem.hint) from None


def _lowered(problem: PersonaError) -> str:
    return problem.message[:1].lower() + problem.message[1:]


def _require_output(step: StepInput) -> None:
    if step.output_node is not None and step.output_node not in step.workflow:
        raise InvalidRequest(f"There is no node {step.output_node}.", hint="Correct the output node.")
    if not output_nodes(step.workflow, step.output_node):
        raise InvalidRequest(
            f"No node saves a picture: it has no {SAVE_CLASS}.",
            hint=f"Add a {SAVE_CLASS}, or name the output node.",
        )


def _warning(position: int, step: StepInput) -> str | None:
    asked = {placeholder.name for placeholder in find_placeholders(step.workflow)}
    if step.children_per_parent > 1 and not asked & _SEEDS:
        return f"Step {position}, {step.name}, has no {{{{seed}}}}: all its pictures will be alike."
    if position > 1 and PARENT_IMAGE not in asked:
        return f"Step {position}, {step.name}, has no {{{{{PARENT_IMAGE}}}}}: it ignores the step before."
    return None


def _upsert(session: Session, given: PipelineInput) -> int:
    """The pipeline's id, its row locked, so that two imports of one name make one version after the other."""
    return int(
        session.execute(
            text(
                "INSERT INTO pipelines (name, description) VALUES (:name, :description)"
                " ON CONFLICT (lower(name)) DO UPDATE SET description = excluded.description RETURNING id"
            ),
            {"name": given.name, "description": given.description},
        ).scalar_one()
    )


def _add_version(session: Session, pipeline_id: int, steps: tuple[StepInput, ...]) -> None:
    last = session.exec(
        select(func.max(PipelineVersion.number)).where(PipelineVersion.pipeline_id == pipeline_id)
    ).one()
    version = PipelineVersion(pipeline_id=pipeline_id, number=(last or 0) + 1)
    session.add(version)
    session.flush()
    for position, step in enumerate(steps, start=1):
        session.add(
            PipelineStep(
                pipeline_version_id=version.id,
                position=position,
                name=step.name,
                workflow=step.workflow,
                output_node=step.output_node,
                children_per_parent=step.children_per_parent,
                default_top_k=step.top_k,
                timeout_seconds=step.timeout,
            )
        )
    session.flush()
    for step in steps:
        guard.pass_workflow(session, step.workflow, persona_id=None, subject=f"pipelines:{pipeline_id}")


def _find(session: Session, pipeline: int | str) -> Pipeline:
    found = None
    if isinstance(pipeline, str):
        found = session.exec(
            select(Pipeline).where(func.lower(Pipeline.name) == pipeline.strip().lower())
        ).first()
    if found is None and str(pipeline).isdecimal():
        found = session.get(Pipeline, int(pipeline))
    if found is None:
        raise UnknownName(
            f"There is no pipeline {pipeline}.", hint="`persona-tui pipeline list` shows what there is."
        )
    return found


def _rows(session: Session, pipeline_id: int) -> tuple[PipelineVersion | None, list[PipelineStep]]:
    version = session.exec(
        select(PipelineVersion)
        .where(PipelineVersion.pipeline_id == pipeline_id)
        .order_by(col(PipelineVersion.number).desc())
        .limit(1)
    ).first()
    if version is None:
        return None, []
    steps = session.exec(
        select(PipelineStep)
        .where(PipelineStep.pipeline_version_id == version.id)
        .order_by(col(PipelineStep.position))
    )
    return version, list(steps.all())


def _newest(session: Session, pipeline_id: int) -> tuple[StepInput, ...]:
    return tuple(
        StepInput(
            name=row.name,
            workflow=row.workflow,
            children_per_parent=row.children_per_parent,
            top_k=row.default_top_k,
            timeout=row.timeout_seconds,
            output_node=row.output_node,
        )
        for row in _rows(session, pipeline_id)[1]
    )


def _view(session: Session, row: Pipeline) -> PipelineView:
    version, steps = _rows(session, row.id)
    assert version is not None, "a pipeline is stored together with its first version"
    return PipelineView(
        row.id,
        row.name,
        row.description,
        version.id,
        version.number,
        row.persona_id,
        row.cluster_id,
        tuple(
            StepView(
                step.id,
                step.position,
                step.name,
                step.children_per_parent,
                step.default_top_k,
                step.timeout_seconds,
                step.output_node,
            )
            for step in steps
        ),
    )
