"""Where a run stands: its steps with their counts, and the status that follows from them.

Every change of a run's tree happens under the lock of the run's row (`lock_run`) and ends with `refresh_run`,
so that the stored status is true at each commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlmodel import Session, select

from persona_tui.database.driver import rows_of
from persona_tui.errors import UnknownName
from persona_tui.models.pipeline import PipelineRun
from persona_tui.services import events

ACTIVE = ("pending", "running", "waiting")
SETTLED = ("paused", "completed", "failed", "cancelled")
"""Statuses that only an act of the operator, or the engine's failure, sets and lifts."""


@dataclass(frozen=True)
class RunStepView:
    """A step of a run.

    Attributes:
        children_per_parent: N.
        top_k: K, as planned or as approved.
        wanted: pictures that the step will have: those that there are and the places that still want one.
            More than were planned once a rejection was taken back after its successor was made, or where a
            workflow gives several at once; before the step opens, as many as the plan gives.
        active, rejected: pictures.
        open: places that wait for the engine.
        in_flight: places with a job.
        queued: of those in flight, whose job no server has been sent yet; in a run that does not go on they
            wait until it does.
        failed: places given up after their failures.
        unseen: open or in-flight places that never had a picture.
        approved_by, approval_reason: who passed its gate, and why where no person did.
        is_open: every earlier step is approved.
        is_last: its pictures may win.
    """

    id: int
    run_id: int
    position: int
    name: str
    children_per_parent: int
    top_k: int
    approved_at: datetime | None
    contest_id: int | None
    wanted: int
    active: int
    rejected: int
    open: int
    in_flight: int
    failed: int
    unseen: int
    is_open: bool
    is_last: bool
    approved_by: str = ""
    approval_reason: str = ""
    queued: int = 0

    @property
    def sent(self) -> int:
        """Places whose job is on its way to a server, or there."""
        return self.in_flight - self.queued

    @property
    def approved(self) -> bool:
        """Whether its gate has been passed."""
        return self.approved_at is not None

    @property
    def contest_ready(self) -> bool:
        """Whether there is something to vote on."""
        return self.active >= 2 and not self.approved


@dataclass(frozen=True)
class Standing:
    """A run's status with the counts from which it follows, of one instant."""

    status: str
    reason: str
    steps: tuple[RunStepView, ...]


_STEPS = """
SELECT r.status AS run_status, r.reason AS run_reason,
       st.run_id, st.id, st.position, ps.name, st.children_per_parent, st.top_k, st.approved_at,
       st.approved_by, st.approval_reason,
       c.id AS contest_id, slots.open, slots.busy, slots.queued, slots.failed,
       slots.unseen,
       pictures.active, pictures.rejected
FROM pipeline_run_steps st
JOIN pipeline_runs r ON r.id = st.run_id
JOIN pipeline_steps ps ON ps.id = st.pipeline_step_id
LEFT JOIN contests c ON c.run_step_id = st.id
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE s.state = 'open') AS open,
         count(*) FILTER (WHERE s.state = 'busy') AS busy,
         count(*) FILTER (WHERE s.state = 'busy' AND EXISTS (
           SELECT FROM comfyui_jobs j WHERE j.slot_id = s.id AND j.state = 'queued')) AS queued,
         count(*) FILTER (WHERE s.state = 'failed') AS failed,
         count(*) FILTER (WHERE s.state IN ('open', 'busy')
           AND NOT EXISTS (SELECT FROM image_candidates h WHERE h.slot_id = s.id)) AS unseen
  FROM generation_slots s LEFT JOIN image_candidates p ON p.id = s.parent_id
  WHERE s.run_step_id = st.id AND (s.parent_id IS NULL OR p.status = 'active')
) slots
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE i.status = 'active') AS active,
         count(*) FILTER (WHERE i.status = 'rejected') AS rejected
  FROM image_candidates i WHERE i.run_step_id = st.id
) pictures
WHERE st.run_id = ANY (:runs)
ORDER BY st.run_id, st.position
"""


