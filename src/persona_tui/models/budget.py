"""What runs may spend, and have spent."""

from __future__ import annotations

from datetime import date

from sqlalchemy import CheckConstraint
from sqlmodel import Field

from persona_tui.models.base import Table, bigint, number


class RunBudget(Table, table=True):
    """What a run may spend and has spent; a row only where there is a limit.

    Reserved with the job that is to spend it, in one transaction (R9): `pictures` are those that are there
    and those that jobs under way are to make; `gpu_seconds` is the sum over the run's jobs.
    """

    __tablename__ = "run_budgets"
    __table_args__ = (
        CheckConstraint("max_pictures > 0", name="max_pictures_range"),
        CheckConstraint("max_gpu_seconds > 0", name="max_gpu_seconds_range"),
        CheckConstraint("pictures >= 0 AND gpu_seconds >= 0", name="spent_range"),
    )

    run_id: int = bigint(primary_key=True, foreign_key="pipeline_runs.id", ondelete="CASCADE")
    max_pictures: int | None = None
    pictures: int = number(0)
    max_gpu_seconds: float | None = None
    gpu_seconds: float = number(0)


class DailyBudget(Table, table=True):
    """What all runs together have spent on one of the operator's days; a row only where there is a limit."""

    __tablename__ = "daily_budgets"
    __table_args__ = (CheckConstraint("pictures >= 0 AND gpu_seconds >= 0", name="spent_range"),)

    day: date = Field(primary_key=True)
    pictures: int = number(0)
    gpu_seconds: float = number(0)


__all__ = ["DailyBudget", "RunBudget"]
