"""How long a training will take, by what those before it took and by the steps of a probe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.gpu.training.planner import step_work
from persona_tui.gpu.training.run_file import RunFile
from persona_tui.services.lease import Place

if TYPE_CHECKING:
    from persona_tui.gpu.training.folder import RunFolder
    from persona_tui.models.training import TrainingRun
    from persona_tui.services.training.plan import Plan
    from persona_tui.services.training.probing import Probe

_REMEMBERED = 5


@dataclass(frozen=True)
class Foreseen:
    """How long a training will take, in seconds, and by what that is told."""

    seconds: float
    why: str


def expected_seconds(
    session: Session, run: RunFile, place: Place, *, sources: int = 0, cards: int = 1
) -> float | None:
    """From start to LoRA, by the last runs of this family and quantisation on this card.

    Each counts by what its steps cost beside this recipe's (`planner.step_work`): sizes, batches, class
    preservation. Encoding, evaluations and export are part of what they took, and so are steps that were
    done again after a kill. None where there was none.

    Args:
        sources: pictures that each of an editor's samples carries.
        cards: that share a step.
    """
    values = {"family": run.family, "quantisation": run.quantisation, "card": place.name, "most": _REMEMBERED}
    rates = [rate for row in rows_of(session, _TAKEN, values) if (rate := _rate(row)) is not None]
    return median(rates) * step_work(run, sources, cards) * run.steps if rates else None


def count_time(row: TrainingRun, folder: RunFolder) -> None:
    """Add what the process that has ended took, once: a resumed run took the sum of its processes."""
    beat, told = folder.heartbeat(), dict(row.prediction)
    begun = told.pop("begun", None)
    if beat is not None and begun is not None and beat.beat > begun:
        row.prediction = {**told, "seconds": told.get("seconds", 0.0) + beat.beat - begun}


def foreseen(plan: Plan, probes: Sequence[Probe]) -> Foreseen | None:
    """By earlier trainings, else by the last probe's steps; None where there is neither."""
    if plan.seconds is not None:
        return Foreseen(plan.seconds, "as trainings of this kind took here")
    step = probes[-1].seconds_per_step if probes else None
    if step is None:
        return None
    seconds = _probed(plan.run, step, plan.sources)
    return Foreseen(seconds, "by the probe's step; encoding, looks and export come on top")


def _probed(run: RunFile, seconds: float, sources: int) -> float:
    """Of all steps, by one of a probe, whose pictures were all of the largest size."""
    largest = run.model_copy(update={"buckets": (max(run.buckets),)})
    return seconds * step_work(run, sources) / step_work(largest, sources) * run.steps


def _rate(row: Any) -> float | None:
    """Seconds for each unit of work of a run; None where its recipe can't be read any more."""
    try:
        run = RunFile.model_validate(row.config)
    except ValidationError:
        return None
    return float(row.seconds / step_work(run, row.sources or 0, row.cards))


_TAKEN = """
SELECT (prediction ->> 'seconds')::float / total_steps AS seconds, config,
       (prediction ->> 'sources')::int AS sources, 1 + jsonb_array_length(further_cards) AS cards
FROM training_runs
WHERE base_family = :family AND quantisation = :quantisation AND card = :card
  AND status = 'done' AND total_steps > 0 AND (prediction ->> 'seconds')::float > 0
ORDER BY id DESC LIMIT :most
"""
