"""Faces of other people, kept beside a run: what a likeness to its subject is held against."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from persona_tui.gpu.training.durable import write_durably
from persona_tui.gpu.training.folder import RunFolder

_FILE = "others.json"


def others_of(folder: RunFolder, scorer: str) -> list[NDArray[np.float32]]:
    """Vectors of people who are not the subject, which this scorer has made."""
    return [np.asarray(vector, np.float32) for vector in _kept(folder).get(scorer, [])]


def keep_others(folder: RunFolder, scorer: str, vectors: Sequence[Sequence[float]]) -> None:
    """Put vectors of other people beside a run, for its thresholds; those of other scorers stay."""
    kept = _kept(folder) | {scorer: [[float(number) for number in vector] for vector in vectors]}
    write_durably(folder.path / _FILE, json.dumps(kept).encode())


def _kept(folder: RunFolder) -> dict[str, list[list[float]]]:
    """Scorer → vectors."""
    try:
        kept: dict[str, list[list[float]]] = json.loads((folder.path / _FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return kept
