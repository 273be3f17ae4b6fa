"""`persona-tui run errors`: what failed, with what to do."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli.frame import AsJson, persona_of, session, show

if TYPE_CHECKING:
    from persona_tui.services.generation.traces import JobFailure

SINCE = {"failed": "given up", "open": "waits again", "busy": "is tried again", "filled": "made since"}
"""What became of the place of a failed job."""


def add_to(commands: typer.Typer) -> None:
    """Put the command into the group `run`."""
    commands.command("errors")(errors)


def errors(
    run: Annotated[int | None, typer.Argument(metavar="RUN", help="The run's number; else all runs.")] = None,
    persona: Annotated[str | None, typer.Option(help="Of this persona's runs alone.")] = None,
    as_json: AsJson = False,
) -> None:
    """What failed: the server's words, what became of it, and what to do; the newest first."""
    from persona_tui.services.generation.runs import run_detail
    from persona_tui.services.generation.traces import job_failures, recent_failures

    with session() as opened:
        if run is not None:
            run_detail(opened, run)  # tells an unknown number
            found = job_failures(opened, run, limit=100)
        else:
            found = recent_failures(opened, persona_of(opened, persona).id if persona else None)
    show([_told(one) for one in found], as_json, lambda: _lines(found))


def _told(failure: JobFailure) -> dict[str, Any]:
    from persona_tui.services.generation.advice import advice

    return {**asdict(failure), "advice": advice(failure.words)}


def _lines(found: tuple[JobFailure, ...]) -> list[str]:
    from persona_tui.services.generation.advice import advice

    lines = []
    for failure in found:
        when = f"{failure.at:%Y-%m-%d %H:%M} UTC, job {failure.job_id} of run {failure.run_id}, {failure.run}"
        where = f"step {failure.position} {failure.step}, on {failure.endpoint}"
        lines.append(f"❌ {when}, {where}: {SINCE[failure.place]}")
        lines += [f"   {failure.words}", f"   → {advice(failure.words)}"]
    return lines or ["🎉 Nothing failed."]
