"""Vectors of pictures and of words by one model; runs in a child process, where the model stays loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from persona_tui.gpu.pictures import Source, Unreadable, batches

if TYPE_CHECKING:
    from PIL import Image

Vector = NDArray[np.float32]

DIMENSIONS = 512
"""Length of every vector."""


@dataclass(frozen=True)
class Weights:
    """Which model, and where its weights lie; plain values, since it is sent to a child process."""

    kind: Literal["clip", "stand-in"]
    path: Path


class Encoder(Protocol):
    """A loaded model."""

    def prepare(self, picture: Image.Image) -> Any:
        """What the model takes for an RGB picture; called in threads."""

    def encode(self, prepared: Sequence[Any]) -> Vector:
        """Features of a batch, one row each, of any length."""

    def encode_words(self, texts: Sequence[str]) -> Vector:
        """Features of texts in the pictures' space."""


def embed(weights: Weights, sources: Sequence[Source]) -> list[Vector | Unreadable]:
    """Unit vectors of pictures, in their order.

    Raises:
        InvalidRequest: the weights are not of this model.
    """
    encoder = _encoder(weights)
    found: list[Vector | Unreadable] = [Unreadable("")] * len(sources)
    for batch in batches(sources, encoder.prepare):
        if batch.prepared:
            for place, vector in zip(batch.places, _unit(encoder.encode(batch.prepared)), strict=True):
                found[place] = vector
        for place, problem in batch.unreadable:
            found[place] = problem
    return found


def embed_words(weights: Weights, texts: Sequence[str]) -> Vector:
    """Unit vectors of texts, one row each.

    Raises:
        InvalidRequest: the weights are not of this model, or it reads no words.
    """
    return _unit(_encoder(weights).encode_words(texts))


@lru_cache(maxsize=1)
def _encoder(weights: Weights) -> Encoder:
    """The model, kept until another one is asked for."""
    if weights.kind == "clip":
        from persona_tui.gpu.clip import ClipEncoder

        return ClipEncoder(weights.path)
    from persona_tui.gpu.stand_in import StandInEncoder

    return StandInEncoder(weights.path)


def _unit(features: Vector) -> Vector:
    length = np.linalg.norm(features, axis=1, keepdims=True)
    vectors: Vector = (features / np.maximum(length, 1e-12)).astype(np.float32)
    return vectors
