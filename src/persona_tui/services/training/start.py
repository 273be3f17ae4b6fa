"""Starting a training, or going on with it: card, drained servers, a process of its own."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.gpu.host_memory import ReadMemory, host_memory
from persona_tui.gpu.nvml import read_cards
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.planner import GIB
from persona_tui.gpu.training.pulse import since_boot
from persona_tui.gpu.training.run_file import RunFile
from persona_tui.gpu.training.supervisor import forget_chances
from persona_tui.models.training import Dataset, TrainingRun
from persona_tui.services import events, lease
from persona_tui.services.lease import Lease, Place, ReadCards, places
from persona_tui.services.training import licences
from persona_tui.services.training.attach import proposed_in
from persona_tui.services.training.cards import chosen_places, require_shared
from persona_tui.services.training.datasets import SessionScope
from persona_tui.services.training.draining import Say, drain, free_memory
from persona_tui.services.training.fitting import require_ram
from persona_tui.services.training.orders import locked_row, note_act
from persona_tui.services.training.plan import require_subject
from persona_tui.services.training.processes import STAGES, start_supervisor
from persona_tui.services.training.recipe import family_of
from persona_tui.services.training.run_folders import folder_of, move
from persona_tui.services.training.runs import TrainingView, get_training
from persona_tui.services.training.scorers import arcface_in
from persona_tui.settings import Settings

_MAY_START = ("planned", "queued", "paused", "stopped", "failed", "done")


@dataclass(frozen=True)
class Export:
    """A checkpoint that is made into a file.

    Attributes:
        step: None: the one that evaluations propose, else the last.
        weights: the average where the run has one (`ema`), or as they were at that step.
    """

    step: int | None = None
    weights: Literal["ema", "raw"] = "ema"


@dataclass(frozen=True)
class How:
    """How a training is started that has been before.

    Attributes:
        steps: another number of steps than planned; of a run that is done, to train on.
        folder: where the run's folder was moved to.
        export: train no further, and make this checkpoint into the LoRA's next version.
        cards: other cards than planned, as `cards.chosen_places` reads them; it keeps them.
    """

    steps: int | None = None
    folder: Path | None = None
    export: Export | None = None
    cards: str | None = None


@dataclass(frozen=True)
class Starter:
    """What a start needs from outside.

    Attributes:
        clients: of the ComfyUI servers, by address.
        stages: module whose stages are run.
    """

    scope: SessionScope
    settings: Settings
    clients: Callable[[], Mapping[str, ComfyUIClient]]
    cards: ReadCards = read_cards
    memory: ReadMemory = host_memory
    stages: str = STAGES

    @property
    def locks(self) -> Path:
        """Folder of the cards' lock files."""
        return self.settings.data_dir / "leases"


async def start_training(
    starter: Starter,
    run_id: int,
    say: Say = lambda _: None,
    *,
    accept_licence: bool = False,
    how: How = How(),
) -> TrainingView:
    """Begin a planned training, or go on with one that rests, failed or is done.

    Args:
        say: gets a sentence while something is waited for.
        accept_licence: the operator has read what `licences.unread` tells.

    Raises:
        UnknownName: no such training.
        NotAllowedNow: it runs, its card is taken or too full, the machine has too little memory left, its
            licence was not acknowledged, or nobody says who is in the dataset.
        InvalidRequest: its folder is gone, its recipe can't be used, or the consent is withdrawn.
        NotStarted, StorageError: no process, no room.
    """
    held, chosen = await to_thread(_admit, starter, run_id, accept_licence, how)
    try:
        if chosen[0].card is not None:
            clients = starter.clients()
            try:
                await drain(clients, say)
            finally:
                for client in clients.values():
                    await client.aclose()
        vram, ram = await to_thread(_planned, starter, run_id)
        if chosen[0].card is not None:
            for place in chosen:
                await require_free(starter, place, vram)
        # What was free when it was planned may be another program's by now.
        require_ram(ram, await to_thread(starter.memory))
        return await to_thread(_spawn, starter, run_id, held, chosen)
    except BaseException:
        await to_thread(_give_up, starter, held)
        raise


def is_alive(view: TrainingView, folder: RunFolder, held: Sequence[Lease]) -> bool:
    """Whether a training's supervisor lives, a stage of it, or who is just starting it.

    Args:
        held: the cards' leases that it has.
    """
    holders = (view.holder, *(one.holder for one in held))
    return any(lease.living(holder) is not None for holder in holders) or folder.is_locked()


