"""`persona-tui run`: create, clone, list, show, approve, pick the winner, pause, resume, cancel."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli import run_engine, run_loras
from persona_tui.cli.frame import AsJson, group, note, persona_of, resources, session, show, table

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.resources import Resources
    from persona_tui.services.generation.runs import RunView

commands = group("Runs: pictures being made.")

RunId = Annotated[int, typer.Argument(metavar="RUN", help="The run's number.")]
Negative = Annotated[str | None, typer.Option(help="What is not to be seen.")]
Variables = Annotated[
    list[str] | None, typer.Option("--var", metavar="NAME=VALUE", help="A variable of the pipeline's own.")
]
Children = Annotated[
    list[str] | None,
    typer.Option("--children", "-n", metavar="STEP=N", help="Pictures per parent in a step."),
]
TopK = Annotated[
    list[str] | None,
    typer.Option("--top-k", "-k", metavar="STEP=K", help="Pictures that a gate lets through."),
]


@commands.command("create")
def create(
    prompt: Annotated[str | None, typer.Argument(help="What to picture; an idea brings its own.")] = None,
    idea: Annotated[int | None, typer.Option(help="An accepted idea's number.")] = None,
    persona: Annotated[str | None, typer.Option(help="Whose picture it is.")] = None,
    pipeline: Annotated[str, typer.Option(help="Which pipeline.")] = "two-step",
    cluster: Annotated[str | None, typer.Option(help="Cluster that gets the winner.")] = None,
    seed: Annotated[int | None, typer.Option(help="Base of all seeds.")] = None,
    negative: Negative = None,
    var: Variables = None,
    children: Children = None,
    top_k: TopK = None,
    max_pictures: run_engine.MaxPictures = None,
    max_gpu_minutes: run_engine.MaxGpuMinutes = None,
    lora: run_loras.Loras = None,
    no_loras: run_loras.NoLoras = False,
    as_json: AsJson = False,
) -> None:
    """Begin a run; the process that leads makes its pictures."""
    from persona_tui.services.generation.pipelines import ensure_examples
    from persona_tui.services.generation.runs import create_run

    with session() as opened:
        ensure_examples(opened)
        values = _of_idea(opened, idea) if idea is not None else _of_words(opened, prompt, persona, cluster)
        plan = _plan(negative, var, children, top_k) | run_engine.limits(max_pictures, max_gpu_minutes)
        plan |= run_loras.choices(opened, lora, no_loras, values.get("persona_id"))
        made = create_run(opened, values | plan | {"pipeline": pipeline, "seed": seed})
        _warn(opened, made.id)
        _use_idea(opened, idea)
    show(made, as_json, lambda: [f"✅ Run {made.id}: {made.name}", *_leader_hint()])


@commands.command("clone")
def clone(
    run: RunId,
    prompt: Annotated[str | None, typer.Option(help="Another prompt.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Another pipeline.")] = None,
    name: Annotated[str | None, typer.Option(help="Its name.")] = None,
    seed: Annotated[int | None, typer.Option(help="Base of all seeds; otherwise a new one is drawn.")] = None,
    negative: Negative = None,
    var: Variables = None,
    children: Children = None,
    top_k: TopK = None,
    lora: run_loras.Loras = None,
    no_loras: run_loras.NoLoras = False,
    as_json: AsJson = False,
) -> None:
    """Begin the same run once more, with changes; the first one stays as it is."""
    from persona_tui.services.generation.cloning import clone_run
    from persona_tui.services.generation.runs import run_detail

    given = {"prompt": prompt, "pipeline": pipeline, "name": name, "seed": seed}
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    with session() as opened:
        changes |= run_loras.choices(opened, lora, no_loras, run_detail(opened, run).persona_id)
        made = clone_run(opened, run, changes | _plan(negative, var, children, top_k))
        _warn(opened, made.id)
    show(made, as_json, lambda: [f"✅ Run {made.id}: {made.name}", *_leader_hint()])


def _warn(opened: Session, run_id: int) -> None:
    from persona_tui.services.generation.warnings import warnings_of

    for warning in warnings_of(opened, run_id):
        note(f"⚠️  {warning.sentence}")


def _plan(
    negative: str | None, var: list[str] | None, children: list[str] | None, top_k: list[str] | None
) -> dict[str, Any]:
    """The fields of a run that these options give."""
    plan: dict[str, Any] = {} if negative is None else {"negative": negative}
    if var:
        plan["variables"] = {name: _value(word) for name, word in map(_pair, var)}
    steps: dict[int, dict[str, int]] = {}
    for field, words in (("children_per_parent", children), ("top_k", top_k)):
        for position, count in map(_pair, words or []):
            steps.setdefault(_number(position), {})[field] = _number(count)
    return plan | ({"steps": steps} if steps else {})


def _pair(word: str) -> tuple[str, str]:
    from persona_tui.errors import InvalidRequest

    name, equals, value = word.partition("=")
    if not equals or not name.strip():
        raise InvalidRequest(f"{word!r} has no form NAME=VALUE.", hint="For example --var mood=calm.")
    return name.strip(), value


def _value(word: str) -> str | int | float | bool:
    """A number or a truth value where it reads as one in JSON, otherwise the words."""
    try:
        found = json.loads(word, parse_constant=str)
    except (ValueError, RecursionError):
        return word
    return found if isinstance(found, bool | int | float) and math.isfinite(found) else word


def _number(word: str) -> int:
    from persona_tui.errors import InvalidRequest

    if not (word.isascii() and word.isdecimal() and len(word) < 10):
        raise InvalidRequest(
            f"{word!r} is no number.", hint="For example --children 1=4: step 1, 4 pictures."
        )
    return int(word)


def _of_idea(opened: Session, idea_id: int) -> dict[str, Any]:
    from persona_tui.services.planning.ideas import accept_idea

    idea = accept_idea(opened, idea_id)
    return {
        "persona_id": idea.persona_id,
        "prompt": idea.prompt,
        "name": idea.title,
        "cluster_id": idea.cluster_id,
        "pillar_id": idea.pillar_id,
        "content_suggestion_id": idea.id,
    }


def _of_words(
    opened: Session, prompt: str | None, persona: str | None, cluster: str | None
) -> dict[str, Any]:
    from persona_tui.errors import InvalidRequest
    from persona_tui.services.library.clusters import find_cluster

    if prompt is None:
        raise InvalidRequest("There is nothing to picture.", hint="Give a prompt or --idea NUMBER.")
    if persona is None:
        return {"prompt": prompt}
    persona_id = persona_of(opened, persona).id
    if cluster is None:
        return {"prompt": prompt, "persona_id": persona_id}
    found = find_cluster(opened, persona_id, cluster)
    return {
        "prompt": prompt,
        "persona_id": persona_id,
        "cluster_id": found.id,
        "pillar_id": found.pillar_id,
    }


def _use_idea(opened: Session, idea_id: int | None) -> None:
    from persona_tui.services.planning.ideas import mark_used

    if idea_id is not None:
        mark_used(opened, idea_id)


def _leader_hint() -> list[str]:
    return ["   The app or `persona-tui scheduler` makes its pictures; see `persona-tui run list`."]


@commands.command("list")
def list_(
    persona: Annotated[str | None, typer.Option(help="Of this persona alone.")] = None,
    as_json: AsJson = False,
) -> None:
    """Runs, the newest first."""
    from persona_tui.services.generation.runs import list_runs

    with session() as opened:
        persona_id = persona_of(opened, persona).id if persona else None
        runs = list_runs(opened, persona_id)
    show(
        runs,
        as_json,
        lambda: table(
            ["run", "name", "persona", "status", "steps", "winner"],
            ([r.id, r.name, r.persona, r.status, _steps(r), r.winner_id] for r in runs),
        ),
    )


def _steps(run: RunView) -> str:
    return " → ".join(f"{step.active}/{step.wanted}" for step in run.steps)


@commands.command("show")
def show_(run: RunId, as_json: AsJson = False) -> None:
    """A run with its steps and pictures."""
    from persona_tui.services.generation.runs import run_detail
    from persona_tui.services.generation.tree import list_candidates

    with resources() as opened:
        with opened.database.session_scope() as opened_session:
            found = run_detail(opened_session, run)
            candidates = list_candidates(opened_session, run)
        pictures = [_picture(opened, candidate) for candidate in candidates]
    show(
        {"run": found, "candidates": pictures},
        as_json,
        lambda: [
            f"{found.name} ({found.status}) {found.reason}",
            f"prompt: {found.prompt}",
            *run_loras.lines(found),
            *run_engine.budget_lines(found.budget),
            *(f"  {s.position}. {s.name}: {s.active} of {s.wanted}, top {s.top_k}" for s in found.steps),
            *table(
                ["candidate", "step", "parent", "rating", "status", "winner"],
                (
                    [p["id"], p["position"], p["parent_id"], p["elo_score"], p["status"], p["winner"]]
                    for p in pictures
                ),
            ),
        ],
    )


def _picture(opened: Resources, candidate: Any) -> dict[str, Any]:
    from persona_tui.cli.frame import plain

    path = opened.media.path(candidate.media_key)
    facts: dict[str, Any] = plain(candidate)
    return facts | {"path": str(path) if path else None}


@commands.command("approve")
def approve(
    run: RunId,
    top_k: Annotated[int | None, typer.Option("--top-k", "-k", help="How many pictures go on.")] = None,
    as_json: AsJson = False,
) -> None:
    """Approve the step that waits; after the last step the best picture wins."""
    from persona_tui.services.generation.gates import approve as approve_step
    from persona_tui.services.generation.gates import choose_winner, gate_preview
    from persona_tui.services.generation.runs import run_detail

    with session() as opened:
        step = next((s for s in run_detail(opened, run).steps if s.approved_at is None), None)
        if step is None:
            from persona_tui.errors import NotAllowedNow

            raise NotAllowedNow(f"Every step of run {run} is approved.", hint="See `persona-tui run show`.")
        k = top_k or step.top_k
        preview = gate_preview(opened, step.id, k)
        for warning in preview.warnings:
            note(f"⚠️  {warning}")
        if step.is_last:
            winner = choose_winner(opened, preview.members[0].candidate_id, actor="operator")
            result: Any = winner
        else:
            result = approve_step(opened, step.id, k, actor="operator")
    show(result, as_json, lambda: [f"✅ Step {step.position} is approved with {k}."])


@commands.command("winner")
def winner(
    candidate: Annotated[int, typer.Argument(help="The candidate's number.")], as_json: AsJson = False
) -> None:
    """Choose the winner of a run yourself."""
    from persona_tui.services.generation.gates import choose_winner

    with session() as opened:
        chosen = choose_winner(opened, candidate, actor="operator")
    show(chosen, as_json, lambda: [f"✅ Candidate {candidate} wins."])


@commands.command("pause")
def pause(run: RunId) -> None:
    """Let a run rest."""
    from persona_tui.services.generation.runs import pause_run

    with session() as opened:
        pause_run(opened, run)
    note(f"✅ Run {run} rests.")


@commands.command("resume")
def resume(run: RunId) -> None:
    """Let a run that rests go on."""
    from persona_tui.services.generation.runs import resume_run

    with session() as opened:
        resume_run(opened, run)
    note(f"✅ Run {run} goes on.")


run_engine.add_to(commands)
