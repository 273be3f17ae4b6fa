"""A persona, its content pillars, and what is planned for it."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, Index, Numeric, UniqueConstraint, text
from sqlmodel import Field

from persona_tui.models.base import (
    Table,
    belongs,
    bigint,
    created_at,
    document,
    filled,
    flag,
    identity,
    moment,
    number,
    one_of,
)


class Persona(Table, table=True):
    """A fictional or consenting adult whose pictures are made and posted."""

    __tablename__ = "personas"
    __table_args__ = (
        Index("uq_personas_name", text("lower(name)"), unique=True),
        CheckConstraint("length(btrim(name)) BETWEEN 1 AND 80", name="name_filled"),
        CheckConstraint("age >= 18", name="age_adult"),
        CheckConstraint("posts_per_week > 0 AND posts_per_week <= 70", name="posts_per_week_range"),
        one_of("late_policy", "reslot", "drop", "ask"),
        one_of("autopilot", "off", "propose", "full"),
    )

    id: int = identity()
    name: str
    description: str = filled("")
    age: int
    """Declared age in years; never under 18."""
    fictional: bool = flag(True)
    trigger_word: str = filled("")
    zone: str = filled("UTC")
    """IANA time zone of the audience."""
    posts_per_week: Decimal = Field(
        default=Decimal("3.0"), sa_type=Numeric(4, 1), sa_column_kwargs={"server_default": "3.0"}
    )
    caption_config: dict[str, Any] = document()
    hashtag_strategy: dict[str, Any] = document()
    disclosure: str = filled("")
    """Sentence that says that the persona is AI."""
    late_policy: str = filled("ask")
    autopilot: str = filled("off")
    created_at: datetime = created_at()
    archived_at: datetime | None = moment(default=None)


class ContentPillar(Table, table=True):
    """A theme of a persona's content with its share of the posts."""

    __tablename__ = "content_pillars"
    __table_args__ = (
        UniqueConstraint("persona_id", "name"),
        UniqueConstraint("id", "persona_id"),
        CheckConstraint("length(btrim(name)) BETWEEN 1 AND 80", name="name_filled"),
        CheckConstraint("weight >= 0 AND weight <= 100", name="weight_range"),
        CheckConstraint("priority BETWEEN 1 AND 5", name="priority_range"),
        CheckConstraint("end_date > start_date", name="dates_in_order"),
        CheckConstraint("target_posts_per_week >= 0", name="target_range"),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="RESTRICT")
    name: str
    description: str = filled("")
    weight: Decimal = Field(
        default=Decimal(0), sa_type=Numeric(5, 2), sa_column_kwargs={"server_default": "0"}
    )
    """Share of the posts, percent."""
    active: bool = flag(True)
    start_date: date | None = None
    end_date: date | None = None
    guidelines: dict[str, Any] = document()
    target_posts_per_week: int | None = None
    """Overrides the weight in the gap analysis."""
    priority: int = number(3)
    """5 is the highest."""
    created_at: datetime = created_at()


class GapAnalysis(Table, table=True):
    """What was missing at a moment: the record behind the ideas that followed."""

    __tablename__ = "gap_analyses"
    __table_args__ = (
        UniqueConstraint("id", "persona_id"),
        CheckConstraint("days_ahead BETWEEN 1 AND 366", name="days_ahead_range"),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="CASCADE")
    analyzed_at: datetime = created_at()
    days_ahead: int
    coverage: list[Any] = document("[]")


class Campaign(Table, table=True):
    """A planned group of suggestions and posts."""

    __tablename__ = "campaigns"
    __table_args__ = (UniqueConstraint("id", "persona_id"), UniqueConstraint("persona_id", "name"))

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="CASCADE")
    name: str
    written_by: str = filled("")
    details: dict[str, Any] = document()
    created_at: datetime = created_at()


class ContentSuggestion(Table, table=True):
    """An idea for a cluster of pictures: title, description and the prompt that generates them."""

    __tablename__ = "content_suggestions"
    __table_args__ = (
        UniqueConstraint("id", "persona_id"),
        *belongs("pillar_id", "content_pillars"),
        *belongs("gap_analysis_id", "gap_analyses", optional=True),
        *belongs("campaign_id", "campaigns", optional=True),
        *belongs("cluster_id", "clusters", optional=True),
        one_of("status", "pending", "accepted", "used", "rejected"),
        CheckConstraint("length(btrim(title)) > 0 AND length(btrim(prompt)) > 0", name="filled"),
        CheckConstraint("status <> 'used' OR cluster_id IS NOT NULL", name="used_has_cluster"),
        Index("ix_content_suggestions_open", "persona_id", "status"),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="CASCADE")
    pillar_id: int = bigint()
    gap_analysis_id: int | None = bigint(default=None)
    campaign_id: int | None = bigint(default=None)
    cluster_id: int | None = bigint(default=None)
    title: str
    description: str = filled("")
    prompt: str
    status: str = filled("pending")
    reason: str = filled("")
    """Why it was proposed, or why it was rejected."""
    written_by: str = filled("")
    """Model that wrote it, or `operator`, or `template`."""
    prompt_data: dict[str, Any] = document()
    created_at: datetime = created_at()
    decided_at: datetime | None = moment(default=None)


class ContentStrategyState(Table, table=True):
    """Which strategy a persona follows, and what the strategy remembers."""

    __tablename__ = "content_strategy_states"

    persona_id: int = bigint(foreign_key="personas.id", primary_key=True, ondelete="CASCADE")
    active_strategy: str = filled("rotation")
    strategy_config: dict[str, Any] = document()
    state_data: dict[str, Any] = document()
    started_at: datetime = created_at()


class ContentStrategyHistory(Table, table=True):
    """One decision of a strategy, with its reasons."""

    __tablename__ = "content_strategy_histories"
    __table_args__ = (
        *belongs("post_id", "scheduling_posts", ondelete="CASCADE"),
        *belongs("pillar_id", "content_pillars", optional=True),
        *belongs("cluster_id", "clusters", optional=True),
        Index("ix_content_strategy_histories_recent", "persona_id", "created_at"),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="CASCADE")
    post_id: int = bigint()
    pillar_id: int | None = bigint(default=None)
    cluster_id: int | None = bigint(default=None)
    strategy_name: str
    decision_context: dict[str, Any] = document()
    created_at: datetime = created_at()