def places_of(names: Sequence[str], cards: ReadCards) -> tuple[Place, ...]:
    """The cards that a run was planned for, on this machine.

    Raises:
        NotAllowedNow: one is another machine's, or was taken out.
    """
    here = places(cards())
    by_name = {place.name: place for place in here}
    missing = next((name for name in names if name not in by_name), None)
    if missing is None:
        return tuple(by_name[name] for name in names)
    raise NotAllowedNow(
        f"The training was planned for {missing}; here is {', '.join(place.title for place in here)}.",
        title="Another machine",
        hint="Start it there, choose other cards with --cards, or plan it anew here.",
    )


def _admit(
    starter: Starter, run_id: int, accept_licence: bool, how: How
) -> tuple[tuple[Lease, ...], tuple[Place, ...]]:
    """Whether it may begin; then its cards are held for it."""
    chosen = _places(starter, run_id, how.cards)
    with starter.scope() as session:
        row = locked_row(session, run_id)
        # One whose process was killed while nobody led still says that it runs.
        if row.status not in _MAY_START and _works(session, row):
            raise NotAllowedNow(
                f"Training {run_id} runs already.", hint="`persona-tui train status` shows it."
            )
        if row.status == "done" and how.steps is None and how.export is None:
            raise NotAllowedNow(
                f"Training {run_id} is done.", hint="Give it more steps with --steps to train on."
            )
        until = require_subject(session, session.get_one(Dataset, row.dataset_id))
        family = family_of(row.base_family)
        arcface = arcface_in(Path(row.folder) if how.folder is None else how.folder.expanduser())
        if accept_licence:
            licences.acknowledge(session, licences.unread(session, family, arcface))
        licences.require_acknowledged(session, family, arcface)
        if how.folder is not None:
            move(session, row, how.folder.expanduser().absolute())
        held = lease.take_all(session, chosen, "training", starter.locks, run_id=run_id, cards=starter.cards)
        require_shared(_require_folder(row, how).accumulation, len(chosen))
        folder_of(row).permit(None if until is None else until.timestamp())
        if row.predicted_ram is not None:
            row.predicted_ram = row.predicted_ram * len(chosen) // (1 + len(row.further_cards))
        row.card, *row.further_cards = [place.name for place in chosen]
    return held, chosen


def _works(session: Session, row: TrainingRun) -> bool:
    view = get_training(session, row.id)
    return is_alive(view, RunFolder(view.folder), lease.of_run(session, row.id))


def _places(starter: Starter, run_id: int, words: str | None) -> tuple[Place, ...]:
    """Where it was planned for, or what was named instead."""
    with starter.scope() as session:
        view = get_training(session, run_id)
    if words is None:
        return places_of(view.cards, starter.cards)
    chosen = chosen_places(words, places(starter.cards()))
    if (chosen[0].card is None) != view.card.endswith(f":{lease.CPU}"):
        raise NotAllowedNow(
            f"The training was planned for {view.card}, which takes another recipe than {chosen[0].title}.",
            title="Another machine",
            hint="Plan it anew here.",
        )
    return chosen


def _require_folder(row: TrainingRun, how: How) -> RunFile:
    """Read the recipe again, which the operator may have changed, and give the orders."""
    folder = folder_of(row)
    if folder.is_locked():
        raise NotAllowedNow(
            f"A process works in the folder of training {row.id} already.",
            hint="Wait for its end; `persona-tui train status` shows it.",
        )
    run = folder.run()
    if (run.dataset_hash, run.family) != (row.dataset_hash, row.base_family):
        # Consent and licence were asked for by what was planned.
        raise InvalidRequest(
            f"The recipe in {folder.path} is not that of training {row.id}: it names another dataset or base"
            " model.",
            hint="Put its own run.toml back, or plan a new training.",
        )
    if row.config_hash != run.hash():
        row.config, row.config_hash, row.seed = run.model_dump(mode="json"), run.hash(), run.seed
    if row.status == "done" and how.steps is not None and how.steps <= row.step:
        raise InvalidRequest(f"It has {row.step} steps already.", hint="Name more than that.")
    if how.export is not None:
        _choose(row, folder, how.export)
    elif row.status == "done":
        # What was chosen by hand was chosen of what there was.
        folder.note(status="encoded", exported=None, chosen=None)
    row.total_steps = folder.order("run", how.steps).steps or run.steps
    forget_chances(folder)
    return run


