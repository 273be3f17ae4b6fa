"""`persona-tui run` pause, resume, reopen, delete."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from persona_tui.cli.frame import AsJson, note, resources, session, show

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.generation.runs import RunView

RunId = Annotated[int, typer.Argument(metavar="RUN", help="The run's number.")]


def add_to(commands: typer.Typer) -> None:
    """Put the commands into the group `run`."""
    for name, command in (("pause", pause), ("resume", resume), ("reopen", reopen), ("delete", delete)):
        commands.command(name)(command)


def pause(run: RunId, as_json: AsJson = False) -> None:
    """Let a run rest; what is on a server comes to its end."""
    from persona_tui.services.generation.runs import pause_run

    _act(pause_run, run, "rests", as_json)


def resume(run: RunId, as_json: AsJson = False) -> None:
    """Let a run that rests or failed go on."""
    from persona_tui.services.generation.runs import resume_run

    _act(resume_run, run, "goes on", as_json)


def reopen(run: RunId, as_json: AsJson = False) -> None:
    """Go on with a run that has ended; its winner stays until you choose another."""
    from persona_tui.services.generation.run_acts import reopen_run

    _act(reopen_run, run, "is open again", as_json)


def _act(act: Callable[[Session, int], RunView], run: int, words: str, as_json: bool) -> None:
    with session() as opened:
        done = act(opened, run)
    show(done, as_json, lambda: [f"✅ Run {run} {words}; it is {done.status}."])


def delete(
    run: RunId,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    even_used: Annotated[
        bool, typer.Option("--even-used", help="Also where clusters or drafts use its pictures.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a run that has ended, with its pictures and their files."""
    from persona_tui.errors import NotAllowedNow, StorageError
    from persona_tui.services.generation.deletion import (
        delete_run,
        deletion_preview,
        remove_files,
        require_deletable,
    )

    with resources() as opened:
        scope = opened.database.session_scope
        with scope() as opened_session:
            found = deletion_preview(opened_session, run)
        require_deletable(found, even_used)
        for use in found.uses:
            note(f"⚠️  {use}")
        if not yes:
            if not sys.stdin.isatty():
                raise NotAllowedNow(
                    f"Run {run} has {found.pictures} pictures, and nobody can be asked.",
                    hint="Say --yes to delete them.",
                )
            question = f"Delete run {run}, {found.name}, with {found.pictures} pictures?"
            typer.confirm(question, abort=True, err=True)
        with scope() as opened_session:
            gone = delete_run(opened_session, run, actor="operator", even_used=even_used)
        files = 0
        try:
            files = remove_files(scope, opened.media)
        except StorageError as problem:
            note(f"⚠️  {problem.message} The process that leads tries again.")
    show(
        {"run": gone.run_id, "name": gone.name, "pictures": gone.pictures, "files": files},
        as_json,
        lambda: [f"✅ Run {run} is deleted with {gone.pictures} pictures."],
    )
