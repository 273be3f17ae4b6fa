"""What tells people and drawn characters apart here, and what is noted of it beside a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlmodel import Session

from persona_tui.errors import PersonaError
from persona_tui.gpu import dino, faces
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.services.library.embeddings import current_model
from persona_tui.services.training.datasets import list_datasets, open_dataset
from persona_tui.settings import Settings

EACH, MOST = 10, 60
"""Pictures of one drawn character, and of all together, that a likeness is held against."""


@dataclass(frozen=True)
class Judges:
    """What likeness goes by.

    Attributes:
        people, drawn: by what; empty where nothing can.
        weak: those of them that go by style and clothes as much as by who it is.
        problem, hint: what is set and can't be used.
    """

    people: str
    drawn: str
    weak: tuple[str, ...] = ()
    problem: str = ""
    hint: str = ""


def dino_folder(settings: Settings) -> Path | None:
    """Where a DINOv2 lies: the folder that is set, else the hub's cache; None where there is none.

    Raises:
        InvalidRequest: the folder that is set holds none.
    """
    if settings.faces.dino is None:
        return dino.cached_folder()
    folder = settings.faces.dino.absolute()
    dino.check_folder(folder)
    return folder


def scorer_facts(settings: Settings, *, drawn: bool) -> dict[str, Any]:
    """By what a run's sample pictures are scored, as `gpu/training/scoring` reads it.

    Raises:
        InvalidRequest: the subject is drawn, and the folder that is set holds no DINOv2.
    """
    arcface, whole = settings.faces.arcface, current_model(settings).weights
    figures = dino_folder(settings) if drawn else None
    return {
        "arcface": None if arcface is None else str(arcface.absolute()),
        "detector": settings.faces.detector,
        "whole": [whole.kind, str(whole.path)],
        "dino": None if figures is None else str(figures),
        "drawn": drawn,
    }


def judges(settings: Settings) -> Judges:
    """What there is on this machine; loads no model."""
    clip, problem = "", None
    try:
        clip = f"{current_model(settings).name} on the masked subject"
        folder = dino_folder(settings)
    except PersonaError as told:
        folder, problem = None, told
    if faces.is_installed():
        people = faces.MODEL if settings.faces.arcface is None else f"ArcFace {settings.faces.arcface.name}"
    else:
        people = clip
    drawn = clip if folder is None else f"DINOv2 at {folder}"
    weak = tuple(dict.fromkeys(one for one in (people, drawn) if one and one == clip))
    if problem is None:
        return Judges(people, drawn, weak)
    return Judges(people, drawn, weak, problem.message, problem.hint)


def drawn_others(session: Session, persona_id: int) -> list[Path]:
    """Pictures of the other personas' drawn characters: what a drawn likeness is held against."""
    found: list[Path] = []
    seen: set[str] = set()
    for view in list_datasets(session):
        if view.persona_id == persona_id or len(found) >= MOST:
            continue
        try:
            manifest = open_dataset(session, view.id).manifest
        except PersonaError:  # moved, or edited by hand: it can do without
            continue
        if not manifest.drawn or view.wheel != "character":
            continue
        new = [one for one in manifest.pictures if one.depth == 0 and one.sha256 not in seen][:EACH]
        seen.update(one.sha256 for one in new)
        found += [view.folder / one.file for one in new]
    return found[:MOST]


def arcface_in(folder: Path) -> Path | None:
    """The ArcFace model that the likeness of a run's samples goes by; None where it goes by others."""
    told = RunFolder(folder).manifest().get("scorer") or {}
    return Path(told["arcface"]) if told.get("arcface") and not told.get("drawn") else None
