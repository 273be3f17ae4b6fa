"""LoRA files brought in: what a file is said to be before it is taken, and what became of it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_tui.errors import InvalidRequest
from persona_tui.screens import loras_forms
from persona_tui.screens.file_picker import FilePicker, FolderMemory
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.marks import counted
from persona_tui.widgets.reader import TextDialog

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.loras.importing import LoraFacts, LoraOutcome
    from persona_tui.services.loras.proposals import Proposal

SUFFIXES = (".safetensors",)
MOST_NAMED = 3
"""Files that the message line names; more are counted."""


async def picked_path(screen: PersonaScreen, title: str) -> Path | None:
    """A file or a folder of the operator's choice; the picker opens where it was left."""
    memory = FolderMemory(screen.shell.settings.data_dir / "ui" / "lora-folder")
    start = await asyncio.to_thread(memory.recall)
    path = await screen.ask(FilePicker(title, start, SUFFIXES))
    if path is not None:
        await asyncio.to_thread(memory.keep, path if path.is_dir() else path.parent)
    return path


async def import_path(screen: PersonaScreen) -> int | None:
    """Choose a file or a folder, and import it.

    Returns:
        The id of the last one that is there now.

    Raises:
        InvalidRequest: the one file can't be imported.
    """
    path = await picked_path(screen, "Import a LoRA")
    if path is None:
        return None
    asked = _asked_of_folder if path.is_dir() else asked_of_file
    values = await asked(screen, path)
    return None if values is None else await _import_files(screen, path, values)


async def asked_of_file(screen: PersonaScreen, path: Path) -> Mapping[str, Any] | None:
    """Show what one file is, and let the operator say more; None where they leave.

    Raises:
        InvalidRequest: it is no LoRA.
    """
    front = _in_front(screen)
    facts, proposal = await screen.read(_looked_at, path, front)
    proposed = None if proposal is None else (proposal.persona_id, proposal.persona)
    form = FormDialog(
        "Import a LoRA",
        loras_forms.import_fields(facts, front, proposed),
        about=loras_forms.about_file(path, facts, "" if proposal is None else proposal.reason),
    )
    typed = await screen.ask(form)
    return None if typed is None else loras_forms.import_values(typed)


def _looked_at(
    session: Session, path: Path, front: loras_forms.Persona | None
) -> tuple[LoraFacts, Proposal | None]:
    """What the file is as the LoRA of whom it names, or else of the persona in front."""
    from persona_tui.services.loras.importing import LoraInput, inspect_lora, proposal_of

    facts = inspect_lora(path, LoraInput(persona_id=front[0] if front else None))
    proposal = proposal_of(session, facts)
    if proposal is not None and front is None:
        facts = inspect_lora(path, LoraInput(persona_id=proposal.persona_id))
    return facts, proposal


async def _asked_of_folder(screen: PersonaScreen, path: Path) -> Mapping[str, Any] | None:
    """Whether all of a folder's files are wanted; what it is, each file says itself."""
    front = _in_front(screen)
    question = f"Import every .safetensors file in {path.name or path} and below?"
    consequence = f"They hold the likeness of {front[1]}, whose runs use them at once." if front else ""
    wanted = await screen.ask(ConfirmDialog(question, consequence, title="Import", yes="Import"))
    return {"persona_id": front[0] if front else None} if wanted else None


def _in_front(screen: PersonaScreen) -> loras_forms.Persona | None:
    persona = screen.shell.persona
    return None if persona is None else (persona.id, persona.name)


async def _import_files(screen: PersonaScreen, path: Path, values: Mapping[str, Any]) -> int | None:
    from persona_tui.services.inputs import validated
    from persona_tui.services.loras.importing import LoraInput, find_lora_files, import_loras

    files = await asyncio.to_thread(find_lora_files, path)
    shelf = screen.shell.core.resources.lora_shelf
    outcomes = import_loras(screen.shell.database.session_scope, shelf, files, validated(LoraInput, values))
    done: list[LoraOutcome] = []
    for file in files:
        screen.flash(f"Importing {file.name}…", "busy", seconds=600)
        outcome = await asyncio.to_thread(next, outcomes, None)
        if outcome is not None:
            done.append(outcome)
    return await tell(screen, done)


async def tell(screen: PersonaScreen, done: list[LoraOutcome]) -> int | None:
    """Say what became of files.

    Returns:
        The id of the last one that is there now.

    Raises:
        InvalidRequest: there was one alone, and it failed.
    """
    failed = [one for one in done if one.outcome == "failed"]
    if len(done) == 1 and failed:
        raise InvalidRequest(failed[0].sentence, hint=failed[0].hint)
    last = next((one.lora for one in reversed(done) if one.lora is not None), None)
    screen.request_reload()
    if len(done) == 1:
        front = _in_front(screen)
        ends = f"[{screen.shell.registry.label('loras.unuse')}] ends that."
        theirs = front is not None and done[0].used_by == front[1]
        screen.flash(f"{done[0].sentence} {ends}" if theirs else done[0].sentence)
    else:
        words = f"{counted(len(done) - len(failed), 'file')} imported"
        words = f"{words}, {len(failed)} failed." if failed else f"{words}."
        screen.flash(f"{words} {_used_words(done)}".rstrip())
    if failed:
        told = "\n".join(f"❌ {one.path.name}: {one.sentence}" for one in failed)
        await screen.ask(TextDialog("Not imported", told))
    return last.id if last else None


def _used_words(done: list[LoraOutcome]) -> str:
    """`Mira uses one@1, two@1.`, or how many of them: who uses which of the files by that."""
    used: dict[str, list[str]] = {}
    for one in done:
        if one.used_by and one.lora is not None:
            used.setdefault(one.used_by, []).append(one.lora.label)
    told = {
        persona: ", ".join(labels) if len(labels) <= MOST_NAMED else f"{len(labels)} of them"
        for persona, labels in used.items()
    }
    return " ".join(f"{persona} uses {what}." for persona, what in told.items())
