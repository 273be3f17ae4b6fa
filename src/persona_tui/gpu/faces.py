"""Faces by dlib: where they are, how sure, and a vector for telling people apart. Needs the extra `faces`.

Runs in a child process. The best-scored face counts, never the largest: a helmet can be larger than a face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

Detector = Literal["hog", "cnn"]

LEAST_SCORE = 0.5
LEAST_SIDE = 48
"""Pixels; a smaller face tells too little to be compared."""
SEEN_SIDE = 1024
"""Longest side of the copy that is searched; HOG and CNN find faces of 40 px and more in it."""
MODEL = "dlib resnet v1"
"""Gives 128 numbers; two pictures of one person lie closer than 0.6."""
_PACKAGE = "face_recognition_models"


@dataclass(frozen=True)
class Face:
    """One face; its box in shares of the picture, so that it fits a copy of any size.

    Attributes:
        score: by the detector; at least 0.5.
        height: pixels in the picture that was searched in full.
    """

    left: float
    top: float
    width: float
    height_share: float
    height: int
    score: float


@dataclass(frozen=True)
class Faces:
    """All faces of a picture, the surest first.

    Attributes:
        best: the surest; None where there is none, or where it is too small to be compared.
        vector: of `best`, 128 numbers.
    """

    found: tuple[Face, ...]
    best: Face | None
    vector: tuple[float, ...] | None


def is_installed() -> bool:
    """Whether the extra is there; imports nothing."""
    return find_spec("dlib") is not None and find_spec(_PACKAGE) is not None


def find_faces(picture: Image.Image, detector: Detector = "hog") -> Faces:
    """Look for faces in an upright RGB picture."""
    copy = picture.copy()
    copy.thumbnail((SEEN_SIDE, SEEN_SIDE), Image.Resampling.LANCZOS)
    found = sorted(
        (_face(box, score, copy.size, picture.size) for box, score in _detected(np.asarray(copy), detector)),
        key=lambda face: face.score,
        reverse=True,
    )
    sure = tuple(face for face in found if face.score >= LEAST_SCORE)
    best = best_of(sure)
    return Faces(sure, best, None if best is None else _vector(picture, best))


def best_of(found: Sequence[Face]) -> Face | None:
    """The surest face, if it is large enough; a larger one that is less sure may be a helmet."""
    surest = max(found, key=lambda face: face.score, default=None)
    return surest if surest is not None and surest.height >= LEAST_SIDE else None


def _detected(pixels: Any, detector: Detector) -> list[tuple[Any, float]]:
    """Boxes with their scores; the picture is doubled once, so that faces of 40 px are found."""
    if detector == "cnn":
        return [(found.rect, float(found.confidence)) for found in _cnn()(pixels, 1)]
    boxes, scores, _poses = _hog().run(pixels, 1, 0.0)
    return list(zip(boxes, map(float, scores), strict=True))


def _face(box: Any, score: float, seen: tuple[int, int], whole: tuple[int, int]) -> Face:
    width, height = seen
    top, bottom = max(box.top(), 0), min(box.bottom(), height)
    left, right = max(box.left(), 0), min(box.right(), width)
    share = (bottom - top) / height
    return Face(
        left / width, top / height, (right - left) / width, share, round(share * whole[1]), round(score, 3)
    )


def eyes_of(picture: Image.Image, face: Face) -> tuple[tuple[float, float], tuple[float, float]]:
    """Middles of a face's eyes in pixels, the one that is left in the picture first."""
    # Two corners of the right one in the picture, two of the left one, the nose.
    points = [(float(point.x), float(point.y)) for point in _points(np.asarray(picture), face).parts()]
    right, left = (((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, b in (points[:2], points[2:4]))
    return left, right


def _vector(picture: Image.Image, face: Face) -> tuple[float, ...]:
    """The face's 128 numbers, turned upright by five landmarks."""
    pixels = np.asarray(picture)
    described = _describer().compute_face_descriptor(pixels, _points(pixels, face))
    return tuple(float(number) for number in described)


def _points(pixels: Any, face: Face) -> Any:
    """A face's five landmarks."""
    import dlib

    height, width = pixels.shape[:2]
    left, top = round(face.left * width), round(face.top * height)
    box = dlib.rectangle(left, top, left + round(face.width * width), top + round(face.height_share * height))
    return _landmarks()(pixels, box)


def _weights(name: str) -> str:
    """A file of the models' package, which can't be imported: it wants pkg_resources, which is no more."""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(_PACKAGE)
    return str(Path(spec.submodule_search_locations[0]) / "models" / name)


@cache
def _hog() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


@cache
def _cnn() -> Any:
    import dlib

    return dlib.cnn_face_detection_model_v1(_weights("mmod_human_face_detector.dat"))


@cache
def _landmarks() -> Any:
    import dlib

    return dlib.shape_predictor(_weights("shape_predictor_5_face_landmarks.dat"))


@cache
def _describer() -> Any:
    import dlib

    return dlib.face_recognition_model_v1(_weights("dlib_face_recognition_resnet_model_v1.dat"))
