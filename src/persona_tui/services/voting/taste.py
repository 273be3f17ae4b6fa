"""A persona's taste: what past votes say about pictures that nobody voted on yet.

The maths alone, numpy only; runs in the child pool. Utility is linear in a picture's embedding, choices
follow Plackett–Luce, the weights have a normal prior, and what is kept is their most probable value (as Chu
and Ghahramani, "Preference learning with Gaussian processes", 2005, with a linear kernel).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Array = NDArray[np.float64]
Indices = NDArray[np.intp]

UTILITY_SD = 1.0
"""Standard deviation of utilities before any vote, in logits: half of what qualities are spread by."""
_STEPS = 20
_SMALL = 1e-4


def learn(vectors: Floats, shown: Indices, chosen: Indices) -> Floats:
    """The weights that explain the votes best.

    Args:
        vectors: embeddings of the pictures that votes showed, shape (pictures, dimensions).
        shown: by vote, two to four rows of `vectors`; −1 fills up. Shape (votes, 4).
        chosen: by vote, the place among the shown that was taken. Shape (votes,).

    Returns:
        Shape (dimensions,); `vectors @ weights` is a utility in logits, up to a constant.
    """
    centred = vectors.astype(float) - vectors.mean(axis=0)
    spread = float((centred**2).sum(axis=1).mean())
    size = centred.shape[1]
    if not len(shown) or spread == 0:
        return np.zeros(size, np.float32)
    precision = spread / UTILITY_SD**2
    there = shown >= 0
    seen = np.where(there[:, :, None], centred[shown], 0.0)
    taken = seen[np.arange(len(shown)), chosen]
    weights = np.zeros(size)
    for _ in range(_STEPS):
        utility = np.where(there, seen @ weights, -np.inf)
        shares = np.exp(utility - utility.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        expected = (shares[:, :, None] * seen).sum(axis=1)
        gradient = (taken - expected).sum(axis=0) - precision * weights
        scaled = (np.sqrt(shares)[:, :, None] * seen).reshape(-1, size)
        curvature = scaled.T @ scaled - expected.T @ expected + precision * np.eye(size)
        step = np.linalg.solve(curvature, gradient)
        weights += step
        if np.abs(centred @ step).max() < _SMALL:
            break
    return weights.astype(np.float32)
