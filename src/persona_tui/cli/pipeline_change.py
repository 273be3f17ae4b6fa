"""`persona-tui pipeline edit|set|delete`: changing pipelines that are there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli.frame import AsJson, note, require_consent, resources, session, show

if TYPE_CHECKING:
    from persona_tui.resources import Resources
    from persona_tui.services.generation.editing import Draft
    from persona_tui.services.generation.pipelines import PipelineView

PipelineName = Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline's name.")]
Step = Annotated[int | None, typer.Option("--step", "-s", metavar="N", help="One step; otherwise all.")]
NONE = ""
"""What takes a persona or a cluster away on the command line."""


def edit(name: PipelineName, step: Step = None, as_json: AsJson = False) -> None:
    """Edit a pipeline, or one step, in $EDITOR; a change makes a new version."""
    from persona_tui.services.generation.editing import open_draft
    from persona_tui.text_editor import new_draft

    with resources() as opened:
        with opened.database.session_scope() as reading:
            draft = open_draft(reading, name, step)
        path = new_draft(draft.text, stem=draft.stem)
        made = _edited(opened, draft, path)
        path.unlink(missing_ok=True)
    if made is None:
        note("Nothing was changed.")
        return
    show(made, as_json, lambda: [f"✅ {made.name} is at version {made.version}."])


def _edited(opened: Resources, draft: Draft, path: Path) -> PipelineView | None:
    """Open the editor until what it leaves can be used; None when nothing was changed.

    The file stays whenever this raises, so that nothing is lost.
    """
    from persona_tui.errors import PersonaError
    from persona_tui.text_editor import edit_file

    while True:
        text = edit_file(path)
        if text == draft.text:
            return None
        try:
            return _stored(opened, draft, text)
        except PersonaError as problem:
            problem.hint = f"{problem.hint} What you wrote is in {path}."
            if not sys.stdin.isatty():
                raise
            note(f"❌ {problem.message}\n   {problem.hint}")
            if not typer.confirm("Open it again?", default=True, err=True):
                raise typer.Exit(problem.exit_code) from None


def _stored(opened: Resources, draft: Draft, text: str) -> PipelineView:
    from persona_tui.services.generation.asking import declared_by_any
    from persona_tui.services.generation.editing import read_draft, store_draft

    file = read_draft(draft, text)
    declared = None
    if file.asks_for_server:
        urls = opened.settings.comfyui.urls
        declared = asyncio.run(declared_by_any(urls, opened.comfyui_client))
    for warning in file.warnings:
        note(f"⚠️  {warning}")
    with opened.database.session_scope() as writing:
        return store_draft(writing, draft, file, declared)


def set_(
    name: PipelineName,
    rename: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    persona: Annotated[
        str | None, typer.Option(help="Default persona of its runs; an empty one takes it away.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Default cluster of its runs; an empty one takes it away.")
    ] = None,
    step: Step = None,
    children: Annotated[int | None, typer.Option("--children", "-n", help="N of the step.")] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", "-k", help="K of the step.")] = None,
    timeout: Annotated[int | None, typer.Option(help="Seconds a picture of the step may take.")] = None,
    output_node: Annotated[
        str | None, typer.Option(help="Node whose pictures count; an empty one: every SaveImage.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change a pipeline's name and defaults, or one step's numbers; the latter makes a new version."""
    from persona_tui.errors import InvalidRequest
    from persona_tui.services.generation.pipeline_acts import change_pipeline, change_step
    from persona_tui.services.generation.pipelines import get_pipeline

    whole = _given(description=description, persona=persona, cluster=cluster)
    of_step = _given(children_per_parent=children, top_k=top_k, timeout=timeout, output_node=output_node)
    if step is None:
        whole |= _given(name=rename)
    else:
        of_step |= _given(name=rename)
    if of_step and step is None:
        raise InvalidRequest("N, K, timeout and output node belong to a step.", hint="Add --step N.")
    if not whole and not of_step:
        raise InvalidRequest("There is nothing to change.", hint="See `persona-tui pipeline set --help`.")
    with session() as opened:
        made = get_pipeline(opened, name)
        if whole:
            made = change_pipeline(opened, made.id, whole)
        if step is not None and of_step:
            made = change_step(opened, made.id, step, of_step)
    show(made, as_json, lambda: [f"✅ {made.name}, version {made.version}."])


def _given(**options: str | int | None) -> dict[str, Any]:
    """The options that were given; an empty text stands for none."""
    given = {name: value for name, value in options.items() if value is not None}
    return {
        name: None if value == NONE and name in ("persona", "cluster", "output_node") else value
        for name, value in given.items()
    }


def delete(
    name: PipelineName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a pipeline that no run was made with."""
    from persona_tui.services.generation.pipeline_acts import delete_pipeline
    from persona_tui.services.generation.pipelines import get_pipeline

    with session() as opened:
        found = get_pipeline(opened, name)
        if not found.runs:
            question = f"Delete {found.name} with its versions?"
            require_consent(yes, question, refusal=f"{found.name} was not deleted")
        delete_pipeline(opened, found.id)
    show(found, as_json, lambda: [f"✅ {found.name} is deleted."])
