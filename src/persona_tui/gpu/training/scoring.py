"""What a step's sample pictures are worth: by faces, by CLIP; in a process of its own, away from the card.

`python -m persona_tui.gpu.training.scoring RUN_FOLDER STEP` prints them as JSON. The run's manifest may say
`"scorer": {"arcface": "model.onnx", "detector": "hog", "whole": ["clip", "weights"], "dino": "folder",
"drawn": false, "others": ["picture.png"]}`; others are pictures of other drawn characters.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from persona_tui.errors import PersonaError
from persona_tui.gpu import embedding, faces
from persona_tui.gpu.calibration import Pair, Reference, Threshold, calibrated, pairs_of
from persona_tui.gpu.likeness import Choice, Scorer, Seen, Vector, cosine, vectors_of
from persona_tui.gpu.pictures import opened
from persona_tui.gpu.training.durable import write_durably
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.manifest import Manifest, read_manifest
from persona_tui.gpu.training.others import keep_others, others_of

SAMPLES = "samples.json"
_NOBODY = (
    "No face is seen on the held-out pictures, so likeness can't be measured. If the character is drawn, say "
    "`dataset subject PERSONA NAME --drawn` before the next plan."
)
_PATIENCE = 600.0
"""Seconds that scoring may take."""


@dataclass(frozen=True)
class SamplePicture:
    """A picture that a run drew of a prompt.

    Attributes:
        kind: `trigger`, or `class` where the prompt does not name the subject.
        picture: SHA-256 of the dataset's picture whose caption was the prompt.
    """

    file: str
    kind: str
    picture: str
    seed: int
    strength: float = 1.0


@dataclass(frozen=True)
class Scores:
    """What was found of one step's pictures.

    Attributes:
        figures: as `choosing.Evaluation` names them; one that can't be had is missing.
        by_strength: likeness at other strengths than 1.
        outcomes: how many pictures showed somebody, nobody, or a face too small.
        threshold: likeness from which on a picture counts as the persona's; None where none is known.
        calibrated_on: pairs of the dataset's own references and of these with other people behind it;
            0: it is what the model's makers advise.
        each: prompt and seed → likeness, of the trigger's pictures at strength 1 that show a face.
        passed: share of the trigger's pictures at strength 1 that count; one without a face does not. None
            without a threshold.
        problem: why there are none; empty else.
    """

    figures: Mapping[str, float] = field(default_factory=dict)
    by_strength: Mapping[str, float] = field(default_factory=dict)
    scorer: str = ""
    weak: bool = False
    outcomes: Mapping[str, int] = field(default_factory=dict)
    threshold: float | None = None
    calibrated_on: int = 0
    passed: float | None = None
    each: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""


def place_of(folder: RunFolder, step: int) -> Path:
    """Where a step's sample pictures lie."""
    return folder.samples / f"step-{step}"


def samples_at(folder: RunFolder, step: int) -> list[SamplePicture]:
    """The pictures that a run drew at a step."""
    told = json.loads((place_of(folder, step) / SAMPLES).read_text("utf-8"))
    return [SamplePicture(**one) for one in told]


def choice_of(folder: RunFolder) -> Choice:
    """Which scorer the run's manifest asks for."""
    told = folder.manifest().get("scorer") or {}
    whole = told.get("whole")
    return Choice(
        arcface=Path(told["arcface"]) if told.get("arcface") else None,
        detector=told.get("detector", "hog"),
        whole=None if whole is None else embedding.Weights(whole[0], Path(whole[1])),
        dino=Path(told["dino"]) if told.get("dino") else None,
        drawn=bool(told.get("drawn", False)),
    )


