"""Who is in a picture: how much it looks like somebody, by faces, or of drawn characters by the whole figure.

Runs in a child process. A picture without a face is told apart from one of somebody else: it has no likeness,
not one of 0.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from persona_tui.errors import InvalidRequest
from persona_tui.gpu import dino, embedding, faces
from persona_tui.gpu.subject import cut_out

Vector = NDArray[np.float32]
Outcome = Literal["seen", "no face", "too small"]

_DLIB_SAME = 0.4
"""Likeness; dlib's authors take a distance of 0.6."""
_ARCFACE_SAME = 0.3
"""Cosine. Models differ: 0.3 to 0.4 are in use for verification."""
_SIDE = 112
_EYES = ((38.2946, 51.6963), (73.5318, 51.5014))
"""Where an ArcFace model wants the eyes in its 112 × 112 pixels (insightface, utils/face_align.py)."""


@dataclass(frozen=True)
class Seen:
    """What a scorer made of a picture.

    Attributes:
        vector: None unless somebody was seen.
        others: further faces in it.
    """

    outcome: Outcome
    vector: Vector | None = None
    others: int = 0


class Scorer(Protocol):
    """Tells people apart.

    Attributes:
        name: of the model and its weights; figures of two can't be compared.
        weak: it goes by style and clothes as much as by who it is.
        usual: likeness from which on its makers take two for the same; None where nobody says.
    """

    name: str
    weak: bool
    usual: float | None

    def see(self, picture: Image.Image) -> Seen:
        """Look at an upright RGB picture."""

    def likeness(self, one: Vector, other: Vector) -> float:
        """Of two vectors; 1 is the same picture, more is more alike."""


class Dlib:
    """128 numbers of dlib's; likeness is 1 - distance."""

    name, weak = faces.MODEL, False
    usual: float | None = _DLIB_SAME

    def __init__(self, detector: faces.Detector = "hog") -> None:
        """Raises:
        InvalidRequest: the extra is not installed.
        """
        _need_faces()
        self._detector = detector

    def see(self, picture: Image.Image) -> Seen:
        """Look at the surest face."""
        found = faces.find_faces(picture, self._detector)
        if found.best is None or found.vector is None:
            return _nobody(found)
        return Seen("seen", np.asarray(found.vector, np.float32), len(found.found) - 1)

    def likeness(self, one: Vector, other: Vector) -> float:
        """1 - the Euclidean distance."""
        return 1 - float(np.linalg.norm(one - other))


