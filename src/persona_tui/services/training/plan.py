"""Planning a training: who is in the dataset, what speaks against it, the recipe, and whether it fits."""

from __future__ import annotations

import secrets
import shutil
from asyncio import to_thread
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from sqlmodel import Session

from persona_tui.errors import NotAllowedNow
from persona_tui.gpu import faces
from persona_tui.gpu.host_memory import ReadMemory, host_memory
from persona_tui.gpu.nvml import read_cards
from persona_tui.gpu.training.families import Family
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.others import keep_others
from persona_tui.gpu.training.planner import Prediction, Shapes, reckoned_by_side
from persona_tui.gpu.training.run_file import RunFile
from persona_tui.gpu.training.shapes import read_shapes
from persona_tui.models.training import Dataset, TrainingRun
from persona_tui.pool import WorkPool
from persona_tui.services import events
from persona_tui.services.lease import Place, ReadCards, places
from persona_tui.services.loras.registry import find_lora
from persona_tui.services.safety import audit, consents
from persona_tui.services.training import licences
from persona_tui.services.training.calibrating import calibration
from persona_tui.services.training.cards import chosen_places, shared_words
from persona_tui.services.training.dataset_check import Finding, check_dataset, picture_sizes
from persona_tui.services.training.datasets import SessionScope, looks, open_dataset
from persona_tui.services.training.duration import expected_seconds
from persona_tui.services.training.fitting import Memory, fit
from persona_tui.services.training.others import other_faces
from persona_tui.services.training.parents import parent_file, require_rank
from persona_tui.services.training.recipe import (
    PlanInput,
    Sources,
    base_folder,
    buckets_of,
    family_of,
    lora_name,
    make_recipe,
)
from persona_tui.services.training.scorers import drawn_others, scorer_facts
from persona_tui.settings import Settings
from persona_tui.text import slug

SYSTEM_VRAM = 300 << 20
"""What the driver and a screen keep of a card."""


@dataclass(frozen=True)
class Plan:
    """A training that may begin.

    Attributes:
        run_id: of the planned run; None for a plan that was only looked at.
        findings: what speaks against the dataset without forbidding it.
        unread: licences that have to be acknowledged before the start.
        choices: what was decided for it, in sentences.
        sources: the most source pictures that a sample has.
        by_side: bytes at the peak without calibration, by the side of the largest pictures.
        further: cards that train it beside `place`, one process each.
        seconds: that it is expected to take, by earlier trainings; None where there was none of the kind.
    """

    run_id: int | None
    folder: Path | None
    run: RunFile
    family: Family
    place: Place
    prediction: Prediction
    choices: tuple[str, ...]
    findings: tuple[Finding, ...]
    unread: tuple[licences.Notice, ...]
    sources: int = 0
    by_side: Mapping[str, int] = field(default_factory=dict)
    further: tuple[Place, ...] = ()
    seconds: float | None = None

    @property
    def ram(self) -> int:
        """Bytes of the host's memory that all its processes take."""
        return self.prediction.ram * (1 + len(self.further))

    @property
    def needs_licence(self) -> bool:
        """Whether a licence has to be acknowledged before the start."""
        return bool(self.unread)

    @property
    def smallest(self) -> Place:
        """Of its cards the one with the least memory: the plan is for that."""
        return min((self.place, *self.further), key=_vram)

    @property
    def reckoned(self) -> int:
        """Bytes at the peak without calibration: of the card's memory, without a card of the machine's."""
        return self.by_side[str(max(self.run.buckets))]


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
    count: Callable[[str, str], Shapes] = read_shapes,
    memory: ReadMemory = host_memory,
    keep: bool = True,
) -> Plan:
    """Plan a training, and note it as a run that `start` begins.

    Args:
        pool: a child that imports torch to count the base model.
        count: what that child does; takes the family and the base model's folder.
        keep: False only looks.

    Raises:
        DatasetNotFit: something speaks against the dataset.
        NotAllowedNow: nobody says who is in it; the machine has too little memory.
        InvalidRequest, UnknownName: a value, a file or the base model can't be used.
        StorageError: the run's folder can't be written.
    """
    family = family_of(given.family)
    base = base_folder(family, given.base, settings.models.dir)
    chosen = _chosen(given, settings, places(await to_thread(cards)))
    place = min(chosen, key=_vram)
    draft = await to_thread(_draft, scope, settings, dataset_id, given, family, base, len(chosen))
    shapes = await pool.run(count, family.name, str(base))

    def finish() -> Plan:
        with scope() as session:
            found = fit(
                shapes,
                draft.recipe,
                _memory(place, memory, len(chosen)),
                sources=draft.sources,
                quantisation=given.quantisation or given.recipe.get("quantisation"),
                calibration_of=lambda way: calibration(
                    session, way, sources=draft.sources, on_cpu=place.card is None
                ),
            )
            unread = licences.unread(session, family, None if draft.drawn else settings.faces.arcface)
            seconds = expected_seconds(
                session, found.run, chosen[0], sources=draft.sources, cards=len(chosen)
            )
        plan = Plan(
            None,
            None,
            found.run,
            family,
            chosen[0],
            found.prediction,
            (*draft.told, *found.choices, *_shared(found.run, chosen)),
            draft.findings,
            unread,
            draft.sources,
            reckoned_by_side(shapes, found.run, draft.sources, on_cpu=place.card is None),
            chosen[1:],
            seconds,
        )
        return _kept(scope, settings, draft, plan) if keep else plan

    return await to_thread(finish)


