"""Who is in a picture. Photographs of several people: `benchmarks/training.py --only likeness`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from persona_tui.errors import InvalidRequest
from persona_tui.gpu import faces, likeness
from persona_tui.gpu.calibration import Pair, Reference, calibrated, errors_without, pairs_of

# Distances of the photographs in the source package of face-recognition 1.3.0 and scikit-image's astronaut.
DISTANCES = {
    ("a1", "a3"): 0.333,
    ("a1", "a2"): 0.379,
    ("a2", "a3"): 0.431,
    ("b", "a2"): 0.818,
    ("c", "b"): 0.835,
    ("c", "a2"): 0.841,
    ("c", "a1"): 0.854,
    ("b", "a1"): 0.862,
    ("b", "a3"): 0.873,
    ("c", "a3"): 0.881,
}


def reference(photograph: str) -> Reference:
    """Of the person whose letter the name begins with."""
    return Reference(photograph[0], photograph, np.zeros(1, np.float32))


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    """A real face."""
    from skimage import data

    return Image.fromarray(data.astronaut())


@pytest.mark.skipif(not faces.is_installed(), reason="the extra faces is not installed")
def test_training_8_no_face_and_a_small_one_are_outcomes_of_their_own(astronaut: Image.Image) -> None:
    scorer = likeness.Dlib()
    seen = scorer.see(astronaut)
    mirrored = scorer.see(ImageOps.mirror(astronaut))
    assert seen.vector is not None and mirrored.vector is not None
    assert scorer.likeness(seen.vector, mirrored.vector) > 0.7
    head = astronaut.crop((100, 0, 350, 250))
    assert scorer.see(head.resize((100, 100))) == likeness.Seen("too small")
    assert scorer.see(Image.new("RGB", (200, 200), "grey")) == likeness.Seen("no face")


def test_training_8_the_surest_face_counts_never_the_largest() -> None:
    def face(score: float, height: int) -> faces.Face:
        return faces.Face(0, 0, 0.1, 0.1, height, score)

    assert faces.best_of([face(0.6, 300), face(1.2, 48)]) == face(1.2, 48)
    # A helmet that is large enough does not stand in for a face that is too small.
    assert faces.best_of([face(0.6, 300), face(1.2, 47)]) is None
    assert faces.best_of([]) is None


@pytest.mark.skipif(not faces.is_installed(), reason="the extra faces is not installed")
def test_training_8_a_face_is_turned_upright_for_arcface(astronaut: Image.Image) -> None:
    tilted = astronaut.rotate(20, center=(225, 100), resample=Image.Resampling.BICUBIC)
    upright = [
        likeness.aligned(picture, faces.eyes_of(picture, best))
        for picture in (astronaut, tilted)
        if (best := faces.find_faces(picture).best) is not None
    ]
    assert [picture.size for picture in upright] == [(112, 112)] * 2
    straight, turned = (np.asarray(picture.convert("L"), float).ravel() for picture in upright)
    assert np.corrcoef(straight, turned)[0, 1] > 0.9


@pytest.mark.skipif(find_spec("onnxruntime") is not None, reason="onnxruntime is installed")
@pytest.mark.skipif(not faces.is_installed(), reason="the extra faces is not installed")
def test_training_8_an_arcface_model_without_onnxruntime_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="needs onnxruntime"):
        _ = likeness.Choice(arcface=tmp_path / "model.onnx").scorer


def test_training_8_a_threshold_is_found_from_the_references_and_holds_for_one_left_out() -> None:
    pairs = [Pair(reference(one), reference(two), 1 - far) for (one, two), far in DISTANCES.items()]
    found = calibrated(pairs)
    assert found is not None and found.calibrated
    assert (found.same.pairs, found.other.pairs) == (3, 7)  # type: ignore[union-attr]
    assert 1 - 0.818 < found.least < 1 - 0.431
    assert errors_without(pairs) == (0, 20)
    # Other people who look like the persona move it up.
    doubles = [*pairs, *(Pair(reference("d"), reference(name), 0.5) for name in ("a1", "a2", "a3"))]
    assert calibrated(doubles).least > found.least  # type: ignore[union-attr]


def test_training_8_variants_of_one_photograph_are_no_pair_and_without_others_the_usual_one_holds() -> None:
    vectors = np.random.default_rng(2).standard_normal((3, 8)).astype(np.float32)
    told = [Reference("a", name, vector) for name, vector in zip(("1", "1", "2"), vectors, strict=True)]
    pairs = pairs_of(told, likeness.cosine)
    assert [(pair.one.photograph, pair.other.photograph) for pair in pairs] == [("1", "2")] * 2
    usual = calibrated(pairs, usual=0.4)
    assert usual is not None and (usual.least, usual.calibrated) == (0.4, False)
    assert calibrated(pairs) is None
