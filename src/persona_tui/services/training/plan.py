"""Planning a training: who is in the dataset, what speaks against it, the recipe, and whether it fits."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import psutil
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.gpu.nvml import read_cards
from persona_tui.gpu.training.families import Family
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.planner import Prediction
from persona_tui.gpu.training.run_file import Quantisation, RunFile
from persona_tui.gpu.training.shapes import read_shapes
from persona_tui.models.training import Dataset, TrainingRun
from persona_tui.pool import WorkPool
from persona_tui.services import events
from persona_tui.services.lease import Place, ReadCards, places
from persona_tui.services.loras.registry import find_lora
from persona_tui.services.loras.shelf import Shelf
from persona_tui.services.safety import audit, consents
from persona_tui.services.training import licences
from persona_tui.services.training.dataset_check import Finding, check_dataset
from persona_tui.services.training.datasets import SessionScope, looks, open_dataset
from persona_tui.services.training.fitting import Fit, Memory, fit
from persona_tui.services.training.recipe import (
    PlanInput,
    Sources,
    base_folder,
    family_of,
    make_recipe,
)
from persona_tui.settings import Settings
from persona_tui.text import slug

_REMEMBERED = 8
_SYSTEM_VRAM = 300 << 20
"""What the driver and a screen keep of a card."""


@dataclass(frozen=True)
class Plan:
    """A training that may begin.

    Attributes:
        run_id: of the planned run; None for a plan that was only looked at.
        findings: what speaks against the dataset without forbidding it.
        needs_licence: the base model's licence has to be acknowledged before the start.
        choices: what was decided for it, in sentences.
    """

    run_id: int | None
    folder: Path | None
    run: RunFile
    family: Family
    place: Place
    prediction: Prediction
    choices: tuple[str, ...]
    findings: tuple[Finding, ...]
    needs_licence: bool


class DatasetNotFit(NotAllowedNow):
    """The dataset has errors.

    Attributes:
        findings: all of them.
    """

    title = "Dataset is not fit for training"

    def __init__(self, findings: Sequence[Finding]) -> None:
        first = next(one for one in findings if one.level == "error")
        super().__init__(first.sentence, hint=first.hint)
        self.findings = tuple(findings)


async def plan_training(
    scope: SessionScope,
    pool: WorkPool,
    settings: Settings,
    dataset_id: int,
    given: PlanInput,
    *,
    cards: ReadCards = read_cards,
    keep: bool = True,
) -> Plan:
    """Plan a training, and note it as a run that `start` begins.

    Args:
        pool: a child that imports torch to count the base model.
        keep: False only looks.

    Raises:
        DatasetNotFit: something speaks against the dataset.
        NotAllowedNow: nobody says who is in it; the machine has too little memory.
        InvalidRequest, UnknownName: a value, a file or the base model can't be used.
        StorageError: the run's folder can't be written.
    """
    import asyncio

    family = family_of(given.family)
    base = base_folder(family, given.base, settings.models.dir)
    place = _place(given, cards)
    read = await asyncio.to_thread(_read, scope, settings, dataset_id, given, family, base)
    recipe, findings, sources = read
    shapes = await pool.run(read_shapes, family.name, str(base))

    def chosen() -> Fit:
        with scope() as session:
            return fit(
                shapes,
                recipe,
                _memory(place),
                sources=sources,
                quantisation=given.quantisation,
                factor_of=lambda how: calibration(session, family.name, how),
            )

    found = await asyncio.to_thread(chosen)
    return await asyncio.to_thread(
        _kept, scope, settings, dataset_id, given, found, family, place, findings, keep=keep
    )


def require_subject(session: Session, dataset: Dataset) -> None:
    """See that a dataset says who is in it, and that a real one permits it now.

    Raises:
        NotAllowedNow: it does not say.
        InvalidRequest: the consent was withdrawn, has run out, or is for something else.
    """
    if dataset.subject == "fictional":
        return
    if dataset.consent_id is None:
        raise NotAllowedNow(
            f"{dataset.name} does not say who is in its pictures.",
            title="No consent",
            hint="`persona-tui dataset subject PERSONA NAME --fictional`, or --consent with the id of one.",
        )
    consents.require_valid(session, dataset.persona_id, dataset.consent_id, "training")


def calibration(session: Session, family: str, quantisation: Quantisation) -> float | None:
    """Measured over predicted memory of the last runs of this kind: their median; None where there are none."""
    rows = rows_of(session, _MEASURED, {"family": family, "quantisation": quantisation, "most": _REMEMBERED})
    return median(row.ratio for row in rows) if rows else None


def _place(given: PlanInput, cards: ReadCards) -> Place:
    found = places(cards())
    if given.card is None:
        return found[0]
    for place in found:
        if place.card is not None and place.card.index == given.card:
            return place
    shown = ", ".join(place.title for place in found)
    raise InvalidRequest(f"There is no card {given.card}.", hint=f"There are: {shown}.")


def _memory(place: Place) -> Memory:
    vram = None if place.card is None else place.card.memory_total - _SYSTEM_VRAM
    return Memory(vram, psutil.virtual_memory().available, find_spec("bitsandbytes") is not None)


def _read(
    scope: SessionScope, settings: Settings, dataset_id: int, given: PlanInput, family: Family, base: Path
) -> tuple[RunFile, tuple[Finding, ...], int]:
    """The recipe, the dataset's warnings, and the most sources that a picture has."""
    with scope() as session:
        dataset = open_dataset(session, dataset_id)
        require_subject(session, dataset.row)
        known = looks(session, dataset_id)
        parent = _parent(session, settings, given, family)
    findings = check_dataset(dataset.manifest, dataset.folder.path, known, given.buckets)
    if any(finding.level == "error" for finding in findings):
        raise DatasetNotFit(findings)
    snapshot = dataset.folder.snapshot(dataset.row.manifest_sha256)
    sources = Sources(family, base, dataset.manifest, dataset.row.manifest_sha256, snapshot, parent)
    most = max((len(picture.control) for picture in dataset.manifest.pictures), default=0)
    return make_recipe(given, sources), findings, most


