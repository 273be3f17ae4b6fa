"""Gates: what goes on to the next step, and taking that back; what is rejected, and what wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.models.pipeline import GateMember, PipelineRun
from persona_tui.services.generation import progress, tree
from persona_tui.services.generation.gate_preview import (
    GateCandidate,
    GatePreview,
    following_step,
    gate_preview,
    ranked_candidates,
    require_positive,
    run_of_step,
    steps_at,
)
from persona_tui.services.generation.progress import RunStepView
from persona_tui.services.generation.rejection import Rejection, reject, unreject
from persona_tui.services.generation.winner import WinnerView, choose_winner, unchoose_winner


@dataclass(frozen=True)
class Approval:
    """What an approval did.

    Attributes:
        opened: pictures to come in the next step.
        stopped: pictures of this step that were under way and are no longer made.
    """

    run_id: int
    run_step_id: int
    candidate_ids: tuple[int, ...]
    opened: int
    stopped: int = 0


@dataclass(frozen=True)
class Unapproval:
    """What taking an approval back did.

    Attributes:
        withdrawn: pictures of the next step that are no longer made.
        night_ended: the run's night policy was switched off, or it would approve again at once.
    """

    run_id: int
    run_step_id: int
    withdrawn: int
    night_ended: bool


def approve(session: Session, run_step_id: int, k: int, *, actor: str) -> Approval:
    """Let the k best pictures of a step go on; the set is stored and stays as it is.

    What is still being made for the step is stopped: its gate is passed, so it could go nowhere.
    `gate_preview` says that beforehand, and whether the ranking is unsure.

    Raises:
        UnknownName: there is no such step.
        InvalidRequest: k is under 1 or more than there are pictures.
        NotAllowedNow: an earlier step is not approved, there is no picture, it is approved already, or the
            run has ended.
    """
    require_positive(k)
    run = progress.lock_run(session, run_of_step(session, run_step_id))
    ranked = [member.candidate_id for member in ranked_candidates(session, run_step_id)]
    return _pass_gate(session, run, run_step_id, ranked[:k], k, actor=actor)


def approve_these(
    session: Session, run_step_id: int, candidate_ids: Sequence[int], *, actor: str, reason: str
) -> Approval:
    """Let exactly these pictures of a step go on, the best first.

    Args:
        reason: why these, for the trail and for whoever looks at the run.

    Raises:
        UnknownName, NotAllowedNow: as `approve`.
        InvalidRequest: none was named, or one is not an active picture of the step.
    """
    require_positive(len(candidate_ids))
    run = progress.lock_run(session, run_of_step(session, run_step_id))
    known = {member.candidate_id for member in ranked_candidates(session, run_step_id)}
    stray = next((one for one in candidate_ids if one not in known), None)
    if stray is not None:
        raise InvalidRequest(
            f"Picture {stray} can't go on: it is rejected, or of another step.",
            hint="`persona-tui run show` lists the step's pictures.",
        )
    return _pass_gate(
        session, run, run_step_id, candidate_ids, len(candidate_ids), actor=actor, reason=reason
    )


def unapprove(session: Session, run_step_id: int, *, actor: str, stop: bool = False) -> Unapproval:
    """Shut a gate again while nothing has come of it: what waits for the next step is withdrawn.

    Votes go on where they stood, and places of the step itself that its approval closed open again.

    Args:
        stop: also stop what a server is working on for the next step.

    Raises:
        UnknownName: there is no such step.
        NotAllowedNow: it is not approved, the next one is approved too, an active picture was made from it
            or is being made, or the run is completed or cancelled.
    """
    run = progress.lock_run(session, run_of_step(session, run_step_id))
    steps, step = steps_at(session, run.id, run_step_id)
    following = following_step(steps, step)
    _require_revocable(session, run, step, following, stop)
    withdrawn = 0
    if following is not None:
        withdrawn = following.open + following.in_flight
        tree.cancel_jobs(session, run.id, run_step_id=following.id)
        _forget_failures(session, following.id)
    session.execute(
        text(
            "WITH gone AS (DELETE FROM gate_members WHERE run_step_id = :step)"
            " UPDATE pipeline_run_steps SET approved_at = NULL, approved_by = '', approval_reason = ''"
            " WHERE id = :step"
        ),
        {"step": run_step_id},
    )
    night_ended, run.night, run.night_at = run.night != "off", "off", None
    session.add(run)
    tree.settle_slots(session, run.id)
    progress.refresh_run(session, run)
    tree.record_act(session, run, actor, "gate.unapprove", f"pipeline_run_steps:{run_step_id}", [])
    return Unapproval(run.id, run_step_id, withdrawn, night_ended)


def _pass_gate(
    session: Session,
    run: PipelineRun,
    run_step_id: int,
    members: Sequence[int],
    k: int,
    *,
    actor: str,
    reason: str = "",
) -> Approval:
    steps, step = steps_at(session, run.id, run_step_id)
    _require_approvable(run, step, k)
    for rank, candidate_id in enumerate(members, start=1):
        session.add(GateMember(run_step_id=run_step_id, image_candidate_id=candidate_id, rank=rank))
    session.flush()
    session.execute(
        text(
            "UPDATE pipeline_run_steps SET approved_at = persona_now(), approved_by = :actor, top_k = :k,"
            " approval_reason = :reason WHERE id = :step"
        ),
        {"actor": actor, "k": k, "reason": reason, "step": run_step_id},
    )
    stopped = tree.cancel_jobs(session, run.id, run_step_id=run_step_id)
    following = following_step(steps, step)
    if following is not None:
        tree.open_slots(session, run.id, following.id, members, following.children_per_parent)
    tree.settle_slots(session, run.id)
    progress.refresh_run(session, run)
    subject = f"pipeline_run_steps:{run_step_id}"
    tree.record_act(session, run, actor, "gate.approve", subject, members, **_told(reason))
    following = following_step(*steps_at(session, run.id, run_step_id))
    return Approval(run.id, run_step_id, tuple(members), following.open if following else 0, stopped)


def _told(reason: str) -> dict[str, str]:
    return {"reason": reason} if reason else {}


def _require_approvable(run: PipelineRun, step: RunStepView, k: int) -> None:
    if run.status in ("completed", "failed", "cancelled"):
        hint = "Resume the run first." if run.status == "failed" else "Reopen the run first."
        raise NotAllowedNow(f"Run {run.id} is {run.status}.", hint=hint)
    if not step.is_open:
        raise NotAllowedNow("An earlier step is not approved yet.", hint="Approve the steps in their order.")
    if step.approved:
        raise NotAllowedNow(
            f"Step {step.position}, {step.name}, is approved already.",
            hint="Take the approval back to choose others: `persona-tui run unapprove`.",
        )
    if not step.active:
        hint = "Wait for the first one." if step.open + step.in_flight else "Take a rejection back."
        raise NotAllowedNow("There is no picture that could go on.", hint=hint)
    if k > step.active:
        raise InvalidRequest(
            f"{k} pictures can't go on: there are {step.active}.", hint=f"Choose 1 to {step.active}."
        )


def _require_revocable(
    session: Session, run: PipelineRun, step: RunStepView, following: RunStepView | None, stop: bool
) -> None:
    if run.status in ("completed", "cancelled"):
        raise NotAllowedNow(f"Run {run.id} is {run.status}.", hint="Reopen the run first.")
    if not step.approved:
        raise NotAllowedNow(
            f"Step {step.position}, {step.name}, is not approved.", hint="There is nothing to take back."
        )
    if following is None:
        return
    if following.approved:
        raise NotAllowedNow(
            f"Step {following.position}, {following.name}, is approved too.",
            hint="Take that approval back first.",
        )
    if following.active:
        raise NotAllowedNow(
            f"{following.active} pictures of {following.name} were made from it already.",
            hint="Reject them first, or clone the run.",
        )
    if not stop and (busy := _being_made(session, following.id)):
        raise NotAllowedNow(
            f"A server is making {busy} pictures of {following.name} just now.",
            hint="Take the approval back with --yes to stop them, or wait and reject what comes.",
        )


def _being_made(session: Session, run_step_id: int) -> int:
    return int(
        session.execute(
            text(
                "SELECT count(*) FROM comfyui_jobs"
                " WHERE run_step_id = :step AND state IN ('running', 'storing')"
            ),
            {"step": run_step_id},
        ).scalar_one()
    )


def _forget_failures(session: Session, run_step_id: int) -> None:
    """What was given up under this gate is tried again under the next one."""
    session.execute(
        text(
            "UPDATE generation_slots SET state = 'open', failures = 0"
            " WHERE run_step_id = :step AND state = 'failed'"
        ),
        {"step": run_step_id},
    )


__all__ = [
    "Approval",
    "GateCandidate",
    "GatePreview",
    "Rejection",
    "Unapproval",
    "WinnerView",
    "approve",
    "approve_these",
    "choose_winner",
    "gate_preview",
    "reject",
    "unapprove",
    "unchoose_winner",
    "unreject",
]
