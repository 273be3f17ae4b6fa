"""Sample pictures of a run: the same prompts and seeds, step after step."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training.manifest import read_manifest
from persona_tui.gpu.training.run_file import RunFile
from persona_tui.text import clean

_STEP = re.compile(r"step-(\d{1,9})")
_ASKED = re.compile(r"([a-z]+)-([0-9a-f]+)-seed(\d+)-at([\d.]+)")
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp"})


Captions = Mapping[str, str]
"""What sample pictures are drawn of: first eight figures of a picture's SHA-256 → its caption without the
trigger word."""


@dataclass(frozen=True)
class Sample:
    """One picture.

    Attributes:
        subject: what is pictured; the same for the same prompt, seed and strength at every step.
        made_ns: when its file was written; with the path it names these very bytes.
        words: the subject for people: `at a window, seed 1, × 0.6` of what an evaluation asked for.
        rank: sorts subjects: at strength 1 first, then without the trigger word, then at other strengths.
    """

    step: int
    subject: str
    path: Path
    made_ns: int
    words: str
    rank: tuple[int, str]


def captions_of(recipe: RunFile) -> Captions:
    """The captions of a recipe's dataset; none where it can't be read any more."""
    try:
        manifest, _ = read_manifest(recipe.dataset)
    except InvalidRequest:
        return {}
    return {one.sha256[:8]: _without(one.caption, recipe.trigger) for one in manifest.pictures}


def _without(caption: str, trigger: str) -> str:
    """A caption without the word that all have in common."""
    return clean(caption.replace(trigger, "…") if trigger else caption, keep_lines=False).removeprefix("… ")


def samples_in(folder: Path, captions: Captions | None = None) -> tuple[Sample, ...]:
    """The pictures in a run's folder of samples, by step and rank.

    The step stands in a name, as in `step-250/portrait-1.png`; what remains of the name is the subject.
    Nothing where the folder is gone.
    """
    return tuple(sorted(_found(folder, captions or {}), key=lambda one: (one.step, one.rank)))


def _told(subject: str, captions: Captions) -> tuple[str, tuple[int, str]]:
    """A subject's words and rank."""
    asked = _ASKED.fullmatch(subject)
    if asked is None:
        return subject, (0, subject)
    kind, picture, seed, strength = asked.groups()
    of = captions.get(picture) or f"picture {picture[:4]}"
    words = of if kind == "trigger" else f"no trigger word: {of}"
    rank = (1 if kind != "trigger" else 0 if strength == "1" else 2, subject)
    return f"{words}, seed {seed}" + ("" if strength == "1" else f", × {strength}"), rank


def _found(folder: Path, captions: Captions) -> Iterator[Sample]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder).with_suffix("").as_posix()
        step = _STEP.search(name)
        if step is None or path.suffix.lower() not in _PICTURES or path.name.startswith("."):
            continue
        subject = clean((name[: step.start()] + name[step.end() :]).strip("/-_ "), keep_lines=False)
        try:
            yield Sample(int(step[1]), subject, path, path.stat().st_mtime_ns, *_told(subject, captions))
        except OSError:  # it was pruned meanwhile
            continue
