"""What the screen Pipelines does beside reading: import, check, edit in the operator's editor, export."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import SuspendNotSupported

from persona_tui.errors import NotAllowedNow, PersonaError
from persona_tui.screens.pipelines_forms import paths_in
from persona_tui.widgets.confirm import ConfirmDialog

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.generation.declared import Declared
    from persona_tui.services.generation.editing import Draft
    from persona_tui.services.generation.pipelines import PipelineDetail, PipelineView
    from persona_tui.services.generation.workflow_check import StepFindings


@dataclass(frozen=True)
class Around:
    """What a pipeline may be for: personas, and the clusters of each."""

    personas: tuple[str, ...]
    clusters: Mapping[str, tuple[str, ...]]


def load_list(session: Session) -> tuple[PipelineView, ...]:
    """All pipelines, the examples among them."""
    from persona_tui.services.generation.pipelines import ensure_examples, list_pipelines

    ensure_examples(session)
    return list_pipelines(session)


def load_detail(session: Session, pipeline_id: int) -> PipelineDetail:
    """One pipeline with all about it."""
    from persona_tui.services.generation.pipelines import pipeline_detail

    return pipeline_detail(session, pipeline_id)


def load_around(session: Session) -> Around:
    """The personas and their clusters."""
    from persona_tui.services.library.clusters import list_clusters
    from persona_tui.services.planning.personas import list_personas

    personas = list_personas(session)
    return Around(
        tuple(persona.name for persona in personas),
        {persona.name: tuple(c.name for c in list_clusters(session, persona.id)) for persona in personas},
    )


async def declared_there(screen: PersonaScreen) -> Declared:
    """What the first server of the settings that answers declares."""
    from persona_tui.services.generation.asking import declared_by_any

    resources = screen.shell.core.resources
    return await declared_by_any(resources.settings.comfyui.urls, resources.comfyui_client)


async def import_files(
    screen: PersonaScreen, typed: Mapping[str, Any]
) -> tuple[PipelineView, tuple[str, ...]]:
    """Import what the form names.

    Returns:
        The pipeline, and sentences on what does not match.

    Raises:
        PersonaError: a file can't be read or used.
    """
    from persona_tui.services.generation.pipeline_files import from_documents, in_api_format
    from persona_tui.services.generation.pipelines import import_pipeline
    from persona_tui.services.generation.workflow_files import read_workflow

    paths = paths_in(typed["paths"])
    documents = [(path.stem, await asyncio.to_thread(read_workflow, path)) for path in paths]
    named = documents[0][1].get("name") if "steps" in documents[0][1] else None
    defaults = {**typed, "name": typed["name"] or named or documents[0][0]}
    file = from_documents(documents, {key: value for key, value in defaults.items() if key != "paths"})
    declared = None
    if file.asks_for_server:
        declared = await declared_there(screen)
        file = await asyncio.to_thread(in_api_format, file, declared)
    return await screen.act(import_pipeline, file.values, declared), file.warnings


async def check_there(screen: PersonaScreen, pipeline_id: int) -> Sequence[StepFindings]:
    """Hold the pipeline against every server of the settings.

    Raises:
        ClientError: none answers.
    """
    from persona_tui.services.generation.pipelines import export_pipeline, remember_types
    from persona_tui.services.generation.workflow_check import check_on_servers

    resources = screen.shell.core.resources
    pipeline = await screen.read(export_pipeline, pipeline_id)
    found, declared = await check_on_servers(
        pipeline, resources.settings.comfyui.urls, resources.comfyui_client
    )
    if declared is not None:
        await screen.act(remember_types, pipeline_id, declared)
    return found


async def edit_as_text(screen: PersonaScreen, pipeline_id: int, position: int | None) -> PipelineView | None:
    """Let the operator edit a step or the whole pipeline until it can be used.

    What was written is kept in a file until it is stored, so nothing is lost.

    Returns:
        The new version; None when nothing was changed or the operator gave up.
    """
    from persona_tui.services.generation.editing import open_draft
    from persona_tui.text_editor import new_draft

    draft = await screen.read(open_draft, pipeline_id, position)
    path = await asyncio.to_thread(new_draft, draft.text, stem=draft.stem)
    while True:
        text = await _edited(screen, path)
        if text == draft.text:
            path.unlink(missing_ok=True)
            return None
        try:
            made = await _stored(screen, draft, text)
        except PersonaError as problem:
            if not await screen.ask(_again(problem, path)):
                return None
        else:
            path.unlink(missing_ok=True)
            return made


async def _edited(screen: PersonaScreen, path: Path) -> str:
    """Leave the terminal to the editor; engine and schedule go on behind it."""
    from persona_tui.text_editor import edit_file

    try:
        with screen.app.suspend(), screen.app.batch_update():
            return await asyncio.to_thread(edit_file, path)
    except SuspendNotSupported:
        raise NotAllowedNow(
            "This terminal can't be left to an editor.", hint="Use `persona-tui pipeline edit`."
        ) from None


async def _stored(screen: PersonaScreen, draft: Draft, text: str) -> PipelineView:
    from persona_tui.services.generation.editing import read_draft, store_draft

    file = read_draft(draft, text)
    declared = await declared_there(screen) if file.asks_for_server else None
    return await screen.act(store_draft, draft, file, declared)


def _again(problem: PersonaError, path: Path) -> ConfirmDialog:
    return ConfirmDialog(
        problem.message,
        f"{problem.hint} What you wrote is in {path}.",
        title="Not stored",
        yes="Open it again",
        no="Leave it",
    )


def write_export(session: Session, pipeline_id: int, position: int | None, path: Path) -> Path:
    """Write a pipeline, or one step's bare workflow, as JSON; a file that is there stays.

    Raises:
        NotAllowedNow: the file is there already, or can't be written.
    """
    from persona_tui.services.generation.pipelines import export_pipeline

    found = export_pipeline(session, pipeline_id)
    whole = found.model_dump(mode="json")
    document = whole if position is None else whole["steps"][position - 1]["workflow"]
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    except FileExistsError:
        raise NotAllowedNow(f"{path} is there already.", hint="Choose another name.") from None
    except OSError as problem:
        raise NotAllowedNow(
            f"{path} can't be written: {problem.strerror}.", hint="Check the folder."
        ) from None
    return path
