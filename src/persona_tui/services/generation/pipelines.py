"""Pipelines: named chains of ComfyUI workflows, kept in versions that never change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Session, col, select

from persona_tui.errors import UnknownName
from persona_tui.models.pipeline import Pipeline, PipelineStep, PipelineVersion
from persona_tui.services import events
from persona_tui.services.generation.declared import Declared
from persona_tui.services.generation.examples import DELETED, EXAMPLES, example
from persona_tui.services.generation.gate_sizes import gate_excesses
from persona_tui.services.generation.pipeline_defaults import set_defaults
from persona_tui.services.generation.pipeline_input import (
    PipelineInput,
    StepInput,
    require_usable,
    warnings_on,
)
from persona_tui.services.generation.placeholders import InputTypes, Need, input_types, merged_needs, needs_of
from persona_tui.services.inputs import validated
from persona_tui.services.safety import guard


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
    """A pipeline in its newest version.

    Attributes:
        persona, cluster: names of the defaults that its runs inherit.
        runs: how many runs there are of any of its versions.
    """

    id: int
    name: str
    description: str
    version_id: int
    version: int
    persona_id: int | None
    persona: str | None
    cluster_id: int | None
    cluster: str | None
    runs: int
    steps: tuple[StepView, ...]


@dataclass(frozen=True)
class PipelineDetail:
    """A pipeline with what its workflows ask for.

    Attributes:
        workflows: one for each step, in order.
        needs: the variables of each step, in order.
        variables: names of all placeholders.
        warnings: sentences on what works but is hardly meant.
    """

    pipeline: PipelineView
    workflows: tuple[Mapping[str, Any], ...]
    needs: tuple[tuple[Need, ...], ...]
    variables: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def asked(self) -> tuple[Need, ...]:
        """The variables of all steps together."""
        return merged_needs(need for step in self.needs for need in step)


def import_pipeline(
    session: Session, values: PipelineInput | Mapping[str, Any], declared: Declared | None = None
) -> PipelineView:
    """Store a pipeline; one that has changed gets a new version, which the next runs use.

    Args:
        declared: what a server declares of its classes, where one was asked: the kinds of the variables.

    Raises:
        InvalidRequest: a field can't be used, or a workflow is not in API format.
        UnknownName: its persona or its cluster is not there.
        GuardRefused: the guard forbids what a workflow says.
    """
    given = values if isinstance(values, PipelineInput) else validated(PipelineInput, values)
    for position, step in enumerate(given.steps, start=1):
        require_usable(position, step)
    pipeline_id = _upsert(session, given)
    set_defaults(session, pipeline_id, given)
    if newest_steps(session, pipeline_id) != given.steps:
        _add_version(session, pipeline_id, given.steps)
    if declared is not None:
        _remember_types(session, pipeline_id, declared)
    events.emit(session, "pipeline", pipeline_id)
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
    rows = _rows(session, view.id)[1]
    steps = tuple(_step_input(row) for row in rows)
    types = _types_of(session, rows)
    needs = tuple(needs_of(row.workflow, types.get(row.id, {})) for row in rows)
    names = {need.name for step in needs for need in step}
    warnings = [
        warning for position, step in enumerate(steps, start=1) for warning in warnings_on(position, step)
    ]
    plans = [(step.children_per_parent, step.top_k) for step in steps]
    warnings += [excess.sentence for excess in gate_excesses(plans) if not excess.is_last]
    workflows = tuple(step.workflow for step in steps)
    return PipelineDetail(view, workflows, needs, tuple(sorted(names)), tuple(warnings))


def export_pipeline(session: Session, pipeline: int | str) -> PipelineInput:
    """The newest version as it can be imported again; `model_dump(mode="json")` is the file.

    Raises:
        UnknownName: there is none.
    """
    view = get_pipeline(session, pipeline)
    return PipelineInput(
        name=view.name,
        description=view.description,
        persona=view.persona,
        cluster=view.cluster,
        steps=newest_steps(session, view.id),
    )


def ensure_examples(session: Session) -> tuple[PipelineView, ...]:
    """Import the examples that are not there yet.

    One that the operator changed stays as it is, and one that was deleted or renamed stays away.
    """
    known = session.execute(
        text(
            "SELECT lower(name) FROM pipelines UNION"
            " SELECT lower(details ->> 'name') FROM audit_events WHERE action = :deleted"
        ),
        {"deleted": DELETED},
    )
    taken = set(known.scalars())
    return tuple(import_pipeline(session, example(name)) for name in EXAMPLES if name not in taken)


def newest_steps(session: Session, pipeline_id: int) -> tuple[StepInput, ...]:
    """The steps of the newest version; empty before there is one."""
    return tuple(_step_input(row) for row in _rows(session, pipeline_id)[1])


def remember_types(session: Session, pipeline: int | str, declared: Declared) -> None:
    """Keep what a server says of the inputs that hold placeholders; it tells the variables' kinds.

    Raises:
        UnknownName: there is no such pipeline.
    """
    _remember_types(session, _find(session, pipeline).id, declared)


def _remember_types(session: Session, pipeline_id: int, declared: Declared) -> None:
    for row in _rows(session, pipeline_id)[1]:
        found = input_types(row.workflow, declared)
        if found:
            session.execute(
                text(
                    "INSERT INTO pipeline_step_types (pipeline_step_id, types) VALUES (:step, :types)"
                    " ON CONFLICT (pipeline_step_id) DO UPDATE SET types = excluded.types"
                ).bindparams(bindparam("types", type_=JSONB)),
                {"step": row.id, "types": found},
            )


def _types_of(session: Session, rows: Sequence[PipelineStep]) -> Mapping[int, InputTypes]:
    """Step → what a server once said of its inputs; a step without is left out."""
    found = session.execute(
        text("SELECT pipeline_step_id, types FROM pipeline_step_types WHERE pipeline_step_id = ANY (:steps)"),
        {"steps": [row.id for row in rows]},
    )
    return {row.pipeline_step_id: row.types for row in found}


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


def _step_input(row: PipelineStep) -> StepInput:
    return StepInput(
        name=row.name,
        workflow=row.workflow,
        children_per_parent=row.children_per_parent,
        top_k=row.default_top_k,
        timeout=row.timeout_seconds,
        output_node=row.output_node,
    )


_AROUND = """
SELECT a.name AS persona, c.name AS cluster,
       (SELECT count(*) FROM pipeline_runs r JOIN pipeline_versions v ON v.id = r.pipeline_version_id
        WHERE v.pipeline_id = p.id) AS runs
FROM pipelines p LEFT JOIN personas a ON a.id = p.persona_id LEFT JOIN clusters c ON c.id = p.cluster_id
WHERE p.id = :id
"""


def _view(session: Session, row: Pipeline) -> PipelineView:
    version, steps = _rows(session, row.id)
    assert version is not None, "a pipeline is stored together with its first version"
    around = session.execute(text(_AROUND), {"id": row.id}).one()
    return PipelineView(
        id=row.id,
        name=row.name,
        description=row.description,
        version_id=version.id,
        version=version.number,
        persona_id=row.persona_id,
        persona=around.persona,
        cluster_id=row.cluster_id,
        cluster=around.cluster,
        runs=around.runs,
        steps=tuple(
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
