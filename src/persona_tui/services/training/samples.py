"""Sample pictures of a run: the same prompts and seeds, step after step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from persona_tui.text import clean

_STEP = re.compile(r"step-(\d{1,9})")
_ASKED = re.compile(r"([a-z]+)-([0-9a-f]+)-seed(\d+)-at([\d.]+)")
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp"})


@dataclass(frozen=True)
class Sample:
    """One picture.

    Attributes:
        subject: what is pictured; the same for the same prompt, seed and strength at every step.
        made_ns: when its file was written; with the path it names these very bytes.
    """

    step: int
    subject: str
    path: Path
    made_ns: int

    @property
    def words(self) -> str:
        """The subject for people: `trigger 49af, seed 1, × 0.6` of what an evaluation asked for."""
        asked = _ASKED.fullmatch(self.subject)
        if asked is None:
            return self.subject
        kind, picture, seed, strength = asked.groups()
        return f"{kind} {picture[:4]}, seed {seed}" + ("" if strength == "1" else f", × {strength}")


def samples_in(folder: Path) -> tuple[Sample, ...]:
    """The pictures in a run's folder of samples, by step and subject.

    The step stands in a name, as in `step-250/portrait-1.png`; what remains of the name is the subject.
    Nothing where the folder is gone.
    """
    return tuple(sorted(_found(folder), key=lambda one: (one.step, one.subject)))


def _found(folder: Path) -> Iterator[Sample]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder).with_suffix("").as_posix()
        step = _STEP.search(name)
        if step is None or path.suffix.lower() not in _PICTURES or path.name.startswith("."):
            continue
        subject = clean((name[: step.start()] + name[step.end() :]).strip("/-_ "), keep_lines=False)
        try:
            yield Sample(int(step[1]), subject, path, path.stat().st_mtime_ns)
        except OSError:  # it was pruned meanwhile
            continue
