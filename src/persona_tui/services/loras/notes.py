"""What a LoRA file's own notes tell beyond its format: licence, step, weights, what was measured by what."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_NON_COMMERCIAL = re.compile(r"non[- ]?commercial|\bcc[- ]by[- ]nc\b|research (only|license)", re.IGNORECASE)


def details_of(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What is kept with a version of its file's notes; nothing where they say nothing.

    Files that another installation of this program trained say all of it; others may name a licence
    (`modelspec.license`).
    """
    details: dict[str, Any] = {}
    barred = is_non_commercial(metadata)
    if barred is not None:
        details["non_commercial"] = barred
    if metadata.get("flen.weights") in ("ema", "raw"):
        details["weights"] = metadata["flen.weights"]
    step = metadata.get("ss_steps", "")
    if step.isascii() and step.isdecimal() and len(step) < 10:
        details["step"] = int(step)
    scores = _scores(metadata.get("flen.scores", ""))
    if scores:
        scorer = metadata.get("flen.scorer", "")
        details["scores"] = {**scores, "scorer": scorer, "weak": "(weak)" in scorer}
    return details


def is_non_commercial(metadata: Mapping[str, str]) -> bool | None:
    """Whether a file says that its base's licence forbids commercial use; None where it does not tell."""
    told = metadata.get("flen.commercial")
    if told is not None:
        return told == "no"
    return True if _NON_COMMERCIAL.search(metadata.get("modelspec.license", "")) else None


def _scores(told: str) -> dict[str, float]:
    try:
        found = json.loads(told)
    except (ValueError, RecursionError):
        return {}
    told_of = found.items() if isinstance(found, dict) else ()
    return {
        str(name): float(value)
        for name, value in told_of
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
