"""A pipeline, or one of its steps, as a text to edit, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.services.generation.declared import Declared
from persona_tui.services.generation.pipeline_acts import change_step, replace_pipeline
from persona_tui.services.generation.pipeline_files import PipelineFile, from_documents, in_api_format
from persona_tui.services.generation.pipeline_input import PipelineInput
from persona_tui.services.generation.pipelines import PipelineView, export_pipeline, get_pipeline
from persona_tui.services.inputs import validated


@dataclass(frozen=True)
class Draft:
    """What is being edited.

    Attributes:
        position: the step; None for the whole pipeline.
        version: the pipeline's when it was opened.
        text: JSON.
    """

    pipeline_id: int
    name: str
    position: int | None
    version: int
    text: str

    @property
    def stem(self) -> str:
        """A word for the file's name."""
        words = "".join(letter if letter.isalnum() else "-" for letter in self.name.lower())
        return words[:40] if self.position is None else f"{words[:40]}-{self.position}"


def open_draft(session: Session, pipeline: int | str, position: int | None = None) -> Draft:
    """The newest version as a text; `position` None takes all steps.

    Raises:
        UnknownName: there is no such pipeline.
        InvalidRequest: there is no such step.
    """
    view = get_pipeline(session, pipeline)
    document: dict[str, Any] = export_pipeline(session, view.id).model_dump(mode="json")
    if position is not None:
        document = _step_of(document, view, position)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return Draft(view.id, view.name, position, view.version, text)


def read_draft(draft: Draft, text: str) -> PipelineFile:
    """What the operator made of it; its workflows may be in the editor's format.

    Raises:
        InvalidRequest: it is no JSON any more; names line and column.
    """
    try:
        document = json.loads(text)
    except ValueError as problem:
        told = str(problem)
        raise InvalidRequest(f"It is no JSON any more: {told}.", hint="Mend that place and save.") from None
    if not isinstance(document, Mapping):
        raise InvalidRequest("It is no JSON object.", hint="Keep the outer braces.")
    if draft.position is not None:
        document = {"steps": [document]}
    elif not isinstance(document.get("steps"), list):
        raise InvalidRequest("It has no steps.", hint="Keep the list `steps`.")
    name = document.get("name")
    return from_documents([(draft.name, document)], {"name": name if name is not None else draft.name})


def store_draft(
    session: Session, draft: Draft, file: PipelineFile, declared: Declared | None = None
) -> PipelineView:
    """Store what the operator made of it as a new version.

    Args:
        declared: what a server declares; needed where a workflow is in the editor's format.

    Raises:
        InvalidRequest, GuardRefused, UnknownName, DuplicateName: it can't be used as it is.
        NotAllowedNow: somebody else changed the pipeline meanwhile.
    """
    now = get_pipeline(session, draft.pipeline_id)
    if now.version != draft.version:
        raise NotAllowedNow(
            f"The pipeline {now.name} was changed meanwhile: it is at version {now.version}.",
            hint="Open it again and make your change there.",
        )
    if file.asks_for_server and declared is not None:
        file = in_api_format(file, declared)
    if draft.position is None:
        given = validated(PipelineInput, file.values)
        return replace_pipeline(session, draft.pipeline_id, given, declared)
    step = file.values["steps"][0]
    return change_step(session, draft.pipeline_id, draft.position, step, declared)


def _step_of(document: Mapping[str, Any], view: PipelineView, position: int) -> dict[str, Any]:
    steps = document["steps"]
    if not 1 <= position <= len(steps):
        raise InvalidRequest(
            f"The pipeline {view.name} has no step {position}.", hint=f"Its steps are 1 to {len(steps)}."
        )
    step: dict[str, Any] = steps[position - 1]
    return step