def load_standings(session: Session, run_ids: Sequence[int]) -> dict[int, Standing]:
    """Where some runs stand, in one query: a status read apart could be newer than the counts."""
    steps: dict[int, list[RunStepView]] = {run_id: [] for run_id in run_ids}
    rows = session.execute(text(_STEPS), {"runs": list(run_ids)}).all()
    last = {row.run_id: row.position for row in rows}
    for row in rows:
        before = steps[row.run_id]
        is_open = not before or (before[-1].is_open and before[-1].approved)
        planned = row.children_per_parent
        if before:
            planned *= min(before[-1].top_k, before[-1].wanted)
        before.append(
            RunStepView(
                id=row.id,
                run_id=row.run_id,
                position=row.position,
                name=row.name,
                children_per_parent=row.children_per_parent,
                top_k=row.top_k,
                approved_at=row.approved_at,
                contest_id=row.contest_id,
                wanted=row.active + row.open + row.busy + row.failed if is_open else planned,
                active=row.active,
                rejected=row.rejected,
                open=row.open,
                in_flight=row.busy,
                queued=row.queued,
                failed=row.failed,
                unseen=row.unseen,
                is_open=is_open,
                is_last=row.position == last[row.run_id],
                approved_by=row.approved_by,
                approval_reason=row.approval_reason,
            )
        )
    told = {row.run_id: (row.run_status, row.run_reason) for row in rows}
    return {run_id: Standing(*told[run_id], tuple(steps[run_id])) for run_id in told}


def load_steps(session: Session, run_ids: Sequence[int]) -> dict[int, tuple[RunStepView, ...]]:
    """The steps of some runs with their counts, in one query."""
    found = load_standings(session, run_ids)
    return {run_id: found[run_id].steps if run_id in found else () for run_id in run_ids}


def steps_of(session: Session, run_id: int) -> tuple[RunStepView, ...]:
    """The steps of one run."""
    return load_steps(session, [run_id])[run_id]


def current_step(steps: Sequence[RunStepView]) -> RunStepView:
    """The step at which the run stands: the first unapproved one, or the last."""
    return next((step for step in steps if not step.approved), steps[-1])


def lock_run(session: Session, run_id: int) -> PipelineRun:
    """The run's row, locked until the transaction ends; the first lock that any change of a run takes.

    Raises:
        UnknownName: there is no such run.
    """
    query = select(PipelineRun).where(PipelineRun.id == run_id).with_for_update(key_share=True)
    run = session.exec(query.execution_options(populate_existing=True)).first()
    if run is None:
        raise UnknownName(f"There is no run {run_id}.", hint="`persona-tui run list` shows what there is.")
    return run


def hold_runs(session: Session, run_ids: Sequence[int]) -> None:
    """Lock runs' rows as `lock_run` does, by rising id, for a change that needs nothing of them."""
    rows_of(session, _HOLD, {"runs": list(run_ids)})


def still_growing(session: Session, run_ids: Sequence[int]) -> set[int]:
    """Those that are running with places of their step to fill: nothing in their status is to change then."""
    return {row.id for row in rows_of(session, _GROWING, {"runs": list(run_ids)})}


_HOLD = """
SELECT id FROM pipeline_runs WHERE id = ANY (CAST(:runs AS bigint[])) ORDER BY id FOR NO KEY UPDATE
"""
_GROWING = """
SELECT r.id FROM unnest(CAST(:runs AS bigint[])) AS asked (id)
JOIN LATERAL (SELECT p.id FROM pipeline_runs p WHERE p.id = asked.id AND p.status = 'running') r ON true
WHERE EXISTS (
  SELECT FROM generation_slots s
  WHERE s.run_id = r.id AND s.state IN ('open', 'busy') AND s.run_step_id = (
    SELECT st.id FROM pipeline_run_steps st WHERE st.run_id = r.id
    ORDER BY st.approved_at IS NOT NULL,
             CASE WHEN st.approved_at IS NULL THEN st.position ELSE -st.position END LIMIT 1)
  AND coalesce((SELECT p.status FROM image_candidates p WHERE p.id = s.parent_id), 'active') = 'active'
)
"""
"""Says of the current step what `_judge` says of its counts, at a picture's price instead of a tree's."""


def refresh_run(session: Session, run: PipelineRun) -> None:
    """Bring the locked run's status in line with its tree, and tell that it changed."""
    session.flush()
    if run.status not in SETTLED:
        run.status, run.reason = _judge(run, steps_of(session, run.id))
        session.add(run)
        session.flush()
    events.emit(session, "run", run.id)


def _judge(run: PipelineRun, steps: Sequence[RunStepView]) -> tuple[str, str]:
    step = current_step(steps)
    if step.open or step.in_flight:
        untouched = run.status == "pending" and not step.in_flight and not step.active and not step.rejected
        return ("pending" if untouched else "running"), run.reason
    if step.active:
        return "waiting", run.reason
    return "failed", run.reason or f"Step {step.position}, {step.name}, has no picture."