class ArcFace:
    """A model of the operator's own, as ONNX; likeness is the cosine.

    It is given a face turned upright, 112 × 112, RGB, (x - 127.5) / 127.5, as insightface gives it. The
    weights that insightface publishes are for research only: the operator answers for the file.
    """

    weak = False
    usual: float | None = _ARCFACE_SAME

    def __init__(self, path: Path, detector: faces.Detector = "hog") -> None:
        """Load the model.

        Raises:
            InvalidRequest: onnxruntime or the extra is missing, or the file is no such model.
        """
        _need_faces()
        if find_spec("onnxruntime") is None:
            raise InvalidRequest(
                "An ArcFace model needs onnxruntime, which is not installed.",
                hint="pip install onnxruntime, or unset PERSONA_FACES__ARCFACE: dlib is used then.",
            )
        runtime = import_module("onnxruntime")
        self._detector = detector
        try:
            self.name = f"ArcFace {_fingerprint(path)}"
            self._session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            self._input = self._session.get_inputs()[0].name
            length = self._vector(np.zeros((_SIDE, _SIDE, 3), np.uint8)).size
        except Exception as problem:  # onnxruntime raises its own, by what is wrong
            raise InvalidRequest(
                f"{path} is no ArcFace model that can be read ({type(problem).__name__}).",
                hint="PERSONA_FACES__ARCFACE names an ONNX file that takes 1 × 3 × 112 × 112.",
            ) from None
        if length < 64:
            raise InvalidRequest(
                f"{path} gives {length} numbers for a face, which is no embedding.",
                hint="PERSONA_FACES__ARCFACE names a recognition model, not a detector.",
            )

    def see(self, picture: Image.Image) -> Seen:
        """Look at the surest face."""
        found = faces.find_faces(picture, self._detector)
        if found.best is None:
            return _nobody(found)
        upright = aligned(picture, faces.eyes_of(picture, found.best))
        return Seen("seen", self._vector(np.asarray(upright)), len(found.found) - 1)

    def likeness(self, one: Vector, other: Vector) -> float:
        """The cosine."""
        return cosine(one, other)

    def _vector(self, pixels: NDArray[np.uint8]) -> Vector:
        given = ((pixels.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None]
        vector: Vector = np.asarray(self._session.run(None, {self._input: given})[0], np.float32).ravel()
        return vector


class Dino:
    """DINOv2 on the subject without its background: for drawn characters, in whom no detector sees a face.

    Likeness is the cosine. Nobody says from which on two pictures show one character: a threshold comes from
    the drawn characters of other personas, or there is none.
    """

    weak = False
    usual: float | None = None

    def __init__(self, folder: Path) -> None:
        """Raises:
        InvalidRequest: the folder holds no such model.
        """
        dino.check_folder(folder)
        self.name = f"DINOv2 {dino.fingerprint(folder / dino.WEIGHTS)}, masked subject"
        self._folder = folder

    def see(self, picture: Image.Image) -> Seen:
        """Look at the subject."""
        return Seen("seen", dino.vectors_of(self._folder, [cut_out(picture)])[0])

    def likeness(self, one: Vector, other: Vector) -> float:
        """The cosine."""
        return cosine(one, other)


class MaskedClip:
    """CLIP, or its stand-in, on the subject without its background: for drawn characters without DINOv2.

    Weak: it tells styles and clothes as much as it tells characters.
    """

    weak = True
    usual: float | None = None

    def __init__(self, weights: embedding.Weights) -> None:
        """Args:
        weights: of the model, as `services.library.embeddings.current_model` finds them.
        """
        self.name = f"{weights.kind} {_fingerprint(weights.path)}, masked subject (weak)"
        self._weights = weights

    def see(self, picture: Image.Image) -> Seen:
        """Look at the subject."""
        return Seen("seen", vectors_of(self._weights, [cut_out(picture)])[0])

    def likeness(self, one: Vector, other: Vector) -> float:
        """The cosine."""
        return cosine(one, other)


@dataclass(frozen=True)
class Choice:
    """Which scorer is wanted; plain values, since it is sent to a child process.

    Attributes:
        dino: folder of a DINOv2; None where there is none.
        drawn: the subject is drawn, so faces are not looked for.
    """

    arcface: Path | None = None
    detector: faces.Detector = "hog"
    whole: embedding.Weights | None = None
    dino: Path | None = None
    drawn: bool = False

    @cached_property
    def scorer(self) -> Scorer | None:
        """The best one that is there; None where there is none.

        People are told apart by their faces or not at all; drawn characters by DINOv2, else weakly by CLIP.

        Raises:
            InvalidRequest: the operator's model can't be used.
        """
        if self.drawn:
            if self.dino is not None:
                return Dino(self.dino)
            return None if self.whole is None else MaskedClip(self.whole)
        if self.arcface is not None:
            return ArcFace(self.arcface, self.detector)
        if faces.is_installed():
            return Dlib(self.detector)
        return None if self.whole is None else MaskedClip(self.whole)


def cosine(one: Vector, other: Vector) -> float:
    """Of the angle between two vectors."""
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12))


def vectors_of(weights: embedding.Weights, pictures: Sequence[Image.Image]) -> list[Vector]:
    """Unit vectors of whole pictures.

    Raises:
        InvalidRequest: the weights are not of this model.
    """
    found = embedding.embed(weights, [_png(picture) for picture in pictures])
    return [np.asarray(vector, np.float32) for vector in found]


def aligned(picture: Image.Image, eyes: tuple[tuple[float, float], tuple[float, float]]) -> Image.Image:
    """A face of 112 × 112, turned, sized and moved so that its eyes are where ArcFace has them.

    Args:
        eyes: in pixels, the one that is left in the picture first.
    """
    # Points as complex numbers: a turn with a change of size is one factor, a move one term.
    (a, b), (c, d) = (tuple(complex(*eye) for eye in pair) for pair in (_EYES, eyes))
    factor = (d - c) / (b - a)
    move = c - factor * a
    back = (factor.real, -factor.imag, move.real, factor.imag, factor.real, move.imag)
    return picture.transform((_SIDE, _SIDE), Image.Transform.AFFINE, back, Image.Resampling.BICUBIC)


def _fingerprint(path: Path) -> str:
    """Of the weights in a file, or of those in a folder; a model of another content has another name."""
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    return dino.fingerprint(files[0]) if files else "?"


def _nobody(found: faces.Faces) -> Seen:
    return Seen("too small" if found.found else "no face")


def _need_faces() -> None:
    if not faces.is_installed():
        raise InvalidRequest(
            "Faces can't be told apart without the extra.", hint="pip install 'persona-tui[faces]'"
        )


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
