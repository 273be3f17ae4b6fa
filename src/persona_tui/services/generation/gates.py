"""Gates: what goes on to the next step, what is rejected, and what wins."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.models.pipeline import GateMember, PipelineRun, PipelineRunStep
from persona_tui.services.generation import progress, tree
from persona_tui.services.generation.progress import RunStepView
from persona_tui.services.generation.rejection import Rejection, reject, unreject
from persona_tui.services.generation.winner import WinnerView, choose_winner

ADVISED_VOTES = 5
"""Below so many votes a picture's place is mostly chance."""


@dataclass(frozen=True)
class GateCandidate:
    """A picture that a gate would let through.

    Attributes:
        rank: 1 is the best.
        votes: that showed it and count.
    """

    candidate_id: int
    rank: int
    elo_score: int
    votes: int


@dataclass(frozen=True)
class GatePreview:
    """What an approval would do.

    Attributes:
        k: how many go on.
        available: active pictures of the step.
        members: best first.
        cost: pictures to come in the next step.
        warnings: sentences on what speaks against it.
    """

    run_id: int
    run_step_id: int
    k: int
    available: int
    members: tuple[GateCandidate, ...]
    cost: int
    warnings: tuple[str, ...]

    @property
    def candidate_ids(self) -> tuple[int, ...]:
        """The members' candidates, best first."""
        return tuple(member.candidate_id for member in self.members)


@dataclass(frozen=True)
class Approval:
    """What an approval did; `opened`: pictures to come in the next step."""

    run_id: int
    run_step_id: int
    candidate_ids: tuple[int, ...]
    opened: int


_RANKED = """
SELECT i.id AS candidate_id, row_number() OVER (ORDER BY i.elo_score DESC, i.id) AS rank, i.elo_score,
       (SELECT count(*) FROM contest_members m JOIN vote_items t ON t.contest_member_id = m.id
        JOIN votes v ON v.id = t.vote_id
        WHERE m.image_candidate_id = i.id AND v.undoes_vote_id IS NULL
          AND NOT EXISTS (SELECT FROM votes u WHERE u.undoes_vote_id = v.id)) AS votes
FROM image_candidates i
WHERE i.run_step_id = :step AND i.status = 'active'
ORDER BY rank
"""


def gate_preview(session: Session, run_step_id: int, k: int) -> GatePreview:
    """What would go on if the step were approved now.

    Args:
        k: wished for; more than there is shows all there is.

    Raises:
        UnknownName: there is no such step.
        InvalidRequest: k is under 1.
    """
    _require_positive(k)
    steps, step = _steps_at(session, _run_of_step(session, run_step_id), run_step_id)
    ranked = _ranked(session, run_step_id)
    following = _following(steps, step)
    members = ranked[:k]
    cost = len(members) * following.children_per_parent if following else 0
    warnings = _warnings(step, ranked, k)
    return GatePreview(step.run_id, step.id, k, len(ranked), members, cost, warnings)


def approve(session: Session, run_step_id: int, k: int, *, actor: str) -> Approval:
    """Let the k best pictures of a step go on; the set is stored and stays as it is.

    Raises:
        UnknownName: there is no such step.
        InvalidRequest: k is under 1 or more than there are pictures.
        NotAllowedNow: an earlier step is not approved, there is no picture, pictures are still to come,
            it is approved already, or the run has ended.
    """
    _require_positive(k)
    run = progress.lock_run(session, _run_of_step(session, run_step_id))
    steps, step = _steps_at(session, run.id, run_step_id)
    _require_approvable(run, step, k)
    members = [member.candidate_id for member in _ranked(session, run_step_id)[:k]]
    for rank, candidate_id in enumerate(members, start=1):
        session.add(GateMember(run_step_id=run_step_id, image_candidate_id=candidate_id, rank=rank))
    session.execute(
        text(
            "UPDATE pipeline_run_steps SET approved_at = persona_now(), approved_by = :actor, top_k = :k"
            " WHERE id = :step"
        ),
        {"actor": actor, "k": k, "step": run_step_id},
    )
    tree.cancel_jobs(session, run.id, run_step_id=run_step_id)
    following = _following(steps, step)
    if following is not None:
        tree.open_slots(session, run.id, following.id, members, following.children_per_parent)
    progress.refresh_run(session, run)
    tree.record_act(session, run, actor, "gate.approve", f"pipeline_run_steps:{run_step_id}", members)
    opened = k * following.children_per_parent if following else 0
    return Approval(run.id, run_step_id, tuple(members), opened)


def _require_positive(k: int) -> None:
    if k < 1:
        raise InvalidRequest(f"{k} pictures can't go on.", hint="Choose 1 or more.")


def _require_approvable(run: PipelineRun, step: RunStepView, k: int) -> None:
    if run.status in ("completed", "failed", "cancelled"):
        hint = "Resume the run first." if run.status == "failed" else "Create a new run."
        raise NotAllowedNow(f"Run {run.id} is {run.status}.", hint=hint)
    if not step.is_open:
        raise NotAllowedNow("An earlier step is not approved yet.", hint="Approve the steps in their order.")
    if step.approved:
        raise NotAllowedNow(f"Step {step.position}, {step.name}, is approved already.")
    if step.unseen:
        raise NotAllowedNow(
            f"{step.unseen} of {step.wanted} pictures are still to come.",
            hint="Wait for them, or cancel the run.",
        )
    if not step.active:
        raise NotAllowedNow("There is no picture that could go on.", hint="Take a rejection back.")
    if k > step.active:
        raise InvalidRequest(
            f"{k} pictures can't go on: there are {step.active}.", hint=f"Choose 1 to {step.active}."
        )


def _run_of_step(session: Session, run_step_id: int) -> int:
    step = session.get(PipelineRunStep, run_step_id)
    if step is None:
        raise UnknownName(f"There is no run step {run_step_id}.", hint="`persona-tui run show` lists them.")
    return step.run_id


def _steps_at(session: Session, run_id: int, run_step_id: int) -> tuple[tuple[RunStepView, ...], RunStepView]:
    steps = progress.steps_of(session, run_id)
    return steps, next(step for step in steps if step.id == run_step_id)


def _following(steps: tuple[RunStepView, ...], step: RunStepView) -> RunStepView | None:
    return next((other for other in steps if other.position == step.position + 1), None)


def _ranked(session: Session, run_step_id: int) -> tuple[GateCandidate, ...]:
    rows = session.execute(text(_RANKED), {"step": run_step_id})
    return tuple(GateCandidate(**row._mapping) for row in rows)


def _warnings(step: RunStepView, ranked: tuple[GateCandidate, ...], k: int) -> tuple[str, ...]:
    found = []
    to_come = step.open + step.in_flight
    if to_come:
        found.append(f"{to_come} of {step.wanted} pictures are still to come.")
    if step.failed:
        found.append(f"{step.failed} of {step.wanted} pictures could not be made.")
    if k > len(ranked):
        found.append(f"There are only {len(ranked)} pictures.")
    few = sum(1 for candidate in ranked if candidate.votes < ADVISED_VOTES)
    if few and len(ranked) > 1:
        found.append(f"{few} of {len(ranked)} pictures have fewer than {ADVISED_VOTES} votes.")
    if k < len(ranked) and ranked[k - 1].elo_score == ranked[k].elo_score:
        found.append(f"Places {k} and {k + 1} have the same rating: the older picture goes on.")
    return tuple(found)


__all__ = [
    "Approval",
    "GateCandidate",
    "GatePreview",
    "Rejection",
    "WinnerView",
    "approve",
    "choose_winner",
    "gate_preview",
    "reject",
    "unreject",
]
