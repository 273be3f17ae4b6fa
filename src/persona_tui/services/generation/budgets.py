"""What a run may spend, as the operator sets it and sees it; `spending` does the counting."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.models.budget import RunBudget
from persona_tui.models.pipeline import PipelineRun
from persona_tui.services import events
from persona_tui.services.generation import progress
from persona_tui.services.generation.spending import SPENT_BY_RUN, counted
from persona_tui.services.safety import audit

MOST_PICTURES = 1_000_000
MOST_MINUTES = 525_600.0
SPENT = "Its budget of "
"""How the reason of a run begins that was paused because of its budget."""


@dataclass(frozen=True)
class BudgetView:
    """What a run may spend and has spent, jobs under way included.

    Attributes:
        max_pictures, max_gpu_minutes: None: without end.
        pictures: what counts against the limit: those made and those reserved.
        reserved: of them, those that jobs under way are to bring.
    """

    max_pictures: int | None
    pictures: int
    max_gpu_minutes: float | None
    gpu_minutes: float
    reserved: int = 0

    @property
    def made(self) -> int:
        """Pictures that are there."""
        return self.pictures - self.reserved


def budget_of(session: Session, run_id: int) -> BudgetView:
    """What a run may spend and has spent."""
    budget = session.get(RunBudget, run_id, populate_existing=True)
    spent = session.execute(text(SPENT_BY_RUN), {"run": run_id}).one()
    seconds = budget.max_gpu_seconds if budget else None
    return BudgetView(
        max_pictures=budget.max_pictures if budget else None,
        pictures=spent.pictures,
        max_gpu_minutes=None if seconds is None else seconds / 60,
        gpu_minutes=spent.gpu_seconds / 60,
        reserved=spent.reserved,
    )


def open_budget(
    session: Session, run_id: int, *, max_pictures: int | None, max_gpu_minutes: float | None
) -> None:
    """Limit a run; what it has spent so far counts. The caller holds the run's lock, or made the run.

    Raises:
        InvalidRequest: a limit is not above zero, or beyond all reason.
    """
    _require_sane(max_pictures, max_gpu_minutes)
    if max_pictures is None and max_gpu_minutes is None:
        session.execute(text("DELETE FROM run_budgets WHERE run_id = :run"), {"run": run_id})
        return
    session.execute(
        text(
            "INSERT INTO run_budgets (run_id, max_pictures, max_gpu_seconds, pictures, gpu_seconds)"
            " SELECT :run, :pictures, :seconds, spent.pictures, spent.gpu_seconds"
            f" FROM ({SPENT_BY_RUN}) spent"
            " ON CONFLICT (run_id) DO UPDATE SET max_pictures = excluded.max_pictures,"
            "  max_gpu_seconds = excluded.max_gpu_seconds, pictures = excluded.pictures,"
            "  gpu_seconds = excluded.gpu_seconds"
        ),
        {
            "run": run_id,
            "pictures": max_pictures,
            "seconds": None if max_gpu_minutes is None else max_gpu_minutes * 60,
        },
    )


@dataclass(frozen=True)
class Change:
    """A new limit, or with `value` None the end of one."""

    value: float | None


def set_budget(
    session: Session,
    run_id: int,
    *,
    max_pictures: Change | None = None,
    max_gpu_minutes: Change | None = None,
    actor: str = "operator",
) -> BudgetView:
    """Change a run's limits; a run that rests because of its budget goes on where there is room again.

    Args:
        max_pictures, max_gpu_minutes: None leaves that limit as it is.

    Raises:
        UnknownName: there is no such run.
        InvalidRequest: a limit is not above zero.
        NotAllowedNow: the run has ended.
    """
    run = progress.lock_run(session, run_id)
    if run.status in ("completed", "cancelled"):
        raise NotAllowedNow(f"Run {run_id} is {run.status}.", hint="Create a new run.")
    before = budget_of(session, run_id)
    pictures = before.max_pictures if max_pictures is None else max_pictures.value
    minutes = before.max_gpu_minutes if max_gpu_minutes is None else max_gpu_minutes.value
    limit = None if pictures is None else int(pictures)
    open_budget(session, run_id, max_pictures=limit, max_gpu_minutes=minutes)
    after = budget_of(session, run_id)
    if run.status == "paused" and run.reason.startswith(SPENT) and not _is_spent(after):
        run.status, run.reason = "running", ""
    progress.refresh_run(session, run)
    audit.append(
        session,
        actor=actor,
        action="run.budget",
        persona_id=run.persona_id,
        subject=f"pipeline_runs:{run_id}",
        details={"max_pictures": limit, "max_gpu_minutes": minutes},
    )
    return after


def pause_spent(session: Session, run_id: int) -> None:
    """Let a run rest whose budget is spent, and say so; the caller holds its lock."""
    run = session.get_one(PipelineRun, run_id, populate_existing=True)
    view = budget_of(session, run_id)
    run.status = "paused"
    run.reason = f"{SPENT}{_limit_words(view)} is spent; raise it with `persona-tui run budget {run_id}`."
    session.add(run)
    session.flush()
    events.emit(session, "run", run_id)


def _limit_words(view: BudgetView) -> str:
    if view.max_pictures is not None and view.pictures >= view.max_pictures:
        return counted(view.max_pictures, "picture")
    return f"{view.max_gpu_minutes or 0:g} GPU minutes"


def _is_spent(view: BudgetView) -> bool:
    pictures = view.max_pictures is not None and view.pictures >= view.max_pictures
    return pictures or (view.max_gpu_minutes is not None and view.gpu_minutes >= view.max_gpu_minutes)


def _require_sane(max_pictures: int | None, max_gpu_minutes: float | None) -> None:
    if max_pictures is not None and not 1 <= max_pictures <= MOST_PICTURES:
        raise InvalidRequest(
            f"{max_pictures} pictures can't be a limit.", hint=f"Choose 1 to {MOST_PICTURES:,}."
        )
    if max_gpu_minutes is not None and not 0 < max_gpu_minutes <= MOST_MINUTES:
        raise InvalidRequest(
            f"{max_gpu_minutes:g} GPU minutes can't be a limit.", hint="Choose more than 0, up to a year."
        )
