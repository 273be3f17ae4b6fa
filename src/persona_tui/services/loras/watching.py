"""Watched folders of LoRAs: what comes into them is offered, and imported when the operator takes it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import InvalidRequest, NotAllowedNow, PersonaError, UnknownName
from persona_tui.services import events
from persona_tui.services.loras import registry
from persona_tui.services.loras.header import SUFFIX
from persona_tui.services.loras.importing import (
    LoraFacts,
    LoraInput,
    LoraOutcome,
    SessionScope,
    import_loras,
    inspect_lora,
    proposal_of,
)
from persona_tui.services.loras.proposals import Proposal
from persona_tui.services.loras.shelf import Shelf

SETTLED_SECONDS = 3.0
"""A file that was written to more lately may be half copied."""


@dataclass(frozen=True)
class WatchedFolder:
    """A folder that is looked into for LoRAs."""

    id: int
    root: str


@dataclass(frozen=True)
class Offer:
    """A LoRA file that waits for the operator.

    Attributes:
        state: `offered`, or `unusable` for what is no LoRA.
        persona: whom it names; None when it names nobody.
        sentence: what it is, or why it can't be used.
        name, model_type, family, key_format: as it would be imported; empty for what can't be used.
        loads: whether ComfyUI loads it: `as it is`, `converted` or `ignored`; empty as well.
        reason: what speaks for the persona.
        notes: what will not work, in sentences.
    """

    id: int
    path: str
    state: str
    persona_id: int | None
    persona: str | None
    sentence: str
    byte_count: int = 0
    name: str = ""
    model_type: str = ""
    family: str = ""
    key_format: str = ""
    loads: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()


def watch(session: Session, folder: Path) -> None:
    """Look into a folder from now on.

    Raises:
        UnknownName: there is no such folder.
        InvalidRequest: it is a file.
    """
    place = folder.expanduser().absolute()
    if not place.exists():
        raise UnknownName(f"There is no folder {place}.", title="Missing folder", hint="Check the path.")
    if not place.is_dir():
        raise InvalidRequest(f"{place} is no folder.", hint="Name the folder that it lies in.")
    rows_of(session, _WATCH, {"root": str(place)})


def unwatch(session: Session, folder: Path) -> None:
    """Look into a folder no longer; what was not taken from it is offered no longer.

    Raises:
        UnknownName: it is not watched.
    """
    if not rows_of(session, _UNWATCH, {"root": str(folder.expanduser().absolute())}):
        raise UnknownName(f"{folder} is not watched.", hint="`persona-tui lora watch` shows what is.")
    events.emit(session, "lora", 0)


def watched(session: Session) -> tuple[WatchedFolder, ...]:
    """All watched folders."""
    return tuple(WatchedFolder(*row) for row in rows_of(session, _WATCHED, {}))


def offers(session: Session) -> tuple[Offer, ...]:
    """What waits, the newest first."""
    return tuple(_view(row) for row in rows_of(session, _OFFERS, {"id": None}))


def take_offer(
    scope: SessionScope, shelf: Shelf, offer_id: int, values: Mapping[str, Any] | None = None
) -> LoraOutcome:
    """Import a file that was offered, for the persona that it names unless something else is said.

    Raises:
        UnknownName: it is not offered.
        NotAllowedNow: the file is gone, or can't be used.
    """
    with scope() as session:
        found = _offer(session, offer_id)
    given = LoraInput.model_validate({"persona_id": found.persona_id} | dict(values or {}))
    for outcome in import_loras(scope, shelf, [Path(found.path)], given):
        if outcome.lora is not None:
            with scope() as session:
                _settle(session, offer_id, "imported")
        return outcome
    raise NotAllowedNow(f"{found.path} could not be imported.", hint="Import it by `lora import`.")


def dismiss_offer(session: Session, offer_id: int) -> Offer:
    """Offer a file no longer, unless it changes.

    Raises:
        UnknownName: it is not offered.
    """
    found = _offer(session, offer_id)
    _settle(session, offer_id, "dismissed")
    return found


class LoraWatcher:
    """Looks into all watched folders, and notes what is new. Reads each new file once, for its hash."""

    def __init__(self, scope: SessionScope) -> None:
        self._scope = scope

    def look(self) -> str:
        """Look once. Blocks.

        Returns:
            What is wrong with a folder, in a sentence; empty when all is well.
        """
        with self._scope() as session:
            folders = watched(session)
        trouble = ""
        for folder in folders:
            if not Path(folder.root).is_dir():
                trouble = f"The watched folder {folder.root} is gone."
                continue
            self._look_into(folder)
        return trouble

    def _look_into(self, folder: WatchedFolder) -> None:
        present = {str(path): facts for path, facts in _files(Path(folder.root))}
        with self._scope() as session:
            known = {row.path: row for row in rows_of(session, _KNOWN, {"folder": folder.id})}
            gone = [path for path in known if path not in present and not Path(path).exists()]
            if gone:
                rows_of(session, _FORGET, {"paths": gone})
        for path, (size, modified) in present.items():
            row = known.get(path)
            if row is None or (row.byte_count, row.modified_ns) != (size, modified):
                self._note(folder.id, Path(path), size, modified)

    def _note(self, folder_id: int, path: Path, size: int, modified: int) -> None:
        details: dict[str, Any]
        try:
            facts = inspect_lora(path, LoraInput())
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except PersonaError as problem:
            state, persona, details = "unusable", None, {"sentence": problem.message}
        except OSError:  # it went away meanwhile
            return
        else:
            with self._scope() as session:
                proposal = proposal_of(session, facts)
                state = "imported" if registry.with_hash(session, digest) else "offered"
            persona = None if proposal is None else proposal.persona_id
            details = _details(inspect_lora(path, LoraInput(persona_id=persona)), proposal)
        values = {
            "folder": folder_id,
            "path": str(path),
            "size": size,
            "modified": modified,
            "state": state,
            "persona": persona,
            "details": Jsonb(details),
        }
        with self._scope() as session:
            (row,) = rows_of(session, _NOTE, values)
            events.emit(session, "lora", row.id)


def _details(facts: LoraFacts, proposal: Proposal | None) -> dict[str, Any]:
    """What the operator is told of a file before it is taken."""
    reason = "" if proposal is None else proposal.reason
    return {
        "sentence": " ".join(filter(None, [f"{facts.name}: {facts.model_type}, {facts.family}.", reason])),
        "name": facts.name,
        "model_type": facts.model_type,
        "family": facts.family,
        "key_format": facts.key_format,
        "loads": facts.loads,
        "reason": reason,
        "notes": list(facts.warnings),
    }


def _files(root: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    """Settled files below a folder, hidden ones left out."""
    latest = (time.time() - SETTLED_SECONDS) * 1e9
    for path in sorted(root.rglob(f"*{SUFFIX}")):
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            continue
        try:
            about = path.stat()
        except OSError:
            continue
        if path.is_file() and about.st_mtime_ns <= latest:
            yield path, (about.st_size, about.st_mtime_ns)


def _offer(session: Session, offer_id: int) -> Offer:
    found = rows_of(session, _OFFERS, {"id": offer_id})
    if not found:
        raise UnknownName(
            f"Nothing is offered as {offer_id}.", hint="`persona-tui lora offers` shows what is."
        )
    return _view(found[0])


def _view(row: Any) -> Offer:
    told = dict(row.details)
    told["notes"] = tuple(told.get("notes", ()))
    return Offer(row.id, row.path, row.state, row.persona_id, row.persona, byte_count=row.byte_count, **told)


def _settle(session: Session, offer_id: int, state: str) -> None:
    rows_of(session, _SETTLE, {"id": offer_id, "state": state})
    events.emit(session, "lora", offer_id)


_WATCH = "INSERT INTO lora_folders (root) VALUES (:root) ON CONFLICT (root) DO NOTHING"
_UNWATCH = "DELETE FROM lora_folders WHERE root = :root RETURNING id"
_WATCHED = "SELECT id, root FROM lora_folders ORDER BY root"
_OFFERS = """
SELECT o.id, o.path, o.state, o.persona_id, p.name AS persona, o.byte_count, o.details
FROM lora_offers o LEFT JOIN personas p ON p.id = o.persona_id
WHERE o.state IN ('offered', 'unusable') AND (CAST(:id AS bigint) IS NULL OR o.id = :id) ORDER BY o.id DESC
"""
_KNOWN = "SELECT path, byte_count, modified_ns FROM lora_offers WHERE folder_id = :folder"
_FORGET = "DELETE FROM lora_offers WHERE path = ANY (:paths)"
_NOTE = """
INSERT INTO lora_offers (folder_id, path, byte_count, modified_ns, state, persona_id, details)
VALUES (:folder, :path, :size, :modified, :state, :persona, :details)
ON CONFLICT (path) DO UPDATE SET byte_count = excluded.byte_count, modified_ns = excluded.modified_ns,
  state = excluded.state, persona_id = excluded.persona_id, details = excluded.details
RETURNING id
"""
_SETTLE = "UPDATE lora_offers SET state = :state WHERE id = :id"
