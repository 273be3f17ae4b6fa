"""`persona-tui run`: create, clone, list; the other commands are in the modules beside this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli import run_engine, run_errors, run_gates, run_life, run_loras, run_tree, run_winners
from persona_tui.cli.frame import AsJson, group, note, persona_of, resources, session, show, table

if TYPE_CHECKING:
    from sqlmodel import Session

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
    pipeline: Annotated[
        str | None, typer.Option(help="Otherwise two-step, or the first that can use the persona's LoRA.")
    ] = None,
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
    night: run_gates.NightOption = None,
    as_json: AsJson = False,
) -> None:
    """Begin a run; the process that leads makes its pictures."""
    from persona_tui.services.generation.pipelines import ensure_examples
    from persona_tui.services.generation.runs import create_run
    from persona_tui.services.generation.usual_pipeline import usual_pipeline

    with resources() as tools, tools.database.session_scope() as opened:
        ensure_examples(opened)
        values = _of_idea(opened, idea) if idea is not None else _of_words(opened, prompt, persona, cluster)
        plan = _plan(negative, var, children, top_k) | run_engine.limits(max_pictures, max_gpu_minutes)
        plan |= run_gates.night_fields(tools, opened, values.get("persona_id"), night)
        plan |= run_loras.choices(opened, lora, no_loras, values.get("persona_id"))
        chosen = pipeline or usual_pipeline(opened, values.get("persona_id"))
        made = create_run(opened, values | plan | {"pipeline": chosen, "seed": seed})
        run_loras.tell_warnings(opened, made.id)
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
    night: run_gates.NightOption = None,
    as_json: AsJson = False,
) -> None:
    """Begin the same run once more, with changes; the first one stays as it is."""
    from persona_tui.services.generation.cloning import clone_run
    from persona_tui.services.generation.runs import run_detail

    given = {"prompt": prompt, "pipeline": pipeline, "name": name, "seed": seed}
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    with resources() as tools, tools.database.session_scope() as opened:
        old = run_detail(opened, run)
        changes |= run_gates.night_fields(tools, opened, old.persona_id, night)
        changes |= run_loras.choices(opened, lora, no_loras, old.persona_id)
        plan = _typed(opened, _plan(negative, var, children, top_k), pipeline or old.pipeline)
        made = clone_run(opened, run, changes | plan)
        run_loras.tell_warnings(opened, made.id)
    if made.pipeline == old.pipeline and made.pipeline_version > old.pipeline_version:
        note(
            f"ℹ️  Run {run} was made by version {old.pipeline_version} of {old.pipeline};"
            f" its clone takes version {made.pipeline_version}."
        )
    show(made, as_json, lambda: [f"✅ Run {made.id}: {made.name}", *_leader_hint()])


def _plan(
    negative: str | None, var: list[str] | None, children: list[str] | None, top_k: list[str] | None
) -> dict[str, Any]:
    """The fields of a run that these options give."""
    plan: dict[str, Any] = {} if negative is None else {"negative": negative}
    if var:
        plan["variables"] = dict(_pair(word, "NAME=VALUE", "For example --var mood=calm.") for word in var)
    steps: dict[int, dict[str, int]] = {}
    for field, words, form, hint in (
        ("children_per_parent", children, "STEP=N", "For example --children 1=4: step 1, 4 pictures."),
        ("top_k", top_k, "STEP=K", "For example --top-k 1=2: the best 2 of step 1 go on."),
    ):
        for word in words or []:
            position, count = (_number(part, word, form, hint) for part in _pair(word, form, hint))
            steps.setdefault(position, {})[field] = count
    return plan | ({"steps": steps} if steps else {})


def _pair(word: str, form: str, hint: str) -> tuple[str, str]:
    from persona_tui.errors import InvalidRequest

    name, equals, value = word.partition("=")
    if not equals or not name.strip():
        raise InvalidRequest(f"{word!r} has not the form {form}.", hint=hint)
    return name.strip(), value


def _typed(opened: Session, plan: dict[str, Any], pipeline: int | str) -> dict[str, Any]:
    """The same with the words of `--var` as the pipeline's placeholders take them; others are refused."""
    from persona_tui.errors import InvalidRequest
    from persona_tui.services.generation.pipelines import pipeline_detail
    from persona_tui.services.generation.placeholders import typed_words

    if "variables" not in plan:
        return plan
    words, detail = plan["variables"], pipeline_detail(opened, pipeline)
    unknown = sorted(set(words) - set(detail.variables))
    if unknown:
        raise InvalidRequest(
            f"The pipeline {detail.pipeline.name} has no variable {unknown[0]}.",
            hint=f"`persona-tui pipeline show {detail.pipeline.name}` lists what it asks for.",
        )
    return plan | {"variables": typed_words(words, detail.asked)}


def _number(part: str, word: str, form: str, hint: str) -> int:
    from persona_tui.errors import InvalidRequest

    if not (part.isascii() and part.isdecimal() and len(part) < 10):
        raise InvalidRequest(f"{word!r} has not the form {form}: {part!r} is no number.", hint=hint)
    return int(part)


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
    status: Annotated[list[str] | None, typer.Option(help="Only with this status; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Runs, the newest first."""
    from persona_tui.services.generation.runs import list_runs

    with session() as opened:
        persona_id = persona_of(opened, persona).id if persona else None
        runs = list_runs(opened, persona_id, status)
    show(
        runs,
        as_json,
        lambda: table(
            ["run", "name", "persona", "status", "steps", "winner", "why"],
            ([r.id, r.name, r.persona, r.status, _steps(r), r.winner_id, r.reason] for r in runs),
        ),
    )


def _steps(run: RunView) -> str:
    return " → ".join(f"{step.active}/{step.wanted}" for step in run.steps)


for part in (run_tree, run_winners, run_errors, run_gates, run_life, run_engine):
    part.add_to(commands)
