"""What is worth knowing about a run though it goes on."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, UniqueConstraint

from persona_tui.models.base import Table, bigint, created_at, identity


class RunWarning(Table, table=True):
    """A sentence about a run, said once however often it is found."""

    __tablename__ = "run_warnings"
    __table_args__ = (
        UniqueConstraint("run_id", "sentence"),
        CheckConstraint("length(btrim(sentence)) > 0", name="sentence_filled"),
    )

    id: int = identity()
    run_id: int = bigint(foreign_key="pipeline_runs.id", ondelete="CASCADE")
    kind: str
    sentence: str
    created_at: datetime = created_at()
