"""Looking at a run through its folder: what the trainer last said, how it gets on, whether it lives."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training.folder import Control, RunFolder, Want
from persona_tui.gpu.training.memory import noted_peak
from persona_tui.gpu.training.pulse import WAITS_FOR_SPACE
from persona_tui.gpu.training.run_file import RunFile
from persona_tui.services.training.attach import alike_in, proposed_in
from persona_tui.services.training.curves import Point
from persona_tui.services.training.run_log import Happening, RunLog
from persona_tui.services.training.samples import Captions, Sample, captions_of, samples_in
from persona_tui.text import clean

ACTIVE = frozenset({"encoding", "training", "exporting"})
"""What a run is at while a process works on it."""
SILENT_AFTER = 10.0
"""Seconds without a heartbeat after which a run whose folder no process holds counts as dead."""
_NO_FACE = "no face"
"""As `gpu.likeness` names this outcome; importing it costs too much for a look."""
_RESTS: Mapping[Want, str] = {"pause": "paused", "stop": "stopped"}
Sign = Literal["alive", "silent", "resting", "gone"]


@dataclass(frozen=True)
class RunLook:
    """A run at one moment, as its folder tells it.

    Attributes:
        sign: `alive`: a process works on it; `silent`: one should and none does; `resting`: none is to;
            `gone`: the folder is not there, and the rest is what was known before.
        status: what the trainer last said of itself.
        doing: what its process is at, such as "evaluating".
        pid: of that process.
        steps: how many there are to be; None where the recipe can't be read.
        encoded: pictures that are encoded, and how many there are; None before the first one.
        wanted: what the operator asked for.
        message, hint: why it failed or waits.
        seconds_left: until the last step; None while nobody knows, or it waits for space.
        threshold: likeness from which on a sample counts as the persona's, at each look.
        calibrated_on: pairs that it was found from; 0: it is a usual one.
        passed: share of the samples that count.
        scorer: what the last look measured likeness by; empty before one did.
        weak: that scorer goes by the whole figure, not by a face.
        exported: what the manifest tells of the file that was made; empty before there is one.
        faceless: samples that show no face, at each look that had such.
        proposed: step of the checkpoint that evaluations think best; None before they do.
        alike: other steps that may be as good: their samples are not surely less like the persona.
        held_out: noise levels of the last look with the loss on held-out pictures at each.
        peaks: bytes that each card's process has held at most, where several train together.
    """

    sign: Sign
    status: str = "planned"
    doing: str = ""
    pid: int | None = None
    step: int = 0
    steps: int | None = None
    encoded: tuple[int, int] | None = None
    wanted: Control = field(default_factory=Control)
    message: str = ""
    hint: str = ""
    seconds_per_step: float | None = None
    seconds_left: float | None = None
    losses: tuple[Point, ...] = ()
    likeness: tuple[Point, ...] = ()
    threshold: tuple[Point, ...] = ()
    calibrated_on: tuple[Point, ...] = ()
    passed: tuple[Point, ...] = ()
    scorer: str = ""
    weak: bool = False
    exported: Mapping[str, Any] = field(default_factory=dict)
    faceless: tuple[Point, ...] = ()
    validation: tuple[Point, ...] = ()
    happenings: tuple[Happening, ...] = ()
    samples: tuple[Sample, ...] = ()
    proposed: int | None = None
    alike: tuple[int, ...] = ()
    held_out: tuple[tuple[float, float], ...] = ()
    peaks: tuple[int, ...] = ()


class RunFollower:
    """Looks at one run again and again, and reads only what is new. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = RunFolder(path)
        self._log = RunLog(self._folder.log_file, self._folder.evaluation_file)
        self._recipe: RunFile | None = None
        self._known_captions: Captions | None = None
        self._last = RunLook("gone")
        self._read = False

    def look(self) -> RunLook:
        """The run now; what can't be read stays as it was. Reads files, so call it in a thread."""
        try:
            gone = not self.path.is_dir()
            new = not gone and self._log.read_new()
        except OSError:
            gone, new = True, False
        if gone:
            self._last = replace(self._last, sign="gone", doing="", pid=None, seconds_left=None, samples=())
            return self._last
        self._last = self._looked(anew=new or not self._read)
        self._read = True
        return self._last

    def _looked(self, *, anew: bool) -> RunLook:
        folder, log, last = self._folder, self._log, self._last
        manifest, beat, wanted = folder.manifest(), folder.heartbeat(), folder.control()
        status = str(manifest.get("status", "planned"))
        alive = folder.is_locked() or (beat is not None and status in ACTIVE and beat.age() < SILENT_AFTER)
        if not alive and status in ACTIVE:
            # It came to rest on a full disk, where it could not write that it did.
            status = _RESTS.get(wanted.want, status)
        losses = log.losses if anew else last.losses
        # A process that only begins has taken no step yet; the curve tells what those before it took.
        step = (beat.step if beat is not None else 0) or (losses[-1].step if losses else 0)
        doing = clean(beat.doing, keep_lines=False) if alive and beat is not None else ""
        peak = noted_peak(folder, "train")
        steps = wanted.steps or self._steps()
        waits = doing == WAITS_FOR_SPACE
        left = None if steps is None or waits else log.seconds_left(max(steps - step, 0))
        return RunLook(
            sign="alive" if alive else "silent" if status in ACTIVE else "resting",
            status=status,
            doing=doing,
            pid=beat.pid if alive and beat is not None else None,
            step=step,
            steps=steps,
            encoded=log.encoded,
            wanted=wanted,
            message=clean(str(manifest.get("message", "")), keep_lines=False),
            hint=clean(str(manifest.get("hint", "")), keep_lines=False),
            seconds_per_step=log.seconds_per_step,
            seconds_left=left,
            losses=losses,
            likeness=log.scores("likeness") if anew else last.likeness,
            threshold=log.scores("threshold") if anew else last.threshold,
            calibrated_on=log.scores("calibrated_on") if anew else last.calibrated_on,
            passed=log.scores("passed") if anew else last.passed,
            scorer=log.scorer,
            weak=log.weak,
            exported=manifest.get("exported") or {},
            faceless=log.scores(_NO_FACE) if anew else last.faceless,
            validation=log.scores("validation_loss") if anew else last.validation,
            happenings=tuple(log.happenings) if anew else last.happenings,
            samples=samples_in(folder.samples, self._captions()),
            proposed=proposed_in(manifest),
            alike=alike_in(manifest),
            held_out=log.held_out,
            peaks=() if peak is None else peak.each,
        )

    def _steps(self) -> int | None:
        recipe = self._known_recipe()
        return None if recipe is None else recipe.steps

    def _known_recipe(self) -> RunFile | None:
        """It never changes, so it is read once."""
        if self._recipe is None:
            with suppress(InvalidRequest):
                self._recipe = self._folder.run()
        return self._recipe

    def _captions(self) -> Captions:
        """Of the dataset's pictures, whose captions are what samples are drawn of; read once, too."""
        recipe = self._known_recipe()
        if self._known_captions is None and recipe is not None:
            self._known_captions = captions_of(recipe)
        return self._known_captions or {}