def scored_apart(folder: RunFolder, step: int) -> Scores:
    """Score a step's pictures in a process that sees no card; what goes wrong there is told, never raised."""
    choice = choice_of(folder)
    known = (choice.whole, choice.arcface, choice.dino)
    if all(one is None for one in known) and not faces.is_installed():
        return Scores(problem="Nothing can score pictures here: pip install 'persona-tui[faces]'.")
    command = [sys.executable, "-m", __name__, str(folder.path), str(step)]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(command, env=hidden, capture_output=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return Scores(problem=f"Scoring took longer than {_PATIENCE:.0f} s and was given up.")
    except OSError as problem:
        return Scores(problem=f"Scoring could not begin: {problem.strerror}.")
    try:
        return Scores(**json.loads(done.stdout))
    except (ValueError, TypeError):
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return Scores(problem=f"Scoring failed: {said[:300] or done.returncode}.")


def scored(folder: RunFolder, step: int) -> Scores:
    """Score a step's pictures in this process.

    Raises:
        InvalidRequest: dataset, or what is to score, can't be used.
    """
    run, choice = folder.run(), choice_of(folder)
    manifest, _ = read_manifest(run.dataset)
    samples = samples_at(folder, step)
    shown = [opened(place_of(folder, step) / one.file) for one in samples]
    figures: dict[str, float] = {}
    if choice.whole is not None:
        vectors = vectors_of(choice.whole, shown)
        figures |= _of_wholes(choice.whole, manifest, samples, vectors)
    scorer = choice.scorer
    if scorer is None:
        return Scores(figures, problem="Faces can't be told apart here: pip install 'persona-tui[faces]'.")
    seen = [scorer.see(picture) for picture in shown]
    held_out = _references(folder, manifest, scorer, ("held_out",))
    learnt = _references(folder, manifest, scorer, ("train", "anchor"))
    likeness = [_mean_likeness(scorer, one, held_out) for one in seen]
    figures |= _of_faces(scorer, samples, seen, held_out, learnt)
    others = sorted({one.strength for one in samples} - {1.0})
    by_strength = {
        f"{strength:g}": mean
        for strength in others
        if (
            mean := _mean(
                like for one, like in zip(samples, likeness, strict=True) if one.strength == strength
            )
        )
        is not None
    }
    threshold = _threshold(folder, scorer, [*held_out, *learnt])
    asked_for = {
        f"{one.picture[:12]}-{one.seed}": like
        for one, like in zip(samples, likeness, strict=True)
        if one.kind == "trigger" and one.strength == 1
    }
    return Scores(
        figures,
        by_strength,
        scorer.name,
        scorer.weak,
        dict(Counter(one.outcome for one in seen)),
        None if threshold is None else threshold.least,
        _pairs_behind(threshold),
        None if threshold is None else _share_from(threshold.least, list(asked_for.values())),
        {name: like for name, like in asked_for.items() if like is not None},
        "" if held_out or scorer.weak or not _held_out(manifest) else _NOBODY,
    )


def _pairs_behind(threshold: Threshold | None) -> int:
    if threshold is None or not threshold.calibrated:
        return 0
    return sum(spread.pairs for spread in (threshold.same, threshold.other) if spread is not None)


def _share_from(least: float, likeness: Sequence[float | None]) -> float | None:
    """Share of pictures that are at least so much alike; None without pictures."""
    passed = [like is not None and like >= least for like in likeness]
    return sum(passed) / len(passed) if passed else None


def _threshold(folder: RunFolder, scorer: Scorer, references: Sequence[Vector]) -> Threshold | None:
    """From which likeness on a picture counts as the persona's, by its references and by other people."""
    known = [Reference("subject", f"subject {number}", vector) for number, vector in enumerate(references)]
    pairs = pairs_of(known, scorer.likeness)
    for number, vector in enumerate(_others(folder, scorer)):
        other = Reference("other", f"other {number}", vector)
        pairs += [Pair(one, other, scorer.likeness(one.vector, vector)) for one in known]
    return calibrated(pairs, scorer.usual)


def _others(folder: RunFolder, scorer: Scorer) -> list[Vector]:
    """Vectors of other people, or of the other characters whose pictures are named; looked at once."""
    kept = others_of(folder, scorer.name)
    named = (folder.manifest().get("scorer") or {}).get("others", [])
    if kept or not named:
        return kept
    found = []
    for path in named:
        # A dataset may have been moved or thinned out since.
        with suppress(OSError, ValueError, SyntaxError):
            found.append(scorer.see(opened(Path(path))).vector)
    vectors = [vector for vector in found if vector is not None]
    keep_others(folder, scorer.name, [[float(number) for number in vector] for vector in vectors])
    return vectors


def _of_faces(
    scorer: Scorer,
    samples: Sequence[SamplePicture],
    seen: Sequence[Seen],
    held_out: Sequence[Vector],
    learnt: Sequence[Vector],
) -> dict[str, float]:
    """Likeness, likeness to the nearest training picture, copy-paste gap and class leakage."""

    def of(kind: str) -> list[Vector]:
        told = zip(samples, seen, strict=True)
        return [
            look.vector
            for one, look in told
            if one.kind == kind and one.strength == 1 and look.vector is not None
        ]

    def nearest(vector: Vector, references: Sequence[Vector]) -> float:
        return max(scorer.likeness(vector, one) for one in references)

    drawn = of("trigger")
    found: dict[str, float | None] = {}
    if held_out:
        found["likeness"] = _mean(_mean_likeness(scorer, Seen("seen", one), held_out) for one in drawn)
        found["leakage"] = _mean(_mean_likeness(scorer, Seen("seen", one), held_out) for one in of("class"))
    if learnt:
        found["training_likeness"] = _mean(nearest(one, learnt) for one in drawn)
    if learnt and held_out:
        found["gap"] = _mean(nearest(one, learnt) - nearest(one, held_out) for one in drawn)
    return {name: value for name, value in found.items() if value is not None}


def _of_wholes(
    weights: embedding.Weights,
    manifest: Manifest,
    samples: Sequence[SamplePicture],
    vectors: Sequence[Vector],
) -> dict[str, float]:
    """Diversity, and prompt following where the model knows words."""
    captions = {picture.sha256: picture.caption for picture in manifest.pictures}
    by_prompt: dict[str, list[Vector]] = {}
    for one, vector in zip(samples, vectors, strict=True):
        if one.kind == "trigger" and one.strength == 1:
            by_prompt.setdefault(one.picture, []).append(vector)
    apart = [1 - cosine(a, b) for group in by_prompt.values() for a, b in combinations(group, 2)]
    found = {"diversity": float(np.mean(apart))} if apart else {}
    if weights.kind == "clip" and by_prompt:
        words = embedding.embed_words(weights, [captions.get(picture, "") for picture in by_prompt])
        follows = [
            cosine(word, one) for word, group in zip(words, by_prompt.values(), strict=True) for one in group
        ]
        found["prompt"] = float(np.mean(follows))
    return found


def _references(
    folder: RunFolder, manifest: Manifest, scorer: Scorer, roles: tuple[str, ...]
) -> list[Vector]:
    """Vectors of the dataset's pictures of these roles in whom somebody is seen; kept in the run's cache."""
    file = folder.cache / "references.json"
    try:
        kept: dict[str, dict[str, list[float] | None]] = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        kept = {}
    known = kept.setdefault(scorer.name, {})
    pictures = [picture for picture in manifest.pictures if picture.role in roles]
    new = [picture for picture in pictures if picture.sha256 not in known]
    for picture in new:
        vector = scorer.see(opened(folder.run().dataset / picture.file)).vector
        known[picture.sha256] = None if vector is None else [float(number) for number in vector]
    if new:
        write_durably(file, json.dumps(kept).encode())
    vectors = [known[picture.sha256] for picture in pictures]
    return [np.asarray(vector, np.float32) for vector in vectors if vector is not None]


def _held_out(manifest: Manifest) -> bool:
    return any(picture.role == "held_out" for picture in manifest.pictures)


def _mean_likeness(scorer: Scorer, seen: Seen, references: Sequence[Vector]) -> float | None:
    vector = seen.vector
    if vector is None:
        return None
    return _mean(scorer.likeness(vector, one) for one in references)


def _mean(values: Any) -> float | None:
    told = [value for value in values if value is not None]
    return float(np.mean(told)) if told else None


if __name__ == "__main__":
    try:
        found = scored(RunFolder(Path(sys.argv[1])), int(sys.argv[2]))
    except PersonaError as told:
        found = Scores(problem=f"{told.message} {told.hint}")
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
