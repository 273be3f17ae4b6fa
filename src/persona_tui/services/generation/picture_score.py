"""What ranks pictures where nobody votes: technical quality alone. It knows nothing of taste or likeness."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from persona_tui.services.library.analysis import measure
from persona_tui.services.voting import outlook, ranking

Scorer = Callable[[bytes], float]
"""An encoded picture → its score, 0 to 1; more is better."""

SCORE_SD = 0.1
"""By so much, as a standard deviation, a score is taken to be off from what a person would say."""
_SHARP = 1500.0
"""Variance of the Laplacian from which a picture counts as fully sharp; beyond it is mostly noise."""


def technical_quality(data: bytes) -> float:
    """How sharp, well exposed and little clipped a picture is: 0 to 1.

    Args:
        data: the encoded picture; a thumbnail is enough.
    """
    seen = measure(data)
    sharp = math.log1p(min(seen.sharpness, _SHARP)) / math.log1p(_SHARP)
    balanced = 1 - 2 * abs(seen.exposure - 0.5)
    kept = 1 - min(1.0, 4 * (seen.clipped_dark + seen.clipped_bright))
    return 0.6 * sharp + 0.25 * balanced + 0.15 * kept


def probability_by_scores(scores: Sequence[float], k: int) -> float:
    """How sure it is that the k highest scores are the k best, each off by `SCORE_SD`: 0 to 1, sampled."""
    size = len(scores)
    belief = ranking.Posterior(np.asarray(scores) / SCORE_SD, np.eye(size))
    return outlook.look(belief, tuple(range(size)), k, np.random.default_rng(size)).top_k
