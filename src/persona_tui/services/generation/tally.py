"""How many runs there are of each status."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text
from sqlmodel import Session


def tally(session: Session, persona_id: int | None = None) -> Mapping[str, int]:
    """Runs by status; a status that no run has is left out.

    Args:
        persona_id: only of this persona.
    """
    rows = session.execute(
        text(
            "SELECT status, count(*) AS runs FROM pipeline_runs"
            " WHERE CAST(:persona AS bigint) IS NULL OR persona_id = :persona GROUP BY status"
        ),
        {"persona": persona_id},
    )
    return {row.status: row.runs for row in rows}