def _choose(row: TrainingRun, folder: RunFolder, export: Export) -> None:
    """Note which checkpoint is to become the file; the run counts as trained with it."""
    steps = [int(path.name.removeprefix("step-")) for path in folder.checkpoints.glob("step-*")]
    proposed = proposed_in(folder.manifest())
    best = proposed if proposed in steps else max(steps, default=0)
    step = best if export.step is None else export.step
    if step not in steps or step == 0:
        shown = ", ".join(map(str, sorted(steps))) or "none"
        raise InvalidRequest(
            f"Training {row.id} has no checkpoint of step {step}.", hint=f"There are: {shown}."
        )
    folder.note(status="done", exported=None, chosen={"step": step, "weights": export.weights})
    row.lora_model_id = None


async def require_free(starter: Starter, place: Place, needed: int) -> None:
    """See that a card has room for what was planned, now that servers let go of theirs.

    Raises:
        NotAllowedNow: it has not.
    """
    free = await free_memory(place, starter.cards, needed)
    if free >= needed:
        return
    (now,) = places_of((place.name,), starter.cards)
    others = [str(process.pid) for process in now.card.processes] if now.card is not None else []
    who = f" Processes on it: {', '.join(others)}." if others else ""
    raise NotAllowedNow(
        f"{place.title} has {free / GIB:.1f} GiB free; the training takes {needed / GIB:.1f}.{who}",
        title="Card is in use",
        hint="End what uses it, or plan the training with a stronger quantisation.",
    )


def _planned(starter: Starter, run_id: int) -> tuple[int, int]:
    """Bytes that it takes of each card and of the host's memory; 0 where the plan does not say."""
    with starter.scope() as session:
        view = get_training(session, run_id)
    return view.predicted_vram or 0, view.predicted_ram or 0


def _spawn(starter: Starter, run_id: int, held: Sequence[Lease], chosen: Sequence[Place]) -> TrainingView:
    """Say in the database that it runs, then start its process: killed between the two, it is found dead."""
    with starter.scope() as session:
        row = locked_row(session, run_id)
        first = chosen[0].card
        begin(session, row, used=0 if first is None else first.memory_used)
        note_act(session, row.persona_id, run_id, "training.start")
    spawn_for(starter, run_id, held, chosen)
    with starter.scope() as session:
        return get_training(session, run_id)


def begin(session: Session, row: TrainingRun, *, used: int) -> None:
    """Note that a process is being started for a run.

    Args:
        used: bytes of the first card that others hold.
    """
    row.status = "encoding" if row.started_at is None else "training"
    row.attempt += 1
    row.trouble = row.hint = ""
    row.pid = row.finished_at = None
    # By the machine's uptime, since clocks are set; the time of later plans goes by it.
    row.prediction = {**row.prediction, "used_before": used, "begun": since_boot()}
    if row.started_at is None:
        row.started_at = session.execute(text("SELECT persona_now()")).scalar_one()
    session.add(row)
    session.flush()


def spawn_for(starter: Starter, run_id: int, held: Sequence[Lease], chosen: Sequence[Place]) -> None:
    """Start the supervisor of a run and hand the cards over to it.

    Raises:
        NotStarted: no process could be started; the run has failed with that.
    """
    with starter.scope() as session:
        folder = get_training(session, run_id).folder
    try:
        locks = [lease.lock_file(starter.locks, one.card) for one in held]
        pid = start_supervisor(folder, locks, chosen, stages=starter.stages)
    except Exception as problem:
        with starter.scope() as session:
            row = locked_row(session, run_id)
            row.status, row.trouble, row.hint = (
                "failed",
                str(problem),
                "`persona-tui train resume` tries again.",
            )
            session.add(row)
        raise
    with starter.scope() as session:
        row = locked_row(session, run_id)
        _, row.boot_id, _, started = lease.process_id(pid).split(":")
        row.pid, row.pid_started = pid, int(started)
        session.add(row)
        for one in held:
            lease.hand_over(session, one, pid)
        events.emit(session, "training", run_id)


def _give_up(starter: Starter, held: Sequence[Lease]) -> None:
    with starter.scope() as session:
        for one in held:
            lease.release(session, one)