@dataclass(frozen=True)
class _Draft:
    """What is known of a training before its memory is reckoned.

    Attributes:
        name: of the LoRA, as people write it.
        sources: the most source pictures that a sample has.
        drawn: the dataset's subject is drawn.
        told: sentences on its parent, and on asked sizes that no picture fills.
    """

    dataset_id: int
    name: str
    recipe: RunFile
    findings: tuple[Finding, ...]
    sources: int
    parent_id: int | None
    drawn: bool
    told: tuple[str, ...]


def require_subject(session: Session, dataset: Dataset) -> datetime | None:
    """See that a dataset says who is in it, and that a real one permits it now.

    Returns:
        When that consent runs out; None: it does not, or nobody real is in it.

    Raises:
        NotAllowedNow: it does not say.
        InvalidRequest: the consent was withdrawn, has run out, or is for something else.
    """
    if dataset.subject == "fictional":
        return None
    if dataset.consent_id is None:
        raise NotAllowedNow(
            f"{dataset.name} does not say who is in its pictures.",
            title="No consent",
            hint="`persona-tui dataset subject PERSONA NAME --fictional`, or --consent with the id of one.",
        )
    given = consents.require_valid(session, dataset.persona_id, dataset.consent_id, "training")
    return given.expires_at


def _chosen(given: PlanInput, settings: Settings, here: tuple[Place, ...]) -> tuple[Place, ...]:
    """The cards that were named, in the plan or else in the settings; else the first."""
    words = given.cards or settings.training.cards
    return chosen_places(words, here) if words else here[:1]


def _vram(place: Place) -> int:
    return 0 if place.card is None else place.card.memory_total


def _shared(run: RunFile, chosen: Sequence[Place]) -> tuple[str, ...]:
    return (shared_words(run.accumulation, len(chosen)),) if len(chosen) > 1 else ()


def _unfilled(asked: Sequence[int], run: RunFile) -> tuple[str, ...]:
    left = sorted(set(asked) - set(run.buckets))
    if not left:
        return ()
    names = " or ".join(str(side) for side in left)
    return (f"No picture fills {names} pixels: {max(run.buckets)} is the largest size.",)


def _memory(place: Place, memory: ReadMemory, processes: int) -> Memory:
    vram = None if place.card is None else place.card.memory_total - SYSTEM_VRAM
    return Memory(vram, memory(), find_spec("bitsandbytes") is not None, processes)


def _draft(
    scope: SessionScope,
    settings: Settings,
    dataset_id: int,
    given: PlanInput,
    family: Family,
    base: Path,
    cards: int,
) -> _Draft:
    with scope() as session:
        dataset = open_dataset(session, dataset_id)
        require_subject(session, dataset.row)
        known = looks(session, dataset_id)
        parent = None if given.parent is None else find_lora(session, given.parent)
    findings = check_dataset(dataset.manifest, dataset.folder.path, known, buckets_of(given))
    if any(finding.level == "error" for finding in findings):
        raise DatasetNotFit(findings)
    manifest, digest = dataset.manifest, dataset.sha256
    sources = Sources(
        family,
        base,
        manifest,
        digest,
        dataset.folder.snapshot(digest),
        None if parent is None else parent_file(parent, settings, family),
        cards,
        picture_sizes(manifest, dataset.folder.path),
    )
    recipe = make_recipe(given, sources)
    if parent is not None and recipe.parent is not None:
        require_rank(parent.label, recipe.parent, recipe.rank)
    return _Draft(
        dataset_id=dataset_id,
        name=lora_name(given, manifest),
        recipe=recipe,
        findings=findings,
        sources=max((len(picture.control) for picture in manifest.pictures), default=0),
        parent_id=None if parent is None else parent.id,
        drawn=dataset.manifest.drawn,
        told=(
            *([f"It trains on from {parent.label}."] if parent is not None else ()),
            *_unfilled(buckets_of(given), recipe),
        ),
    )


def _kept(scope: SessionScope, settings: Settings, draft: _Draft, plan: Plan) -> Plan:
    name = f"{slug(plan.run.name, 'lora')}-{secrets.token_hex(3)}"
    folder = RunFolder(settings.data_dir / "trainings" / name)
    try:
        folder.create(plan.run)
        scorer = scorer_facts(settings, drawn=draft.drawn)
        planned = None if plan.place.card is None else plan.prediction.training
        with scope() as session:
            persona_id = session.get_one(Dataset, draft.dataset_id).persona_id
            others = drawn_others(session, persona_id) if draft.drawn else []
            folder.note(scorer={**scorer, "others": [str(path) for path in others]}, planned=planned)
            keep_others(folder, faces.MODEL, other_faces(session, persona_id))
            run_id = _note(session, draft, plan, folder.path)
    except BaseException:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    return replace(plan, run_id=run_id, folder=folder.path)


def _note(session: Session, draft: _Draft, plan: Plan, folder: Path) -> int:
    dataset = session.get_one(Dataset, draft.dataset_id)
    prediction = plan.prediction
    row = TrainingRun(
        persona_id=dataset.persona_id,
        dataset_id=dataset.id,
        wheel=dataset.wheel,
        name=draft.name,
        base_family=plan.family.name,
        folder=str(folder),
        config=plan.run.model_dump(mode="json"),
        config_hash=plan.run.hash(),
        dataset_hash=plan.run.dataset_hash,
        seed=plan.run.seed,
        total_steps=plan.run.steps,
        quantisation=plan.run.quantisation,
        predicted_vram=None if plan.place.card is None else prediction.vram,
        predicted_ram=plan.ram,
        prediction={
            **prediction.parts,
            "raw": prediction.raw,
            "factor": prediction.factor,
            "by_side": dict(plan.by_side),
            "sources": plan.sources,
        },
        card=plan.place.name,
        further_cards=[place.name for place in plan.further],
        parent_lora_id=draft.parent_id,
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