def _parent(
    session: Session, settings: Settings, given: PlanInput, family: Family
) -> tuple[Path, str] | None:
    if given.parent is None:
        return None
    lora = find_lora(session, given.parent)
    if lora.family != family.lora_family:
        raise InvalidRequest(
            f"{lora.label} is a LoRA of {lora.family}, not of {family.title}.",
            title="Mixed families",
            hint="Start from one of the same base model, or without one.",
        )
    path = Shelf(settings).path(lora.file_name)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        raise InvalidRequest(f"The file of {lora.label} is gone.", hint="Import it again.") from None
    return path, digest


def _kept(
    scope: SessionScope,
    settings: Settings,
    dataset_id: int,
    given: PlanInput,
    found: Fit,
    family: Family,
    place: Place,
    findings: tuple[Finding, ...],
    *,
    keep: bool,
) -> Plan:
    with scope() as session:
        needs_licence = not licences.is_acknowledged(session, family)
    plan = Plan(
        None, None, found.run, family, place, found.prediction, found.choices, findings, needs_licence
    )
    if not keep:
        return plan
    folder = RunFolder(_new_folder(settings, found.run.name))
    folder.create(found.run)
    try:
        with scope() as session:
            run_id = _note(session, dataset_id, given, plan, folder)
    except BaseException:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    return Plan(run_id, folder.path, *list(vars(plan).values())[2:])


def _new_folder(settings: Settings, name: str) -> Path:
    return settings.data_dir / "trainings" / f"{slug(name, 'lora')}-{secrets.token_hex(3)}"


def _note(session: Session, dataset_id: int, given: PlanInput, plan: Plan, folder: RunFolder) -> int:
    dataset = session.get_one(Dataset, dataset_id)
    parent = None if given.parent is None else find_lora(session, given.parent).id
    prediction = plan.prediction
    row = TrainingRun(
        persona_id=dataset.persona_id,
        dataset_id=dataset_id,
        wheel=dataset.wheel,
        name=plan.run.name,
        base_family=plan.family.name,
        folder=str(folder.path),
        config=plan.run.model_dump(mode="json"),
        config_hash=plan.run.hash(),
        dataset_hash=plan.run.dataset_hash,
        seed=plan.run.seed,
        total_steps=plan.run.steps,
        quantisation=plan.run.quantisation,
        predicted_vram=None if plan.place.card is None else prediction.vram,
        predicted_ram=prediction.ram,
        prediction={**prediction.parts, "raw": prediction.raw, "factor": prediction.factor},
        card=plan.place.name,
        parent_lora_id=parent,
    )
    session.add(row)
    session.flush()
    audit.append(
        session,
        actor="operator",
        action="training.plan",
        persona_id=dataset.persona_id,
        subject=f"training_runs:{row.id}",
        content_sha256=plan.run.dataset_hash,
        details={"family": plan.family.name, "steps": plan.run.steps, "config": row.config_hash},
    )
    events.emit(session, "training", row.id)
    return row.id


_MEASURED = """
SELECT r.measured_vram::float / (r.prediction ->> 'raw')::float AS ratio
FROM training_runs r
WHERE r.base_family = :family AND r.quantisation = :quantisation AND r.measured_vram IS NOT NULL
ORDER BY r.id DESC LIMIT :most
"""
