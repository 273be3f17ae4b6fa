"""`persona-tui run` show and tree: a run's steps, its gate, and its pictures as they grew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli import run_engine, run_loras
from persona_tui.cli.frame import AsJson, plain, resources, show

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.resources import Resources
    from persona_tui.services.generation.gates import GatePreview
    from persona_tui.services.generation.lineage import Branch
    from persona_tui.services.generation.progress import RunStepView
    from persona_tui.services.generation.runs import RunDetail
    from persona_tui.services.generation.traces import Trace
    from persona_tui.services.generation.tree import CandidateView

RunId = Annotated[int, typer.Argument(metavar="RUN", help="The run's number.")]


def add_to(commands: typer.Typer) -> None:
    """Put the commands into the group `run`."""
    commands.command("show")(show_)
    commands.command("tree")(tree)


def show_(run: RunId, as_json: AsJson = False) -> None:
    """A run with its steps, what its next gate would cost, and its pictures."""
    from persona_tui.services.generation.lineage import as_tree
    from persona_tui.services.generation.runs import run_detail
    from persona_tui.services.generation.tree import list_candidates

    with resources() as opened:
        with opened.database.session_scope() as session:
            found = run_detail(session, run)
            candidates = list_candidates(session, run)
            gate = _next_gate(session, found)
        pictures = [_picture(opened, candidate) for candidate in candidates]
    show(
        {"run": found, "gate": gate, "candidates": pictures},
        as_json,
        lambda: [*_run_lines(found), *gate_lines(gate), *_tree_lines(as_tree(candidates))],
    )


def tree(
    run: RunId,
    candidate: Annotated[
        int | None, typer.Option(help="Only this picture: the way to it, and what grew from it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A run's pictures as they grew from each other, with ratings and states."""
    from persona_tui.services.generation.lineage import as_tree, branch_of, lineage_of
    from persona_tui.services.generation.runs import run_detail
    from persona_tui.services.generation.traces import traces
    from persona_tui.services.generation.tree import list_candidates

    with resources() as opened, opened.database.session_scope() as session:
        run_detail(session, run)
        candidates = list_candidates(session, run)
        origins = traces(session, run)
    branches = as_tree(candidates)
    way: Sequence[CandidateView] = ()
    if candidate is not None:
        way = lineage_of(candidates, candidate)
        branches = (branch_of(branches, candidate),)
    show(
        {
            "run": run,
            "lineage": [_with_origin(one, origins) for one in way],
            "tree": [_nested(branch) for branch in branches],
        },
        as_json,
        lambda: [*_way_lines(way, origins), *_tree_lines(branches)],
    )


def gate_lines(gate: GatePreview | None) -> Iterator[str]:
    """What an approval would do, for people."""
    if gate is None:
        return
    sure = "" if gate.probability is None else f", {gate.probability:.0%} sure"
    if gate.is_last:
        yield f"gate: {_numbers(gate.candidate_ids)} would win{sure}"
    else:
        yield f"gate: {_numbers(gate.candidate_ids)} would go on (K = {gate.k}{sure})"
    if gate.rest_pictures:
        yield f"  then {cost_words(gate.cost, gate.minutes)} in the next step"
        if gate.rest_pictures != gate.cost:
            yield f"  and {cost_words(gate.rest_pictures, gate.rest_minutes)} until the run's end"
    yield from (f"  ⚠️  {warning}" for warning in gate.warnings)


def cost_words(pictures: int, minutes: float | None) -> str:
    """Pictures and the minutes of one card that they take, for people."""
    words = f"{pictures} {'picture' if pictures == 1 else 'pictures'}"
    return f"{words} (time not known yet)" if minutes is None else f"{words} (about {minutes:.1f} min)"


def _next_gate(session: Session, run: RunDetail) -> GatePreview | None:
    from persona_tui.services.generation.gates import gate_preview

    step = run.current
    if run.status == "completed" or step.approved or not step.active:
        return None
    return gate_preview(session, step.id, 1 if step.is_last else min(step.top_k, step.active))


def _run_lines(run: RunDetail) -> Iterator[str]:
    yield f"{run.name} ({run.status}) {run.reason}".rstrip()
    yield f"prompt: {run.prompt}"
    if run.night != "off":
        when = f"from {run.night_at:%Y-%m-%d %H:%M} UTC on" if run.night_at else "once the ranking is sure"
        yield f"night mode: passes gates {when}"
    yield from run_loras.lines(run)
    yield from run_engine.budget_lines(run.budget)
    yield from (f"⚠️  {warning.sentence}" for warning in run.warnings)
    yield from (_step_line(step) for step in run.steps)


def _step_line(step: RunStepView) -> str:
    words = f"  {step.position}. {step.name}: {step.active} of {step.wanted}, top {step.top_k}"
    if step.approved:
        words += f"; approved by {step.approved_by}"
    return f"{words}: {step.approval_reason}" if step.approval_reason else words


def _tree_lines(branches: Sequence[Branch], indent: str = "") -> Iterator[str]:
    for branch in branches:
        last = branch is branches[-1]
        yield f"{indent}{'└─' if last else '├─'} {_candidate_words(branch.candidate)}"
        yield from _tree_lines(branch.children, indent + ("   " if last else "│  "))


def _candidate_words(one: CandidateView) -> str:
    words = f"{one.id}  {one.step}  {one.elo_score}"
    if one.gate_rank is not None:
        words += f"  → goes on as number {one.gate_rank}"
    if one.status == "rejected":
        words += "  ❌ rejected"
    return f"{words}  🏆 winner" if one.winner else words


def _way_lines(way: Sequence[CandidateView], origins: dict[int, Trace]) -> Iterator[str]:
    for one in way:
        seen = origins.get(one.id)
        where = (
            "" if seen is None or not seen.endpoint else f", {seen.endpoint} {seen.server_version}".rstrip()
        )
        took = "" if seen is None or seen.seconds is None else f", {seen.seconds:.1f} s"
        what = f"picture {one.id}, rating {one.elo_score}, seed {one.seed}"
        yield f"{one.position}. {one.step}: {what}{where}{took}"


def _with_origin(one: CandidateView, origins: dict[int, Trace]) -> dict[str, Any]:
    facts: dict[str, Any] = plain(one)
    return facts | {"origin": plain(origins.get(one.id))}


def _nested(branch: Branch) -> dict[str, Any]:
    facts: dict[str, Any] = plain(branch.candidate)
    return facts | {"children": [_nested(child) for child in branch.children]}


def _picture(opened: Resources, candidate: CandidateView) -> dict[str, Any]:
    path = opened.media.path(candidate.media_key)
    facts: dict[str, Any] = plain(candidate)
    return facts | {"path": str(path) if path else None}


def _numbers(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids))
