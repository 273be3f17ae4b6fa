"""Training from the last checkpoint to the last step, under orders, kills, full disks and bad numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from persona_tui import boundaries
from persona_tui.errors import InvalidRequest, PersonaError
from persona_tui.gpu.training import checkpoints, rollback
from persona_tui.gpu.training.cache import Cache
from persona_tui.gpu.training.cards import number_of
from persona_tui.gpu.training.checkpoints import Kept, State
from persona_tui.gpu.training.folder import RunFolder, Status
from persona_tui.gpu.training.memory import note_peak, peak, together
from persona_tui.gpu.training.pace import Pace, Surroundings
from persona_tui.gpu.training.pulse import since_boot
from persona_tui.gpu.training.trainee import Taken, Trainee
from persona_tui.gpu.training.worker import Interrupted, Parted, Worker

Evaluate = Callable[[Trainee, State], None]
"""Looks at a trainee between two steps; may change `state.best`, nothing else."""


def train(worker: Worker, evaluate: Evaluate | None = None) -> Status:
    """Train a run that has been encoded.

    Raises:
        InvalidRequest: recipe, cache or base model can't be used.
        Interrupted: the operator wants it to rest; a checkpoint was written.
        rollback.Diverged: going back did not help.
    """
    folder = worker.folder
    run = folder.run()
    cache = Cache(folder.cache)
    trainee = Trainee(run, cache.index(run), cache)
    try:
        became = Training(worker, trainee, evaluate).to_the_end()
    except (Interrupted, PersonaError):
        # Between two steps the others wait for a word; in the midst of one they end with this one.
        with suppress(Parted):  # they may have met with the same, and be gone
            trainee.cards.told({"do": "end"})
        raise
    trainee.cards.told({"do": "end"})
    return became


def follow(folder: RunFolder) -> int:
    """Take this card's share of each step that the first process takes, until it ends.

    Returns:
        The process's exit code.
    """
    run = folder.run()
    cache = Cache(folder.cache)
    trainee = Trainee(run, cache.index(run), cache)
    while True:
        match trainee.cards.told():
            case {"do": "restore", "step": step}:
                trainee.restore(
                    checkpoints.read(checkpoints.path_of(folder.checkpoints, step), run.learning_hash())
                )
            case {"do": "step", "step": step, "recent": recent, "interventions": told}:
                known = [rollback.Intervention(**one) for one in told]
                # A failure is the same everywhere; the first process says what follows from it.
                with suppress(rollback.Failure):
                    trainee.take(step, State(recent=recent, interventions=known))
            case {"do": "peak"}:
                trainee.cards.gathered(peak(trainee.device))
            case _:
                return 0


class Training:
    """One process's part of a run."""

    def __init__(self, worker: Worker, trainee: Trainee, evaluate: Evaluate | None) -> None:
        self._worker = worker
        self._folder = worker.folder
        self._trainee = trainee
        self._run = trainee.run
        self._evaluate = evaluate
        self._made_with = checkpoints.made_with(self._run, trainee.device, trainee.cards.count)
        self._pace = Pace(Surroundings(number_of(trainee.device)).reasons)
        self._state = State()
        self._saved: int | None = None
        self._largest = 0

    def to_the_end(self) -> Status:
        """Go on from the newest checkpoint.

        Raises:
            Interrupted, rollback.Diverged, InvalidRequest: as `train`.
        """
        self._begin()
        if self._state.step == 0:
            self._look(0)
        while True:
            control = self._worker.control()
            if control.want != "run":
                # At the last step, too: what is done would be exported.
                self._save()
                raise Interrupted("paused" if control.want == "pause" else "stopped")
            if self._state.step >= (control.steps or self._run.steps):
                self._evaluated(self._state.step)
                self._save()
                # More steps may have been asked for while it was looked at, which takes minutes.
                if self._state.step >= (self._worker.control().steps or self._run.steps):
                    return "done"
                continue
            try:
                self._step()
            except rollback.Failure as failure:
                self._go_back(failure)

    def _begin(self) -> None:
        """Restore the newest checkpoint, or write the one of step 0, which rollbacks may need."""
        kept = self._newest()
        if kept is None:
            self._state = State(optimizer=self._trainee.optimizer_name)
            self._know_interventions()
            if self._trainee.optimizer_name != self._run.optimizer:
                said = f"{self._run.optimizer} is not installed here; {self._trainee.optimizer_name} is used."
                self._worker.log("note", message=said)
            self._save()
            return
        if kept.state.optimizer != self._trainee.optimizer_name:
            raise InvalidRequest(
                f"The run was begun with {kept.state.optimizer}, which is not installed here.",
                hint='Install it with `pip install "persona-tui[gpu]"` and resume the run.',
            )
        self._restore(kept)
        different = {
            name: [was, self._made_with.get(name)]
            for name, was in kept.made_with.items()
            if was != self._made_with.get(name)
        }
        self._worker.log("resumed", step=self._state.step, different=different)

    def _newest(self) -> Kept | None:
        folder = self._folder.checkpoints
        return checkpoints.newest(folder, self._run, lambda said: self._worker.log("broken", message=said))

    def _restore(self, kept: Kept) -> None:
        self._trainee.cards.told({"do": "restore", "step": kept.state.step})
        self._trainee.restore(kept)
        self._state = kept.state
        self._saved = kept.state.step
        self._know_interventions()

    def _know_interventions(self) -> None:
        """The run's manifest knows those that came after the checkpoint, too."""
        told = self._folder.manifest().get("interventions", [])
        self._state.interventions = [rollback.Intervention(**one) for one in told]

    def _step(self) -> None:
        step = self._state.step + 1
        boundaries.reached("training:step:before")
        known = [one.as_json() for one in self._state.interventions]
        told = {"do": "step", "step": step, "recent": self._state.recent, "interventions": known}
        self._trainee.cards.told(told)
        begun = time.perf_counter()
        taken = self._trainee.take(step, self._state)
        seconds = time.perf_counter() - begun
        self._state.step = step
        phase = self._run.phase_at(step)
        self._state.phase = "" if phase is None else phase.name
        self._worker.pulse.moved(step, "training")
        if taken is None:
            self._worker.log("skipped", step=step)
        else:
            self._state.recent = rollback.remembered(self._state.recent, taken.loss)
            self._tell(step, taken, seconds)
        boundaries.reached("training:step:after")
        self._look(step)

    def _tell(self, step: int, taken: Taken, seconds: float) -> None:
        self._worker.log(
            "step",
            step=step,
            loss=taken.loss,
            **({} if taken.preservation is None else {"preservation": taken.preservation}),
            norm=taken.norm,
            lr=taken.rate,
            seconds=round(seconds, 4),
            bucket=list(taken.bucket),
            # Seconds since boot, by which the time left is told: nobody sets that clock.
            up=round(since_boot(), 3),
        )
        self._largest = max(self._largest, taken.side)
        slow = self._pace.took(taken.bucket, seconds)
        if slow is not None:
            self._worker.log("slow", step=step, **slow)

    def _look(self, step: int) -> None:
        """Evaluate and save where it is due, in this order, so that a checkpoint knows its score."""
        if self._run.evaluate_every and step % self._run.evaluate_every == 0:
            self._evaluated(step)
        if step % self._run.checkpoint_every == 0:
            self._save()

    def _evaluated(self, step: int) -> None:
        """Evaluate the step, where the run is evaluated at all; the evaluator knows whether there is time."""
        if self._evaluate is None or not self._run.evaluate_every:
            return
        self._worker.pulse.moved(step, "evaluating")
        boundaries.reached("training:evaluate:before")
        self._evaluate(self._trainee, self._state)
        boundaries.reached("training:evaluate:after")
        self._worker.pulse.moved(step, "training")

    def _save(self) -> None:
        """Write a checkpoint of the step, once; a full disk is waited out."""
        state, trainee = self._state, self._trainee
        if self._saved == state.step:
            return
        average = None if trainee.average is None else trainee.average.weights()
        lora, optimizer = trainee.lora(), trainee.optimizer.state_dict()
        folder = self._folder.checkpoints
        self._worker.insist(
            lambda: checkpoints.write(folder, self._run, state, lora, average, optimizer, self._made_with)
        )
        self._saved = state.step
        self._note_peaks()
        checkpoints.prune(folder, state.best, self._run.keep)
        self._worker.log("checkpoint", step=state.step)

    def _note_peaks(self) -> None:
        """Keep what each card's process has held at its peak; the largest is what a plan is held against."""
        self._trainee.cards.told({"do": "peak"})
        each = self._trainee.cards.gathered(peak(self._trainee.device, self._largest))
        self._worker.insist(lambda: note_peak(self._folder, "train", together(each)))

    def _go_back(self, failure: rollback.Failure) -> None:
        """Load the newest checkpoint, and change the steps up to the one that failed.

        Raises:
            rollback.Diverged: that was tried before.
        """
        step = self._state.step + 1
        kept = self._newest()
        assert kept is not None, "the checkpoint of step 0 is written before the first step"
        new = rollback.decided(failure, step, kept.state.step, self._state.interventions)
        told = [one.as_json() for one in (*self._state.interventions, new)]
        self._worker.insist(lambda: self._folder.note(interventions=told))
        boundaries.reached("training:rollback:noted")
        self._worker.log("rollback", step=step, to=kept.state.step, action=new.action, message=new.reason)
        self._restore(kept)
