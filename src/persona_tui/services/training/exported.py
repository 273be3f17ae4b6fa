"""What is told of a file that a training made: which weights, and how it acts on the base in 16 bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WEIGHTS = {"ema": "the average of its weights", "raw": "its weights as they were"}


def weights_words(weights: object) -> str:
    """`the average of its weights` or `its weights as they were`; empty where nothing tells."""
    return _WEIGHTS.get(str(weights), "")


def origin_words(training: int | None, step: int | None, weights: object) -> str:
    """`training 2, step 200, its weights as they were`; without what nothing tells."""
    run = "" if training is None else f"training {training}"
    return ", ".join(filter(None, (run, "" if step is None else f"step {step}", weights_words(weights))))


def base_words(told: object) -> str:
    """A sentence on how a LoRA that was trained on a quantised base acts on that base in 16 bits.

    Args:
        told: `base_difference` of the run's manifest: `gpu.training.base_difference.BaseDifference`, or the
            problem that kept it from being found.

    Returns:
        Empty where the base was not quantised.
    """
    if not isinstance(told, Mapping):
        return ""
    if told.get("problem"):
        return f"Not compared with the base in 16 bits. {told['problem']}"
    found = _numbers(told)
    if not {"difference", "strength", "loss", "loss_trained_on"} <= found.keys():
        return ""
    whose = "held-out" if told.get("role") == "held_out" else "training pictures'"
    return (
        f"On the base in 16 bits its effect differs by {found['difference']:.1%} from that on "
        f"{told.get('quantisation', 'the quantised one')}, {found['strength']:.2f} as strong; {whose} loss "
        f"{found['loss']:.4f} against {found['loss_trained_on']:.4f}."
    )


def base_share(told: object) -> str:
    """The same in few words: `in 16 bits its effect differs by 2.3%`; empty where there is no number."""
    found = _numbers(told) if isinstance(told, Mapping) else {}
    if "difference" in found:
        return f"in 16 bits its effect differs by {found['difference']:.1%}"
    return "it was not compared with the base in 16 bits" if isinstance(told, Mapping) and told else ""


def _numbers(told: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in told.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
