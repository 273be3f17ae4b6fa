"""Rejecting a picture with all that grew from it, and taking that back."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session, col, select

from persona_tui.errors import NotAllowedNow
from persona_tui.models.pipeline import ImageCandidate, PipelineRun
from persona_tui.services import events
from persona_tui.services.generation import progress, tree

_WITH = "rejected_with"
"""Key in a candidate's provenance: the candidate whose rejection took it along."""


@dataclass(frozen=True)
class Rejection:
    """What was rejected, or taken back: a candidate with all that grew from it."""

    run_id: int
    candidate_ids: tuple[int, ...]


def reject(session: Session, candidate_id: int, *, actor: str = "operator") -> Rejection:
    """Reject a picture with all that grew from it; its place, where the gate is still shut, opens again.

    Raises:
        UnknownName: there is no such candidate.
        NotAllowedNow: it, or something that grew from it, is the winner.
    """
    run = progress.lock_run(session, tree.get_candidate(session, candidate_id).run_id)
    branch = _branch(session, candidate_id)
    if any(candidate.winner for candidate in branch):
        raise NotAllowedNow("The winner is part of that branch.", hint="Choose another winner first.")
    gone = [candidate for candidate in branch if candidate.status == "active"]
    if candidate_id not in {candidate.id for candidate in gone}:
        return Rejection(run.id, ())
    for candidate in gone:
        candidate.status = "rejected"
        candidate.provenance = {**candidate.provenance, _WITH: candidate_id}
        session.add(candidate)
    session.flush()
    ids = tuple(candidate.id for candidate in gone)
    tree.cancel_jobs(session, run.id, parents=ids)
    _shut_empty_gates(session, run.id)
    tree.reopen_slots(session, run.id)
    _finish_change(session, run, actor, "candidate.reject", candidate_id, ids)
    return Rejection(run.id, ids)


def unreject(session: Session, candidate_id: int, *, actor: str = "operator") -> Rejection:
    """Take a rejection back: the picture and what was rejected together with it are active again.

    A job that is under way to replace one of them is cancelled.

    Raises:
        UnknownName: there is no such candidate.
        NotAllowedNow: it went together with a picture that it grew from.
    """
    run = progress.lock_run(session, tree.get_candidate(session, candidate_id).run_id)
    candidate = tree.get_candidate(session, candidate_id)
    if candidate.status == "active":
        return Rejection(run.id, ())
    cause = candidate.provenance.get(_WITH, candidate_id)
    if cause != candidate_id:
        raise NotAllowedNow(
            f"It was rejected together with picture {cause}, from which it grew.",
            hint=f"Take the rejection of picture {cause} back.",
        )
    back = [
        one
        for one in _branch(session, candidate_id)
        if one.status == "rejected" and one.provenance.get(_WITH, candidate_id) == candidate_id
    ]
    parent = session.get(ImageCandidate, candidate.parent_id) if candidate.parent_id is not None else None
    if parent is not None and parent.status == "rejected":
        raise NotAllowedNow(
            f"Picture {parent.id}, from which it grew, is rejected.", hint="Take that rejection back first."
        )
    for one in back:
        one.status = "active"
        one.provenance = {name: value for name, value in one.provenance.items() if name != _WITH}
        session.add(one)
    session.flush()
    _fill_slots(session, run.id, [one.slot_id for one in back])
    ids = tuple(one.id for one in back)
    _finish_change(session, run, actor, "candidate.unreject", candidate_id, ids)
    return Rejection(run.id, ids)


def _branch(session: Session, candidate_id: int) -> list[ImageCandidate]:
    """The candidate and all that grew from it, their rows locked against votes that bring scores forward."""
    ids = session.execute(
        text(
            "WITH RECURSIVE branch (id) AS (SELECT CAST(:root AS bigint)"
            " UNION ALL SELECT i.id FROM image_candidates i JOIN branch b ON i.parent_id = b.id)"
            " SELECT id FROM branch"
        ),
        {"root": candidate_id},
    )
    rows = session.exec(
        select(ImageCandidate)
        .where(col(ImageCandidate.id).in_(list(ids.scalars())))
        .order_by(col(ImageCandidate.id))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return list(rows.all())


def _shut_empty_gates(session: Session, run_id: int) -> None:
    """A gate of whose members none is left was no approval: its step is open for another one."""
    session.execute(
        text(
            "WITH empty AS ("
            " UPDATE pipeline_run_steps st SET approved_at = NULL, approved_by = ''"
            " WHERE st.run_id = :run AND st.approved_at IS NOT NULL AND NOT EXISTS ("
            "  SELECT FROM gate_members g JOIN image_candidates i ON i.id = g.image_candidate_id"
            "  WHERE g.run_step_id = st.id AND i.status = 'active')"
            " RETURNING st.id)"
            " DELETE FROM gate_members g USING empty WHERE g.run_step_id = empty.id"
        ),
        {"run": run_id},
    )


def _fill_slots(session: Session, run_id: int, slots: list[int]) -> None:
    tree.cancel_jobs(session, run_id, slots=slots)
    session.execute(
        text("UPDATE generation_slots SET state = 'filled' WHERE id = ANY (:slots)"), {"slots": slots}
    )


def _finish_change(
    session: Session, run: PipelineRun, actor: str, action: str, candidate_id: int, ids: tuple[int, ...]
) -> None:
    for changed in ids:
        events.emit(session, "candidate", changed)
    progress.refresh_run(session, run)
    tree.record_act(session, run, actor, action, f"image_candidates:{candidate_id}", ids)
