"""Rejecting a picture with all that grew from it, and taking that back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session, col, select

from persona_tui.errors import NotAllowedNow
from persona_tui.models.pipeline import ImageCandidate, PipelineRun
from persona_tui.services import events
from persona_tui.services.generation import progress, tree
from persona_tui.services.generation.shut_gates import (
    ShutGate,
    members_of,
    reinstate_gates,
    shut_empty_gates,
)

_WITH = "rejected_with"
"""Key in a candidate's provenance: the candidate whose rejection took it along."""
_SHUT = "shut_gates"
"""Key in a candidate's provenance: gates that its rejection shut, as they were."""


@dataclass(frozen=True)
class Rejection:
    """What was rejected, or taken back: a candidate with all that grew from it."""

    run_id: int
    candidate_ids: tuple[int, ...]


def reject(session: Session, candidate_id: int, *, actor: str = "operator") -> Rejection:
    """Reject a picture with all that grew from it; its place, where the gate is still shut, opens again.

    A gate of whose members none is left is shut again; the picture remembers it.

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
    shut = shut_empty_gates(session, run.id)
    if shut:
        root = next(candidate for candidate in gone if candidate.id == candidate_id)
        root.provenance = {**root.provenance, _SHUT: [gate.as_document() for gate in shut]}
        session.add(root)
    _finish_change(session, run, actor, "candidate.reject", candidate_id, ids)
    return Rejection(run.id, ids)


def unreject(session: Session, candidate_id: int, *, actor: str = "operator") -> Rejection:
    """Take a rejection back: the picture and what was rejected together with it are active again.

    A gate that the rejection shut is passed again as it was, unless others were approved meanwhile; what
    grew from a picture that no longer goes on then stays rejected. A job that is under way to replace one
    of them is cancelled.

    Raises:
        UnknownName: there is no such candidate.
        NotAllowedNow: it went together with a picture that it grew from, or that one does not go on now.
    """
    run = progress.lock_run(session, tree.get_candidate(session, candidate_id).run_id)
    candidate = tree.get_candidate(session, candidate_id)
    if candidate.status == "active":
        return Rejection(run.id, ())
    cause = candidate.provenance.get(_WITH, candidate_id)
    _require_restorable(session, candidate, cause)
    shut = candidate.provenance.get(_SHUT, []) if cause == candidate_id else []
    _forget_rejection(session, candidate)
    reinstated = reinstate_gates(session, run.id, [ShutGate.of(document) for document in shut])
    back = [candidate]
    going_on = members_of(session, run.id)
    for one in _branch(session, candidate_id):
        grows = one.parent_id in going_on and one.parent_id in {restored.id for restored in back}
        if one.status == "rejected" and grows and one.provenance.get(_WITH) == cause:
            _forget_rejection(session, one)
            back.append(one)
    session.flush()
    tree.cancel_jobs(session, run.id, slots=[one.slot_id for one in back])
    for run_step_id in reinstated:
        tree.cancel_jobs(session, run.id, run_step_id=run_step_id)
    ids = tuple(one.id for one in back)
    _finish_change(session, run, actor, "candidate.unreject", candidate_id, ids)
    return Rejection(run.id, ids)


def reject_all(
    session: Session, candidate_ids: Sequence[int], *, actor: str = "operator"
) -> tuple[Rejection, ...]:
    """Reject several pictures with all that grew from them, those that others grew from first.

    Returns:
        What each of them took along, in the order in which they were rejected; empty for one that went
        with another.

    Raises:
        UnknownName: there is no such candidate.
        NotAllowedNow: the winner is among them.
    """
    return tuple(reject(session, one, actor=actor) for one in sorted(set(candidate_ids)))


def unreject_all(
    session: Session, candidate_ids: Sequence[int], *, actor: str = "operator"
) -> tuple[Rejection, ...]:
    """Take several rejections back, those of pictures from which others grew first.

    Raises:
        UnknownName: there is no such candidate.
        NotAllowedNow: one went together with a picture that stays rejected, or its parent does not go on.
    """
    return tuple(unreject(session, one, actor=actor) for one in sorted(set(candidate_ids)))


def _require_restorable(session: Session, candidate: ImageCandidate, cause: int) -> None:
    if cause != candidate.id and tree.get_candidate(session, cause).status == "rejected":
        raise NotAllowedNow(
            f"It was rejected together with picture {cause}, from which it grew.",
            hint=f"Take the rejection of picture {cause} back.",
        )
    if candidate.parent_id is None:
        return
    if tree.get_candidate(session, candidate.parent_id).status == "rejected":
        raise NotAllowedNow(
            f"Picture {candidate.parent_id}, from which it grew, is rejected.",
            hint="Take that rejection back first.",
        )
    if candidate.parent_id not in members_of(session, candidate.run_id):
        raise NotAllowedNow(
            f"Picture {candidate.parent_id}, from which it grew, does not go on now.",
            hint="Approve its step with it first.",
        )


def _forget_rejection(session: Session, candidate: ImageCandidate) -> None:
    candidate.status = "active"
    kept = {name: value for name, value in candidate.provenance.items() if name not in (_WITH, _SHUT)}
    candidate.provenance = kept
    session.add(candidate)


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


def _finish_change(
    session: Session, run: PipelineRun, actor: str, action: str, candidate_id: int, ids: tuple[int, ...]
) -> None:
    for changed in ids:
        events.emit(session, "candidate", changed)
    tree.settle_slots(session, run.id)
    progress.refresh_run(session, run)
    tree.record_act(session, run, actor, action, f"image_candidates:{candidate_id}", ids)
