"""Contests and votes: append-only facts, of which scores are a projection."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from pgvector.sqlalchemy import Vector
from sqlalchemy import (
    REAL,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    UniqueConstraint,
    text,
)
from sqlmodel import Field

from persona_tui.models.base import (
    Table,
    bigint,
    created_at,
    exactly_one,
    filled,
    flag,
    identity,
    one_of,
)
from persona_tui.models.library import EMBEDDING_DIMENSIONS


class Contest(Table, table=True):
    """What is voted on: the pictures of a run's step, of a cluster, or of a comparison of models."""

    __tablename__ = "contests"
    __table_args__ = (
        one_of("kind", "run_step", "cluster", "comparison"),
        CheckConstraint(
            "(kind = 'run_step') = (run_step_id IS NOT NULL) "
            "AND (kind = 'cluster') = (cluster_id IS NOT NULL) "
            "AND (comparison_id IS NULL OR kind = 'comparison')",
            name="subject_fits_kind",
        ),
        UniqueConstraint("run_step_id"),
        UniqueConstraint("cluster_id"),
        UniqueConstraint("comparison_id"),
    )

    id: int = identity()
    kind: str
    run_step_id: int | None = bigint(default=None, foreign_key="pipeline_run_steps.id", ondelete="CASCADE")
    cluster_id: int | None = bigint(default=None, foreign_key="clusters.id", ondelete="CASCADE")
    comparison_id: int | None = bigint(default=None, foreign_key="lora_comparisons.id", ondelete="CASCADE")
    """Of two LoRAs; a comparison without one is what a merged cluster left behind."""
    posterior: bytes | None = Field(default=None, sa_type=LargeBinary)
    """Cache of means and covariance; valid for `posterior_vote_id`."""
    posterior_vote_id: int | None = bigint(default=None)
    created_at: datetime = created_at()


class ContestMember(Table, table=True):
    """A picture that takes part in a contest."""

    __tablename__ = "contest_members"
    __table_args__ = (
        UniqueConstraint("id", "contest_id"),
        UniqueConstraint("contest_id", "image_candidate_id"),
        UniqueConstraint("contest_id", "photo_id"),
        UniqueConstraint("comparison_picture_id"),
        exactly_one("one_picture", "image_candidate_id", "photo_id", "comparison_picture_id"),
        Index("ix_contest_members_image_candidate", "image_candidate_id"),
    )

    id: int = identity()
    contest_id: int = bigint(foreign_key="contests.id", ondelete="CASCADE")
    image_candidate_id: int | None = bigint(
        default=None, foreign_key="image_candidates.id", ondelete="CASCADE"
    )
    photo_id: int | None = bigint(default=None, foreign_key="photos.id", ondelete="CASCADE")
    comparison_picture_id: int | None = bigint(
        default=None, foreign_key="lora_comparison_pictures.id", ondelete="CASCADE"
    )
    old_elo: int | None = None
    """Rating that the picture brought along from another program; a prior, not a vote."""
    predicted: float | None = Field(default=None, sa_type=REAL)
    """What the persona's taste says of the picture, on a scale of its own; a prior too."""
    joined_at: datetime = created_at()


class Taste(Table, table=True):
    """What a persona's votes say about pictures that nobody voted on: weights over embeddings."""

    __tablename__ = "tastes"
    __table_args__ = (UniqueConstraint("persona_id", "model_hash"),)

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="CASCADE")
    model_hash: str
    """Of the embeddings' model."""
    weights: Any = Field(sa_column=Column(Vector(EMBEDDING_DIMENSIONS), nullable=False))
    votes: int
    """How many it was learnt from."""
    last_vote_id: int = bigint()
    learnt_at: datetime = created_at()


class Vote(Table, table=True):
    """One press: two to four pictures were shown and one, or none, was chosen. An undo is a vote too."""

    __tablename__ = "votes"
    __table_args__ = (
        UniqueConstraint("id", "contest_id"),
        UniqueConstraint("undoes_vote_id"),
        ForeignKeyConstraint(
            ["undoes_vote_id", "contest_id"], ["votes.id", "votes.contest_id"], name="fk_votes_undoes"
        ),
        CheckConstraint("response_ms >= 0", name="response_range"),
        Index("ix_votes_contest", "contest_id", "id"),
        Index("ix_votes_voter", "voter", "id"),
    )

    id: int = identity()
    contest_id: int = bigint(foreign_key="contests.id", ondelete="CASCADE")
    undoes_vote_id: int | None = bigint(default=None)
    voter: str = filled("operator")
    session: uuid.UUID
    """One sitting of one voter."""
    response_ms: int | None = None
    """Milliseconds from the pictures' appearance to the key."""
    repeat: bool = flag()
    """The same pictures were shown earlier in this sitting, to see whether the voter says the same."""
    created_at: datetime = created_at()


class VoteItem(Table, table=True):
    """A picture that a vote showed, where it stood, and whether it was chosen."""

    __tablename__ = "vote_items"
    __table_args__ = (
        UniqueConstraint("vote_id", "side"),
        UniqueConstraint("vote_id", "contest_member_id"),
        ForeignKeyConstraint(["vote_id", "contest_id"], ["votes.id", "votes.contest_id"], ondelete="CASCADE"),
        ForeignKeyConstraint(
            ["contest_member_id", "contest_id"],
            ["contest_members.id", "contest_members.contest_id"],
            name="fk_vote_items_member",
            ondelete="CASCADE",
        ),
        CheckConstraint("side BETWEEN 1 AND 4", name="side_range"),
        Index("uq_vote_items_chosen", "vote_id", unique=True, postgresql_where=text("chosen")),
    )

    id: int = identity()
    vote_id: int = bigint()
    contest_id: int = bigint()
    contest_member_id: int = bigint()
    side: int
    """1 is the leftmost."""
    chosen: bool = flag()
