"""Gates that shut because all their members were rejected, and their passing again when that is undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlmodel import Session


@dataclass(frozen=True)
class ShutGate:
    """A gate as it was before it shut.

    Attributes:
        approved_at: ISO with offset.
        members: candidates in the order of their ranks.
    """

    run_step_id: int
    approved_at: str
    approved_by: str
    reason: str
    members: tuple[int, ...]

    def as_document(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**vars(self), "members": list(self.members)}

    @staticmethod
    def of(document: Mapping[str, Any]) -> ShutGate:
        """From what `as_document` gave."""
        return ShutGate(**{**document, "members": tuple(document["members"])})


def shut_empty_gates(session: Session, run_id: int) -> tuple[ShutGate, ...]:
    """Shut each gate of whose members none is left: its step is open for another approval.

    Returns:
        The gates as they were, the earliest step first.
    """
    rows = session.execute(
        text(
            "SELECT st.id, CAST(st.approved_at AS text) AS approved_at, st.approved_by, st.approval_reason,"
            " array(SELECT g.image_candidate_id FROM gate_members g"
            "  WHERE g.run_step_id = st.id ORDER BY g.rank) AS members"
            " FROM pipeline_run_steps st"
            " WHERE st.run_id = :run AND st.approved_at IS NOT NULL AND NOT EXISTS ("
            "  SELECT FROM gate_members g JOIN image_candidates i ON i.id = g.image_candidate_id"
            "  WHERE g.run_step_id = st.id AND i.status = 'active')"
            " ORDER BY st.position"
        ),
        {"run": run_id},
    )
    shut = tuple(
        ShutGate(row.id, row.approved_at, row.approved_by, row.approval_reason, tuple(row.members))
        for row in rows
    )
    session.execute(
        text(
            "WITH gone AS (DELETE FROM gate_members WHERE run_step_id = ANY (:steps))"
            " UPDATE pipeline_run_steps SET approved_at = NULL, approved_by = '', approval_reason = ''"
            " WHERE id = ANY (:steps)"
        ),
        {"steps": [gate.run_step_id for gate in shut]},
    )
    return shut


def reinstate_gates(session: Session, run_id: int, gates: Sequence[ShutGate]) -> tuple[int, ...]:
    """Pass gates again as they were, up to the first one that was approved anew meanwhile.

    Returns:
        Run steps whose gates are passed again.
    """
    passed = []
    for gate in gates:
        found = session.execute(
            text(
                "UPDATE pipeline_run_steps SET approved_at = CAST(:at AS timestamptz), approved_by = :by,"
                " approval_reason = :reason WHERE id = :step AND run_id = :run AND approved_at IS NULL"
                " RETURNING id"
            ),
            {
                "at": gate.approved_at,
                "by": gate.approved_by,
                "reason": gate.reason,
                "step": gate.run_step_id,
                "run": run_id,
            },
        )
        if found.scalar_one_or_none() is None:
            break
        session.execute(
            text(
                "INSERT INTO gate_members (run_step_id, image_candidate_id, rank)"
                " SELECT :step, member, rank FROM unnest(CAST(:members AS bigint[]))"
                " WITH ORDINALITY AS one (member, rank)"
            ),
            {"step": gate.run_step_id, "members": list(gate.members)},
        )
        passed.append(gate.run_step_id)
    return tuple(passed)


def members_of(session: Session, run_id: int) -> frozenset[int]:
    """All candidates that gates of the run let through."""
    rows = session.execute(
        text(
            "SELECT g.image_candidate_id FROM gate_members g"
            " JOIN pipeline_run_steps st ON st.id = g.run_step_id WHERE st.run_id = :run"
        ),
        {"run": run_id},
    )
    return frozenset(rows.scalars())
