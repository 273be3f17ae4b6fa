"""`persona-tui run` budget, jobs, cancel-job, cancel: what the engine does with a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli.frame import AsJson, first_of, note, require_consent, session, show, table

if TYPE_CHECKING:
    from persona_tui.services.generation.budgets import BudgetView, Change

RunId = Annotated[int, typer.Argument(metavar="RUN", help="The run's number.")]
MaxPictures = Annotated[
    int | None, typer.Option("--max-pictures", help="Pictures that it may make; at the limit it rests.")
]
MaxGpuMinutes = Annotated[
    float | None,
    typer.Option("--max-gpu-minutes", help="Minutes of the card that it may use; at the limit it rests."),
]


def add_to(commands: typer.Typer) -> None:
    """Put the commands into the group `run`."""
    for name, command in (
        ("jobs", jobs),
        ("budget", budget),
        ("cancel-job", cancel_job),
        ("cancel", cancel),
    ):
        commands.command(name)(command)


def jobs(
    run: Annotated[int | None, typer.Argument(metavar="[RUN]", help="Of this run alone.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Only those under way.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Each try at each picture, the newest first."""
    from persona_tui.services.generation.cancelling import list_generation_jobs

    with session() as opened:
        found = first_of(list_generation_jobs(opened, run, live=live, limit=limit + 1), limit)
    show(
        found,
        as_json,
        lambda: table(
            ["job", "run", "step", "parent", "state", "sent", "GPU s", "server", "message"],
            (
                [
                    j.id,
                    j.run_id,
                    j.step,
                    j.parent_id,
                    j.state,
                    j.attempts,
                    j.gpu_seconds,
                    j.endpoint,
                    j.message,
                ]
                for j in found
            ),
        ),
    )


def budget(
    run: RunId,
    max_pictures: MaxPictures = None,
    max_gpu_minutes: MaxGpuMinutes = None,
    unlimited: Annotated[bool, typer.Option("--unlimited", help="Take both limits away.")] = False,
    as_json: AsJson = False,
) -> None:
    """What a run may spend and has spent; with options, another limit. A run that rests for it goes on."""
    from persona_tui.services.generation.budgets import Change, budget_of, set_budget
    from persona_tui.services.generation.runs import run_detail

    def change(limit: float | None) -> Change | None:
        return Change(limit) if unlimited or limit is not None else None

    pictures, minutes = change(max_pictures), change(max_gpu_minutes)
    with session() as opened:
        run_detail(opened, run)
        if pictures is None and minutes is None:
            view = budget_of(opened, run)
        else:
            view = set_budget(opened, run, max_pictures=pictures, max_gpu_minutes=minutes)
    show(view, as_json, lambda: budget_lines(view))


def budget_lines(view: BudgetView) -> Iterator[str]:
    """A run's budget for people."""
    reserved = f" and {view.reserved} reserved" if view.reserved else ""
    yield f"pictures: {view.made} made{reserved}{_of(view.max_pictures)}"
    yield f"GPU minutes: {view.gpu_minutes:.2f}{_of(view.max_gpu_minutes)}"


def _of(limit: float | None) -> str:
    return ", no limit" if limit is None else f" of {limit:g}"


def cancel_job(
    job: Annotated[int, typer.Argument(metavar="JOB", help="The job's number; see `run jobs`.")],
) -> None:
    """Cancel one job; its picture is given up until `run resume`."""
    from persona_tui.services.generation.cancelling import cancel_job as cancel_one

    with session() as opened:
        ended = cancel_one(opened, job)
    note(f"✅ Job {job} of run {ended.run_id} is cancelled.")


def cancel(
    run: Annotated[int | None, typer.Argument(metavar="[RUN]", help="The run's number.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every run that has not ended.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """End a run, or with --all every run; their pictures stay."""
    from persona_tui.errors import InvalidRequest
    from persona_tui.services.generation.cancelling import cancel_all, unfinished_runs
    from persona_tui.services.generation.runs import cancel_run, list_runs

    if (run is None) == (not everything):
        raise InvalidRequest("Either one run is cancelled or all are.", hint="Name a run, or say --all.")
    if run is not None:
        with session() as opened:
            done = cancel_run(opened, run)
        show(done, as_json, lambda: [f"✅ Run {run} is cancelled."])
        return
    with session() as opened:
        runs = _runs(len(unfinished_runs(opened)))
        left = len(list_runs(opened, states=["failed"]))
    require_consent(yes, f"Cancel {runs}?", refusal=f"{runs} would be cancelled")
    with session() as opened:
        ended = cancel_all(opened)
    if left:
        note(f"ℹ️  {_runs(left)} failed before and stay so; `persona-tui run cancel RUN` ends one.")
    words = f"✅ {_runs(len(ended))} {'is' if len(ended) == 1 else 'are'} cancelled."
    show(ended, as_json, lambda: [words])


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


def limits(max_pictures: int | None, max_gpu_minutes: float | None) -> dict[str, Any]:
    """The fields of a run that these options give."""
    given = {"max_pictures": max_pictures, "max_gpu_minutes": max_gpu_minutes}
    return {name: value for name, value in given.items() if value is not None}
