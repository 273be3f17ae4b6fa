"""A run's log as it grows: losses, likeness, pace, and what happened. Only what is new is read."""

from __future__ import annotations

import json
import math
import os
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from persona_tui.gpu.training.folder import BY_SCORER
from persona_tui.services.training.curves import Point
from persona_tui.text import clean

HAPPENINGS = 500
"""Entries kept besides the steps, which are the curve."""
_RECENT = 50
"""Steps that the pace is taken from."""
_NO_FACTS = frozenset({"at", "event", "step", "traceback"})
_CHUNK = 8 * 1024 * 1024


@dataclass(frozen=True)
class Happening:
    """Something that the run's log tells besides its steps.

    Attributes:
        number: counts them; identity.
        at: when, by the trainer's clock; None where the log does not say.
        event: its kind, as the trainer calls it.
        words: the sentence, or the facts that it came with.
    """

    number: int
    at: datetime | None
    event: str
    step: int | None
    words: str


class GrowingLines:
    """The JSON objects that were appended to a file since the last look; for one thread at a time.

    A line without its end waits for the next look. A file that became shorter, or is another one, is read
    anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] | None = None
        self._offset = 0
        self._rest = b""

    def read_new(self) -> tuple[list[dict[str, Any]], bool]:
        """The new objects, and whether they are the first of another file than before.

        Raises:
            OSError: the file is there and can't be read.
        """
        try:
            with self._path.open("rb") as file:
                return self._read(file)
        except FileNotFoundError:
            return [], False

    def _read(self, file: Any) -> tuple[list[dict[str, Any]], bool]:
        state = os.fstat(file.fileno())
        known, self._file = self._file, (state.st_dev, state.st_ino)
        anew = known is not None and (known != self._file or state.st_size < self._offset)
        if anew:
            self._offset, self._rest = 0, b""
        file.seek(self._offset)
        found: list[dict[str, Any]] = []
        while data := file.read(_CHUNK):
            self._offset += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            found += [told for line in lines if (told := _object(line)) is not None]
        return found, anew


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


class RunLog:
    """What a run's log and evaluations have told so far.

    Attributes:
        happenings: the latest ones, the oldest first.
        encoded: pictures that are encoded, and how many there are; None before the first one.
        scorer: what the last evaluation measured likeness by; empty before one did.
        weak: that scorer goes by the whole figure, not by a face.
    """

    def __init__(self, log_file: Path, evaluation_file: Path) -> None:
        self._log = GrowingLines(log_file)
        self._evaluations = GrowingLines(evaluation_file)
        self.happenings: deque[Happening] = deque(maxlen=HAPPENINGS)
        self.scorer, self.weak = "", False
        self._by: dict[int, str] = {}
        self._forget()

    def _forget(self) -> None:
        self._losses: dict[int, float] = {}
        self._scores: dict[int, Mapping[str, float]] = {}
        self._taken: deque[tuple[float, float | None]] = deque(maxlen=_RECENT)
        self._held_out: tuple[tuple[float, float], ...] = ()
        self._count = 0
        self.encoded: tuple[int, int] | None = None
        self.happenings.clear()

    def read_new(self) -> bool:
        """Take in what was written since the last call; whether there was anything.

        Raises:
            OSError: a file is there and can't be read.
        """
        events, anew = self._log.read_new()
        if anew:
            self._forget()
        for event in events:
            self._hear(event)
        evaluated, _ = self._evaluations.read_new()
        for told in evaluated:
            self._judge(told)
        return bool(events or evaluated)

    def _hear(self, event: Mapping[str, Any]) -> None:
        match event:
            case {"event": "step", "step": int(step), "loss": int() | float() as loss}:
                # A step that was taken again after a kill counts as it went the last time.
                if math.isfinite(loss):
                    self._losses[step] = float(loss)
                self._pace(event)
                return
            case {"event": "encoded", "done": int(done), "of": int(of)}:
                self.encoded = done, of
                return
            case {"event": "rollback", "to": int(back)}:
                self._losses = {step: loss for step, loss in self._losses.items() if step <= back}
            case {"event": "began"}:
                self._taken.clear()
        self._note(event)

    def _pace(self, event: Mapping[str, Any]) -> None:
        seconds = event.get("seconds")
        if isinstance(seconds, int | float) and math.isfinite(seconds) and seconds >= 0:
            up = event.get("up")
            self._taken.append((float(seconds), float(up) if isinstance(up, int | float) else None))

    def _note(self, event: Mapping[str, Any]) -> None:
        self._count += 1
        step = event.get("step")
        kind = clean(str(event.get("event", "")), keep_lines=False)
        self.happenings.append(
            Happening(
                self._count,
                _moment(event.get("at")),
                kind,
                step if isinstance(step, int) else None,
                _words(event),
            )
        )

    def _judge(self, told: Mapping[str, Any]) -> None:
        step = told.get("step")
        if isinstance(step, int):
            before = self._scores.get(step, {})
            self._scores[step] = {**before, **dict(_numbers(told))}
            if told.get("scorer"):
                self.scorer = self._by[step] = clean(str(told["scorer"]), keep_lines=False)
                self.weak = told.get("weak") is True
            self._held_out = by_noise(told) or self._held_out

    @property
    def held_out(self) -> tuple[tuple[float, float], ...]:
        """The last look's noise levels with the loss on held-out pictures at each, the lowest level first."""
        return self._held_out

    @property
    def losses(self) -> tuple[Point, ...]:
        """The loss of each step."""
        return tuple(Point(step, self._losses[step]) for step in sorted(self._losses))

    def scores(self, name: str) -> tuple[Point, ...]:
        """What the evaluations found under this name, such as `likeness`; by one scorer where it matters."""
        return tuple(
            Point(step, told[name])
            for step, told in sorted(self._scores.items())
            if name in told and (name not in BY_SCORER or self._by.get(step, "") in ("", self.scorer))
        )

    @property
    def seconds_per_step(self) -> float | None:
        """The median of the last steps; None before the first one."""
        return median(seconds for seconds, _ in self._taken) if self._taken else None

    def seconds_left(self, steps: int) -> float | None:
        """Until that many more steps are taken, evaluations and checkpoints between them counted in."""
        if not self._taken or self.seconds_per_step is None:
            return None
        first, last = self._taken[0][1], self._taken[-1][1]
        passed = len(self._taken) - 1
        # By the machine's uptime, which nobody sets; one that was restarted between them tells nonsense.
        by_uptime = (last - first) / passed if passed and first is not None and last is not None else 0.0
        return steps * max(by_uptime, self.seconds_per_step)


