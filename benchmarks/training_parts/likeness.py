"""Telling people apart: real photographs, and the calibration on simulated ones with their spreads.

The photographs are those in the source package of face-recognition 1.3.0 (MIT), fetched from PyPI by pip and
never kept, and scikit-image's astronaut: three of one person and one each of two others.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from PIL import Image

from persona_tui.gpu.calibration import Pair, Reference, calibrated, errors_without, pairs_of
from persona_tui.gpu.likeness import Dlib, Vector
from report import Figure

PACKAGE = "face-recognition==1.3.0"
_FILES = {
    "obama": "the first",
    "obama2": "the first",
    "obama3": "the first",
    "biden": "the second",
}
_NUMBERS = 128
_PERSONAS, _REFERENCES, _OTHERS, _NEW = 20, 8, 20, 60


def photographs() -> dict[str, Image.Image]:
    """By file name; empty where PyPI can't be reached."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--no-deps", "--no-binary=:all:", "--no-build-isolation", "-q", "-d", folder]
        fetched = subprocess.run(
            [sys.executable, "-m", "pip", "download", *options, PACKAGE], capture_output=True, check=False
        )
        archives = list(Path(folder).glob("*.tar.gz"))
        if fetched.returncode or not archives:
            return {}
        with tarfile.open(archives[0]) as archive:
            return {
                Path(name).stem: Image.open(io.BytesIO(archive.extractfile(name).read())).convert("RGB")  # type: ignore[union-attr]
                for name in archive.getnames()
                if "/test_images/" in name and Path(name).stem in _FILES
            }


def real_pairs() -> list[Pair]:
    """All pairs of the photographs; empty where they can't be had."""
    from skimage import data

    shown = photographs()
    if not shown:
        return []
    scorer = Dlib()
    people = {**_FILES, "astronaut": "the third"}
    shown["astronaut"] = Image.fromarray(data.astronaut())
    references = []
    for name in sorted(shown):
        seen = scorer.see(shown[name])
        assert seen.vector is not None, f"no face in {name}: {seen.outcome}"
        references.append(Reference(people[name], name, seen.vector))
    return pairs_of(references, scorer.likeness)


def simulated(
    random: np.random.Generator, same: tuple[float, float], other: tuple[float, float]
) -> tuple[int, int, int]:
    """Errors on new pairs of personas whose thresholds were found from their references.

    Args:
        same, other: mean and deviation of the distances within a person and between people.

    Returns:
        Errors of the calibrated thresholds, of dlib's usual one, and pairs.
    """

    def person() -> Vector:
        length = other[0] ** 2 / 2 - same[0] ** 2 / 2
        return (random.standard_normal(_NUMBERS) * np.sqrt(length / _NUMBERS)).astype(np.float32)

    def photograph(centre: Vector) -> Vector:
        # Some photographs are worse than others, which is what spreads the distances.
        far = same[0] / np.sqrt(2) * np.exp(random.normal(0, same[1] / same[0]))
        return (centre + random.standard_normal(_NUMBERS) * far / np.sqrt(_NUMBERS)).astype(np.float32)

    wrong = usual_wrong = judged = 0
    for number in range(_PERSONAS):
        centre = person()
        references = [Reference("persona", f"{number}-{at}", photograph(centre)) for at in range(_REFERENCES)]
        references += [Reference(f"{at}", f"other-{at}", photograph(person())) for at in range(_OTHERS)]
        pairs = [
            pair
            for pair in pairs_of(references, likeness)
            if "persona" in (pair.one.person, pair.other.person)
        ]
        threshold = calibrated(pairs)
        assert threshold is not None
        for at in range(_NEW):
            reference = references[at % _REFERENCES].vector
            for new, is_same in ((photograph(centre), True), (photograph(person()), False)):
                found = likeness(reference, new)
                judged += 1
                wrong += (found >= threshold.least) != is_same
                usual_wrong += (found >= Dlib.usual) != is_same
    return wrong, usual_wrong, judged


def likeness(one: Vector, two: Vector) -> float:
    """As dlib's scorer has it: one less the distance."""
    return 1 - float(np.linalg.norm(one - two))


def figures(_quick: bool) -> Iterable[Figure]:
    """Distances of the photographs, errors with each left out, and errors of the calibration."""
    pairs = real_pairs()
    if not pairs:
        print("The photographs can't be fetched from PyPI: nothing was measured.", flush=True)
        return
    for pair in sorted(pairs, key=lambda pair: -pair.likeness):
        kind = "same" if pair.same else "others"
        names = f"{pair.one.photograph:>10} – {pair.other.photograph:<10}"
        print(f"  {names} {kind:<6} distance {1 - pair.likeness:.3f}")
    same = [1 - pair.likeness for pair in pairs if pair.same]
    other = [1 - pair.likeness for pair in pairs if not pair.same]
    wrong, judged = errors_without(pairs)
    yield Figure(f"errors, each photograph left out ({judged} judged)", wrong, "errors", "==", 0)
    yield Figure("farthest of one person", max(same), "distance", baseline=min(other))
    random = np.random.default_rng(11)
    for name, wider in (("measured", 1.0), ("twice the", 2.0)):
        spreads = ((fmean(same), wider * stdev(same)), (fmean(other), wider * stdev(other)))
        found, usual, count = simulated(random, *spreads)
        target = 0.01 if wider == 1 else None
        yield Figure(
            f"errors of {count} simulated pairs, {name} spread",
            found / count,
            "of pairs",
            "<=",
            target,
            usual / count,
        )
