"""Losses that are no numbers or explode: how they are told, and what is changed before another try.

The same step would fail for ever, since all draws follow from (seed, step, purpose). So each rollback enters
the draws' key as an attempt, and the failed step is left out or taken at half the rate (M4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

from persona_tui.errors import PersonaError

Action = Literal["skip", "halve"]

EXPLODED = 20.0
"""Times the median of the last losses. A loss varies with its noise level by a factor of about 10."""
_REMEMBERED = 64
_LEAST = 16
_MOST = 3
_CLOSE = 100
"""Steps: as many rollbacks as `_MOST` within them, or to one checkpoint, and going back is no remedy."""


class Diverged(PersonaError):
    """The training does not converge, and trying again has not helped."""

    title = "Training diverged"
    hint = "Lower the learning rate, or look at the pictures that the log names."


@dataclass(frozen=True)
class Intervention:
    """One rollback.

    Attributes:
        back_to: step of the checkpoint that was loaded; the draws of the steps after it changed.
        step: the one that failed.
        action: what is done to it: left out, or at half the rate from the checkpoint to it.
        reason: a sentence.
    """

    back_to: int
    step: int
    action: Action
    reason: str

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


class Failure(Exception):
    """A step's loss or gradient can't be used.

    Attributes:
        action: what the next attempt does.
    """

    def __init__(self, reason: str, action: Action) -> None:
        super().__init__(reason)
        self.reason = reason
        self.action = action


def check(loss: float, norm: float, recent: Sequence[float], files: Sequence[str]) -> None:
    """See whether a step may be taken.

    Args:
        norm: of the gradient before it was clipped.
        recent: losses of the steps before.
        files: the pictures that it learnt from.

    Raises:
        Failure: it may not.
    """
    shown = ", ".join(files)
    if not (math.isfinite(loss) and math.isfinite(norm)):
        what = "loss" if not math.isfinite(loss) else "gradient"
        raise Failure(f"The {what} was no number, with {shown}.", "skip")
    if len(recent) >= _LEAST and loss > EXPLODED * median(recent):
        raise Failure(f"The loss was {loss / median(recent):.0f} times its median, with {shown}.", "halve")


def remembered(recent: Sequence[float], loss: float) -> list[float]:
    """The last losses, with a new one."""
    return [*recent, loss][-_REMEMBERED:]


def decided(failure: Failure, step: int, back_to: int, before: Sequence[Intervention]) -> Intervention:
    """What is done about a failure.

    Raises:
        Diverged: the step has failed before, or going back has been tried too often.
    """
    if any(one.step == step for one in before):
        raise Diverged(f"Step {step} failed twice. {failure.reason}")
    if sum(one.back_to == back_to or step - one.step < _CLOSE for one in before) >= _MOST:
        raise Diverged(f"Going back {_MOST} times did not help. {failure.reason}")
    return Intervention(back_to, step, failure.action, failure.reason)


def attempt_of(step: int, interventions: Sequence[Intervention]) -> int:
    """How many rollbacks have changed this step's draws."""
    return sum(one.back_to < step <= one.step for one in interventions)


def is_skipped(step: int, interventions: Sequence[Intervention]) -> bool:
    """Whether this step is left out."""
    return any(one.step == step and one.action == "skip" for one in interventions)


def rate_factor(step: int, interventions: Sequence[Intervention]) -> float:
    """What this step's learning rate is multiplied by: a half for each explosion that it led to."""
    halved = sum(one.back_to < step <= one.step and one.action == "halve" for one in interventions)
    return float(0.5**halved)
