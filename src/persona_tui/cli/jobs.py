"""`persona-tui jobs`: list, retry, cancel."""

from __future__ import annotations

from typing import Annotated

import typer

from persona_tui.cli.frame import AsJson, first_of, group, note, session, show, table

commands = group("Background jobs.")

JobId = Annotated[int, typer.Argument(metavar="JOB", help="The job's number.")]


@commands.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="todo, doing, succeeded, failed, cancelled.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Jobs, the newest first."""
    from persona_tui.services.jobs import list_jobs

    with session() as opened:
        jobs = first_of(list_jobs(opened, status=status, limit=limit + 1), limit)
    show(
        jobs,
        as_json,
        lambda: table(
            ["job", "task", "status", "attempts", "arguments", "changed"],
            ([j.id, j.task, j.status, j.attempts, dict(j.arguments), j.changed_at] for j in jobs),
        ),
    )


@commands.command("retry")
def retry(job: JobId) -> None:
    """Queue a failed job again."""
    from persona_tui.services.jobs import retry_job

    with session() as opened:
        retry_job(opened, job)
    note(f"✅ Job {job} waits again.")


@commands.command("cancel")
def cancel(job: JobId) -> None:
    """Cancel a job that waits."""
    from persona_tui.services.jobs import cancel_job

    with session() as opened:
        cancel_job(opened, job)
    note(f"✅ Job {job} is cancelled.")
