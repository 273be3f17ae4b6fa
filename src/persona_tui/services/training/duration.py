"""How long a training will take, by what those before it took."""

from __future__ import annotations

from statistics import median

from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.gpu.training.run_file import RunFile
from persona_tui.services.lease import Place

_REMEMBERED = 5


def expected_seconds(session: Session, run: RunFile, place: Place) -> float | None:
    """From start to LoRA, by the last runs of this family and quantisation on this card.

    Encoding, evaluations and export are part of what those took. None where there was none.
    """
    values = {"family": run.family, "quantisation": run.quantisation, "card": place.name, "most": _REMEMBERED}
    rows = rows_of(session, _TAKEN, values)
    return median(row.seconds for row in rows) * run.steps if rows else None


_TAKEN = """
SELECT extract(epoch FROM finished_at - started_at)::float / total_steps AS seconds
FROM training_runs
WHERE base_family = :family AND quantisation = :quantisation AND card = :card
  AND status = 'done' AND attempt = 1 AND total_steps > 0 AND finished_at > started_at
ORDER BY id DESC LIMIT :most
"""