def by_noise(told: Mapping[str, Any]) -> tuple[tuple[float, float], ...]:
    """An evaluation's noise levels with the loss on held-out pictures at each; empty without such."""
    losses = told.get("loss")
    if not isinstance(losses, Mapping):
        return ()
    with suppress(TypeError, ValueError):
        return tuple(sorted((float(sigma), float(loss)) for sigma, loss in losses.items()))
    return ()


def _numbers(told: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in told.items():
        if isinstance(value, Mapping) and not prefix:
            found += _numbers(value, name)
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            found.append((str(name), float(value)))
    return found


def _moment(written: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(written))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _words(event: Mapping[str, Any]) -> str:
    """An event's sentence; where it has none, its facts."""
    told = [str(event[name]) for name in ("message", "hint") if event.get(name)]
    reasons = event.get("reasons")
    if isinstance(reasons, list):
        told += [str(reason) for reason in reasons]
    match event:
        case {"event": "proposed", "by": str(by)}:
            alike = f"; not surely worse: {_listed(event['alike'])}" if event.get("alike") else ""
            told = [f"by {by}{alike}"]
    if not told:
        facts = {name: value for name, value in event.items() if value not in ("", {}, [], None)}
        told = [", ".join(_fact(name, value) for name, value in facts.items() if name not in _NO_FACTS)]
    return clean("  ".join(told), keep_lines=False)


def _fact(name: str, value: Any) -> str:
    """`held-out loss 1.51`: three figures are enough to read."""
    if name == "passed" and isinstance(value, int | float):
        return f"recognised {value:.0%}"
    words = f"{value:.3g}" if isinstance(value, float) else _listed(value)
    return f"{name.replace('_', ' ')} {words}"


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
