"""A persona's pictures: photos, clusters, and what is known about each picture."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pgvector.sqlalchemy import Vector
from sqlalchemy import CheckConstraint, Column, Index, UniqueConstraint, text
from sqlmodel import Field

from persona_tui.models.base import (
    Table,
    belongs,
    bigint,
    created_at,
    document,
    exactly_one,
    filled,
    flag,
    identity,
    number,
    one_of,
)

EMBEDDING_DIMENSIONS = 512


class Cluster(Table, table=True):
    """A batch of pictures that belong together."""

    __tablename__ = "clusters"
    __table_args__ = (
        UniqueConstraint("id", "persona_id"),
        Index("uq_clusters_persona_id_name", "persona_id", text("lower(name)"), unique=True),
        CheckConstraint("length(btrim(name)) BETWEEN 1 AND 120", name="name_filled"),
        one_of("status", "active", "unusable"),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="RESTRICT")
    name: str
    status: str = filled("active")
    ai_prompt: str = filled("")
    """Prompt that generates more pictures for this cluster."""
    created_at: datetime = created_at()


class PillarClusterAssignment(Table, table=True):
    """A cluster serves a pillar; one pillar is its primary one and counts its pictures."""

    __tablename__ = "pillar_cluster_assignments"
    __table_args__ = (
        UniqueConstraint("pillar_id", "cluster_id"),
        *belongs("pillar_id", "content_pillars", ondelete="CASCADE"),
        *belongs("cluster_id", "clusters", ondelete="CASCADE"),
        Index(
            "uq_pillar_cluster_assignments_primary",
            "cluster_id",
            unique=True,
            postgresql_where=text('"primary"'),
        ),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="CASCADE")
    pillar_id: int = bigint()
    cluster_id: int = bigint(index=True)
    primary: bool = flag()
    notes: str = filled("")


class Photo(Table, table=True):
    """A real photograph or film that was imported."""

    __tablename__ = "photos"
    __table_args__ = (
        UniqueConstraint("id", "persona_id"),
        UniqueConstraint("persona_id", "sha256"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256_form"),
        CheckConstraint("width > 0 AND height > 0", name="size_positive"),
        one_of("kind", "still", "video"),
        one_of("stage", "staged", "accepted", "rejected"),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="RESTRICT")
    kind: str = filled("still")
    stage: str = filled("accepted")
    sha256: str
    media_key: str
    """Where media storage keeps the original."""
    original_name: str = filled("")
    format: str
    width: int
    height: int
    byte_count: int = bigint()
    created_at: datetime = created_at()


class Embedding(Table, table=True):
    """A picture's place in the space of one embedding model."""

    __tablename__ = "embeddings"
    __table_args__ = (
        exactly_one("one_picture", "photo_id", "image_candidate_id"),
        UniqueConstraint("photo_id", "model_hash"),
        UniqueConstraint("image_candidate_id", "model_hash"),
        Index(
            "ix_embeddings_vector",
            "vector",
            postgresql_using="hnsw",
            postgresql_with={"m": 16, "ef_construction": 64},
            postgresql_ops={"vector": "vector_cosine_ops"},
        ),
    )

    id: int = identity()
    photo_id: int | None = bigint(default=None, foreign_key="photos.id", ondelete="CASCADE")
    image_candidate_id: int | None = bigint(
        default=None, foreign_key="image_candidates.id", ondelete="CASCADE"
    )
    model: str
    model_hash: str
    """Vectors of two models are never compared."""
    vector: Any = Field(sa_column=Column(Vector(EMBEDDING_DIMENSIONS), nullable=False))
    created_at: datetime = created_at()


class PictureAnalysis(Table, table=True):
    """What was measured on a picture; a null says that it is not known."""

    __tablename__ = "picture_analyses"
    __table_args__ = (
        exactly_one("one_picture", "photo_id", "image_candidate_id"),
        CheckConstraint("exposure BETWEEN 0 AND 1", name="exposure_range"),
        CheckConstraint("sharpness >= 0", name="sharpness_range"),
        UniqueConstraint("photo_id"),
        UniqueConstraint("image_candidate_id"),
    )

    id: int = identity()
    photo_id: int | None = bigint(default=None, foreign_key="photos.id", ondelete="CASCADE")
    image_candidate_id: int | None = bigint(
        default=None, foreign_key="image_candidates.id", ondelete="CASCADE"
    )
    sharpness: float | None = None
    """Variance of the Laplacian on the 8-bit grey picture at 512 px."""
    exposure: float | None = None
    """Mean grey level, 0 black to 1 white."""
    details: dict[str, Any] = document()
    created_at: datetime = created_at()


class ClusterCandidate(Table, table=True):
    """A picture's membership in a cluster: the only one there is."""

    __tablename__ = "cluster_candidates"
    __table_args__ = (
        exactly_one("one_picture", "photo_id", "image_candidate_id"),
        UniqueConstraint("cluster_id", "photo_id"),
        UniqueConstraint("cluster_id", "image_candidate_id"),
        *belongs("cluster_id", "clusters", ondelete="CASCADE"),
        *belongs("photo_id", "photos", ondelete="CASCADE"),
        *belongs("image_candidate_id", "image_candidates", ondelete="CASCADE"),
        Index("ix_cluster_candidates_photo", "photo_id"),
        Index("ix_cluster_candidates_image_candidate", "image_candidate_id"),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="CASCADE")
    cluster_id: int = bigint()
    photo_id: int | None = bigint(default=None)
    image_candidate_id: int | None = bigint(default=None)
    display_order: int = number(0)
    details: dict[str, Any] = document()
    """Rating, pipeline and run that brought it here."""
    created_at: datetime = created_at()


class MediaRemoval(Table, table=True):
    """A picture's files that are to go: noted with the deletion of what named them, removed after it."""

    __tablename__ = "media_removals"
    __table_args__ = (
        UniqueConstraint("media_key"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256_form"),
    )

    id: int = identity()
    media_key: str
    sha256: str
    created_at: datetime = created_at()
