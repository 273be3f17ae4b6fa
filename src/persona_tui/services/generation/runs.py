"""Runs: one execution of a pipeline for a prompt, from its creation to its end."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.models.library import Cluster
from persona_tui.models.persona import ContentPillar, ContentSuggestion, Persona
from persona_tui.models.pipeline import RUN_STATUSES, PipelineRun, PipelineRunStep
from persona_tui.services import events
from persona_tui.services.generation import budgets, progress, run_loras, tree, warnings
from persona_tui.services.generation.budgets import BudgetView
from persona_tui.services.generation.gate_sizes import GateExcess, require_gates
from persona_tui.services.generation.lora_use import LoraUse
from persona_tui.services.generation.pipelines import PipelineDetail, PipelineView, StepView, pipeline_detail
from persona_tui.services.generation.placeholders import typed
from persona_tui.services.generation.progress import RunStepView
from persona_tui.services.generation.run_input import RunInput, StepOverride
from persona_tui.services.generation.template import Value, as_text, fill, in_step
from persona_tui.services.generation.variables import SEED_BITS, RunFacts, run_variables
from persona_tui.services.inputs import validated
from persona_tui.services.safety import audit, guard

_system_random = random.SystemRandom()


@dataclass(frozen=True)
class RunView:
    """A run with its steps.

    Attributes:
        status: pending, running, waiting (for votes and approval), paused, completed, failed, cancelled.
        reason: why it failed, or what went wrong on the way.
        winner_id: the candidate that won.
        night, night_at: its policy for gates that nobody passes, as in `RunInput`.
    """

    id: int
    name: str
    pipeline: str
    pipeline_version: int
    persona_id: int | None
    persona: str | None
    cluster_id: int | None
    pillar_id: int | None
    content_suggestion_id: int | None
    prompt: str
    status: str
    reason: str
    winner_id: int | None
    created_at: datetime
    finished_at: datetime | None
    steps: tuple[RunStepView, ...]
    night: str
    night_at: datetime | None

    @property
    def current(self) -> RunStepView:
        """The step at which the run stands."""
        return progress.current_step(self.steps)


@dataclass(frozen=True)
class RunDetail(RunView):
    """A run with all that it was started with."""

    negative: str
    variables: Mapping[str, Value]
    seed: int
    budget: BudgetView
    loras: tuple[LoraUse, ...]
    warnings: tuple[warnings.RunWarningView, ...]


def create_run(
    session: Session,
    values: RunInput | Mapping[str, Any],
    *,
    inherited: Collection[int] = (),
    rng: random.Random = _system_random,
) -> RunView:
    """Start a run: its steps and the places of the first one; the engine does the rest.

    A K above what its step makes is refused where it was asked for, and warned of where it was not.

    Args:
        inherited: positions of steps whose K comes from another run, and was not asked for.
        rng: draws the seed, where none is given.

    Raises:
        InvalidRequest: a field can't be used, or a placeholder has no value.
        UnknownName: pipeline, persona, cluster, pillar or idea is not there, or is another persona's.
        GuardRefused: the guard forbids the prompt.
    """
    given = values if isinstance(values, RunInput) else validated(RunInput, values)
    detail = pipeline_detail(session, given.pipeline)
    plan = _with_types(_with_defaults(given, detail.pipeline), detail)
    persona = _require_persona(session, plan)
    _require_related(session, plan)
    excesses = _require_steps(plan, detail.pipeline, inherited)
    now = session.execute(text("SELECT persona_now()")).scalar_one()
    name = plan.name or f"{detail.pipeline.name} - {now:%Y%m%d-%H%M%S}"
    named = [(step.name, flow) for step, flow in zip(detail.pipeline.steps, detail.workflows, strict=True)]
    loras = run_loras.plan_loras(session, plan.persona_id, plan.loras, named)
    _require_variables(plan, persona, name, detail, now, loras.loras)
    guard.pass_text(session, _all_words(plan), purpose="generator", persona_id=plan.persona_id)
    run = PipelineRun(
        pipeline_version_id=detail.pipeline.version_id,
        persona_id=plan.persona_id,
        cluster_id=plan.cluster_id,
        pillar_id=plan.pillar_id,
        content_suggestion_id=plan.content_suggestion_id,
        name=name,
        prompt=plan.prompt,
        negative=plan.negative,
        variables=dict(plan.variables),
        seed=rng.getrandbits(SEED_BITS) if plan.seed is None else plan.seed,
        night=plan.night,
        night_at=plan.night_at,
    )
    session.add(run)
    session.flush()
    _add_steps(session, run, detail.pipeline.steps, plan.steps)
    for excess in excesses:
        warnings.warn(session, run.id, "gate", excess.sentence)
    run_loras.keep_plan(session, run.id, loras)
    budgets.open_budget(session, run.id, max_pictures=plan.max_pictures, max_gpu_minutes=plan.max_gpu_minutes)
    events.emit(session, "run", run.id)
    return _views(session, [run.id])[0]


def list_runs(
    session: Session,
    persona_id: int | None = None,
    states: Sequence[str] | None = None,
    *,
    limit: int = 100,
    offset: int = 0,
) -> tuple[RunView, ...]:
    """Runs, the newest first.

    Args:
        states: only runs with one of these statuses.

    Raises:
        InvalidRequest: there is no such status.
    """
    unknown = set(states or ()) - set(RUN_STATUSES)
    if unknown:
        raise InvalidRequest(f"No run is {min(unknown)}.", hint=f"Statuses are {', '.join(RUN_STATUSES)}.")
    ids = session.execute(
        text(
            "SELECT id FROM pipeline_runs"
            " WHERE (CAST(:persona AS bigint) IS NULL OR persona_id = :persona)"
            "  AND (CAST(:states AS text[]) IS NULL OR status = ANY (:states))"
            " ORDER BY id DESC LIMIT :limit OFFSET :offset"
        ),
        {
            "persona": persona_id,
            "states": None if states is None else list(states),
            "limit": limit,
            "offset": offset,
        },
    )
    return _views(session, list(ids.scalars()))


def runs_waiting_for_votes(session: Session, persona_id: int | None = None) -> tuple[RunView, ...]:
    """Runs that stand still until the operator votes, approves or picks a winner; the newest first."""
    return list_runs(session, persona_id, ["waiting"])


def run_detail(session: Session, run_id: int) -> RunDetail:
    """One run with all that it was started with.

    Raises:
        UnknownName: there is no such run.
    """
    view = _view(session, run_id)
    run = session.get_one(PipelineRun, run_id)
    return RunDetail(
        **vars(view),
        negative=run.negative,
        variables=run.variables,
        seed=run.seed,
        budget=budgets.budget_of(session, run_id),
        loras=run_loras.loras_of(session, run_id),
        warnings=warnings.warnings_of(session, run_id),
    )


def pause_run(session: Session, run_id: int) -> RunView:
    """Let no further job begin; those on a server come to their end.

    Raises:
        NotAllowedNow: the run has ended.
    """
    run = progress.lock_run(session, run_id)
    if run.status not in (*progress.ACTIVE, "paused"):
        raise NotAllowedNow(f"Run {run_id} is {run.status}: there is nothing to pause.")
    run.status = "paused"
    progress.refresh_run(session, run)
    return _view(session, run_id)


def resume_run(session: Session, run_id: int) -> RunView:
    """Go on with a paused or failed run; places that were given up are tried again.

    Raises:
        NotAllowedNow: the run is completed or cancelled.
    """
    run = progress.lock_run(session, run_id)
    if run.status in ("completed", "cancelled"):
        raise NotAllowedNow(f"Run {run_id} is {run.status}.", hint="Reopen the run instead.")
    session.execute(
        text(
            "UPDATE generation_slots SET state = 'open', failures = 0 WHERE state = 'failed'"
            " AND run_step_id IN (SELECT id FROM pipeline_run_steps WHERE run_id = :run)"
        ),
        {"run": run_id},
    )
    tree.settle_slots(session, run_id)
    if run.status in ("paused", "failed"):
        run.status = "running"
    run.reason = ""
    progress.refresh_run(session, run)
    return _view(session, run_id)


def cancel_run(session: Session, run_id: int, *, reason: str = "The operator cancelled it.") -> RunView:
    """End a run without a winner; its live jobs are cancelled, its pictures stay.

    Args:
        reason: a sentence for whoever looks at the run.

    Raises:
        NotAllowedNow: the run is completed.
    """
    run = progress.lock_run(session, run_id)
    if run.status == "completed":
        raise NotAllowedNow(f"Run {run_id} is completed.")
    if run.status != "cancelled":
        tree.cancel_jobs(session, run_id)
        run.status, run.reason = "cancelled", reason
        run.finished_at = session.execute(text("SELECT persona_now()")).scalar_one()
        progress.refresh_run(session, run)
        audit.append(session, actor="operator", action="run.cancel", subject=f"pipeline_runs:{run_id}")
    return _view(session, run_id)


def _with_defaults(given: RunInput, pipeline: PipelineView) -> RunInput:
    persona_id = given.persona_id if given.persona_id is not None else pipeline.persona_id
    inherits = given.cluster_id is None and persona_id is not None and persona_id == pipeline.persona_id
    cluster_id = pipeline.cluster_id if inherits else given.cluster_id
    return given.model_copy(update={"persona_id": persona_id, "cluster_id": cluster_id})


def _with_types(plan: RunInput, detail: PipelineDetail) -> RunInput:
    """Variables as their placeholders take them, so that the words `832` are a number where one goes."""
    return plan.model_copy(update={"variables": typed(plan.variables, detail.asked)})


def _require_persona(session: Session, plan: RunInput) -> Persona | None:
    if plan.persona_id is None:
        return None
    persona = session.get(Persona, plan.persona_id)
    if persona is None:
        raise UnknownName("There is no such persona.", hint="`persona-tui persona list` shows them.")
    return persona


def _require_related(session: Session, plan: RunInput) -> None:
    if plan.cluster_id is not None:
        _require_own("cluster", plan.cluster_id, session.get(Cluster, plan.cluster_id), plan.persona_id)
    if plan.pillar_id is not None:
        _require_own("pillar", plan.pillar_id, session.get(ContentPillar, plan.pillar_id), plan.persona_id)
    if plan.content_suggestion_id is not None:
        idea = session.get(ContentSuggestion, plan.content_suggestion_id)
        _require_own("idea", plan.content_suggestion_id, idea, plan.persona_id)


def _require_own(
    what: str, wanted: int, row: Cluster | ContentPillar | ContentSuggestion | None, persona_id: int | None
) -> None:
    if row is None or row.persona_id != persona_id:
        raise UnknownName(
            f"The persona has no {what} {wanted}.", hint=f"Choose a {what} of the run's own persona."
        )


def _require_steps(
    plan: RunInput, pipeline: PipelineView, inherited: Collection[int]
) -> tuple[GateExcess, ...]:
    unknown = set(plan.steps) - {step.position for step in pipeline.steps}
    if unknown:
        raise InvalidRequest(
            f"The pipeline {pipeline.name} has no step {min(unknown)}.",
            hint=f"Its steps are 1 to {len(pipeline.steps)}.",
        )
    plans = [_plan_of(step, plan.steps) for step in pipeline.steps]
    usual = {step.position: step.top_k for step in pipeline.steps}
    chosen = {at for at, step in plan.steps.items() if step.top_k not in (None, usual[at])}
    return require_gates(plans, chosen - set(inherited), what="K")


def _plan_of(step: StepView, overrides: Mapping[int, StepOverride]) -> tuple[int, int]:
    """N and K of a step as the run will have them."""
    override = overrides.get(step.position, StepOverride())
    return override.children_per_parent or step.children_per_parent, override.top_k or step.top_k


def _require_variables(
    plan: RunInput,
    persona: Persona | None,
    name: str,
    detail: PipelineDetail,
    now: datetime,
    loras: tuple[LoraUse, ...],
) -> None:
    """Fill every workflow once, so that a missing variable is told now and not after the first step."""
    facts = RunFacts(
        name,
        plan.prompt,
        plan.negative,
        persona.name if persona else "",
        persona.trigger_word if persona else "",
        plan.variables,
        loras,
    )
    for step, workflow in zip(detail.pipeline.steps, detail.workflows, strict=True):
        parent = None if step.position == 1 else "parent.png"
        variables = run_variables(
            facts, seed=0, token=name, now=now, parent_image=parent, parent_image_path=parent
        )
        try:
            fill(workflow, variables)
        except InvalidRequest as problem:
            raise in_step(problem, step.position, step.name) from None


def _all_words(plan: RunInput) -> str:
    """All that the run brings into its workflows, read together as the guard reads a workflow."""
    return "\n".join([plan.prompt, plan.negative, *(as_text(value) for value in plan.variables.values())])


def _add_steps(
    session: Session, run: PipelineRun, steps: Sequence[StepView], overrides: Mapping[int, StepOverride]
) -> None:
    for step in steps:
        children, top_k = _plan_of(step, overrides)
        row = PipelineRunStep(
            run_id=run.id,
            pipeline_version_id=run.pipeline_version_id,
            pipeline_step_id=step.id,
            position=step.position,
            children_per_parent=children,
            top_k=top_k,
        )
        session.add(row)
        session.flush()
        if step.position == 1:
            tree.open_slots(session, run.id, row.id, [None], row.children_per_parent)


_RUNS = """
SELECT r.id, r.name, p.name AS pipeline, v.number AS pipeline_version, r.persona_id, a.name AS persona,
       r.cluster_id, r.pillar_id, r.content_suggestion_id, r.prompt, r.status, r.reason, w.id AS winner_id,
       r.created_at, r.finished_at, r.night, r.night_at
FROM pipeline_runs r
JOIN pipeline_versions v ON v.id = r.pipeline_version_id
JOIN pipelines p ON p.id = v.pipeline_id
LEFT JOIN personas a ON a.id = r.persona_id
LEFT JOIN image_candidates w ON w.run_id = r.id AND w.winner
WHERE r.id = ANY (:runs)
ORDER BY r.id DESC
"""


def _views(session: Session, run_ids: Sequence[int]) -> tuple[RunView, ...]:
    rows = session.execute(text(_RUNS), {"runs": list(run_ids)}).all()
    standings = progress.load_standings(session, run_ids)
    # One that was deleted meanwhile stands nowhere.
    return tuple(
        RunView(**{**row._mapping, **vars(standings[row.id])}) for row in rows if row.id in standings
    )


def _view(session: Session, run_id: int) -> RunView:
    found = _views(session, [run_id])
    if not found:
        raise UnknownName(f"There is no run {run_id}.", hint="`persona-tui run list` shows what there is.")
    return found[0]
