"""An order in which each picture differs most from those before it."""

from __future__ import annotations

import numpy as np

from persona_tui.services.library.building import Vectors


def farthest_first(vectors: Vectors, count: int) -> tuple[int, ...]:
    """Rows in the order of Gonzalez's farthest-first traversal, beginning with the first row.

    Args:
        vectors: of length 1, a row each.
        count: rows wanted; fewer come back where there are fewer.
    """
    if not len(vectors):
        return ()
    chosen = [0]
    nearest = 1 - vectors @ vectors[0]
    nearest[0] = -np.inf
    while len(chosen) < min(count, len(vectors)):
        farthest = int(np.argmax(nearest))
        chosen.append(farthest)
        nearest = np.minimum(nearest, 1 - vectors @ vectors[farthest])
        nearest[chosen] = -np.inf
    return tuple(chosen)
