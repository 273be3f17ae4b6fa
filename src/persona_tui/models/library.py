"""A persona's pictures: photos, clusters, and what is known about each picture."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pgvector.sqlalchemy import HALFVEC, Vector
from sqlalchemy import (
    REAL,
    CheckConstraint,
    Column,
    Computed,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
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
    moment,
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
        one_of("origin", "operator", "built"),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="RESTRICT")
    name: str
    status: str = filled("active")
    origin: str = filled("operator")
    """Who put it together; a new build replaces none, and adds to any."""
    proposed_name: str = filled("")
    """A name that was found for it, until the operator takes or dismisses it."""
    ai_prompt: str = filled("")
    """Prompt that generates more pictures for this cluster."""
    details: dict[str, Any] = document()
    """How it was built: method, model hash, silhouette."""
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
        one_of("kept", "copy", "reference"),
        CheckConstraint("kept = 'copy' OR source_path <> ''", name="reference_has_path"),
        CheckConstraint("stage = 'rejected' OR reject_reason = ''", name="reason_of_rejected"),
        CheckConstraint("(poster_key IS NULL) = (poster_sha256 IS NULL)", name="poster_whole"),
        Index("ix_photos_persona_id_stage", "persona_id", "stage", "id"),
        Index("ix_photos_newest", "persona_id", "created_at", "id"),
        Index("ix_photos_taken", "persona_id", text("coalesce(taken_at, created_at)"), "id"),
        Index("ix_photos_flagged", "persona_id", "created_at", "id", postgresql_where=text("flagged")),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="RESTRICT")
    kind: str = filled("still")
    stage: str = filled("accepted")
    """Only accepted ones count; staged ones wait for a look."""
    reject_reason: str = filled("")
    sha256: str
    media_key: str
    """Where media storage keeps the original; of a reference, where its thumbnail is kept."""
    kept: str = filled("copy")
    source_path: str = filled("")
    """Where the file was; a reference is read from there."""
    poster_key: str | None = None
    """Of a video: its middle frame as a picture in media storage."""
    poster_sha256: str | None = None
    original_name: str = filled("")
    caption: str = filled("")
    flagged: bool = flag()
    format: str
    width: int
    height: int
    byte_count: int = bigint()
    perceptual_hash: int | None = bigint(default=None)
    """64 bits, as a signed number; near-duplicates differ in few of them."""
    taken_at: datetime | None = moment(default=None)
    """When the camera says that it was taken; its clock has no zone and is read as UTC."""
    duration_seconds: float | None = None
    details: dict[str, Any] = document()
    """Codec, frame rate and sound of a video; colour mode, frames of an animation."""
    deleted_at: datetime | None = moment(default=None)
    """Deleted, and can come back until its files are removed."""
    created_at: datetime = created_at()


class PhotoImport(Table, table=True):
    """A folder or file that is being imported; a killed one goes on where it was."""

    __tablename__ = "photo_imports"
    __table_args__ = (
        UniqueConstraint("id", "persona_id"),
        one_of("state", "running", "stopped", "done"),
        one_of("kept", "copy", "reference"),
        *belongs("cluster_id", "clusters", ondelete="CASCADE"),
        Index("ix_photo_imports_persona_id_root", "persona_id", "root"),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="CASCADE")
    root: str
    state: str = filled("running")
    accept: bool = flag()
    """Pictures count at once, without a look."""
    kept: str = filled("copy")
    watch: bool = flag()
    """The folder is looked at again and again."""
    cluster_id: int | None = bigint(default=None)
    created_at: datetime = created_at()
    looked_at: datetime | None = moment(default=None)


class PhotoImportFile(Table, table=True):
    """What became of one file of an import."""

    __tablename__ = "photo_import_files"
    __table_args__ = (
        UniqueConstraint("import_id", "path_bytes"),
        one_of("outcome", "imported", "already there", "failed"),
        ForeignKeyConstraint(["photo_id"], ["photos.id"], ondelete="SET NULL"),
    )

    id: int = identity()
    import_id: int = bigint(foreign_key="photo_imports.id", ondelete="CASCADE")
    path_bytes: bytes = Field(sa_type=LargeBinary)
    """The path below the root as the file system has it; names need not be UTF-8."""
    byte_count: int = bigint()
    modified_ns: int = bigint()
    outcome: str
    sentence: str = filled("")
    photo_id: int | None = bigint(default=None, index=True)
    created_at: datetime = created_at()


class Embedding(Table, table=True):
    """A picture's place in the space of one embedding model."""

    __tablename__ = "embeddings"
    __table_args__ = (
        exactly_one("one_picture", "photo_id", "image_candidate_id"),
        UniqueConstraint("photo_id", "model_hash"),
        UniqueConstraint("image_candidate_id", "model_hash"),
        Index("ix_embeddings_persona_id_model_hash", "persona_id", "model_hash"),
    )

    id: int = identity()
    persona_id: int | None = bigint(default=None, foreign_key="personas.id", ondelete="CASCADE")
    """Of the picture; null for a candidate of a run without a persona."""
    photo_id: int | None = bigint(default=None, foreign_key="photos.id", ondelete="CASCADE")
    image_candidate_id: int | None = bigint(
        default=None, foreign_key="image_candidates.id", ondelete="CASCADE"
    )
    model: str
    model_hash: str
    """Vectors of two models are never compared."""
    vector: Any = Field(sa_column=Column(Vector(EMBEDDING_DIMENSIONS), nullable=False))
    """Of length 1. HNSW indices on it are made for one persona and model each, in the background."""
    compact: Any = Field(
        default=None,
        sa_column=Column(
            HALFVEC(EMBEDDING_DIMENSIONS), Computed("vector::halfvec(512)", persisted=True), nullable=True
        ),
    )
    """The same in half as many bytes, in the row itself (STORAGE PLAIN), for scans of all rows."""
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
    faces: int | None = None
    """How many; null says that nobody looked, 0 that there is none."""
    face_share: float | None = None
    """Height of the best-scored face as a share of the picture's."""
    face_model: str | None = None
    face_vector: list[float] | None = Field(default=None, sa_type=ARRAY(REAL))
    """Of the best-scored face that is large and sure enough."""
    aesthetic: float | None = None
    """1 to 10, by the vision model."""
    safety: str | None = None
    """What services/safety says of the picture; null where it was not asked."""
    caption: str | None = None
    objects: list[Any] | None = Field(default=None, sa_type=JSONB)
    """[{"label", "confidence"}] by the vision model."""
    details: dict[str, Any] = document()
    """Clipped shares, main colours, faces one by one."""
    created_at: datetime = created_at()


class AnalysisOutcome(Table, table=True):
    """How one kind of analysis went for one picture; a kind without a row was not tried yet."""

    __tablename__ = "analysis_outcomes"
    __table_args__ = (
        exactly_one("one_picture", "photo_id", "image_candidate_id"),
        one_of("kind", "measures", "faces", "embedding", "vision", "safety"),
        one_of("state", "done", "failed", "unknown"),
        UniqueConstraint("photo_id", "kind"),
        UniqueConstraint("image_candidate_id", "kind"),
    )

    id: int = identity()
    photo_id: int | None = bigint(default=None, foreign_key="photos.id", ondelete="CASCADE")
    image_candidate_id: int | None = bigint(
        default=None, foreign_key="image_candidates.id", ondelete="CASCADE"
    )
    kind: str
    state: str
    """`unknown`: it can't be done here, since a model or an extra is missing."""
    problem: str = filled("")
    version: str = filled("")
    """Hash of the model or code that did it; another one calls for doing it anew."""
    changed_at: datetime = created_at()


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
        Index("ix_cluster_candidates_order", "cluster_id", "display_order"),
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


class ClusterReview(Table, table=True):
    """A picture that may belong to a cluster; the operator decides."""

    __tablename__ = "cluster_reviews"
    __table_args__ = (
        exactly_one("one_picture", "photo_id", "image_candidate_id"),
        one_of("state", "open", "taken", "dismissed"),
        *belongs("cluster_id", "clusters", ondelete="CASCADE"),
        *belongs("photo_id", "photos", ondelete="CASCADE"),
        *belongs("image_candidate_id", "image_candidates", ondelete="CASCADE"),
        Index(
            "uq_cluster_reviews_photo",
            "photo_id",
            unique=True,
            postgresql_where=text("state = 'open'"),
        ),
        Index(
            "uq_cluster_reviews_image_candidate",
            "image_candidate_id",
            unique=True,
            postgresql_where=text("state = 'open'"),
        ),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="CASCADE")
    photo_id: int | None = bigint(default=None)
    image_candidate_id: int | None = bigint(default=None)
    cluster_id: int = bigint(index=True)
    """The nearest one."""
    distance: float
    """Cosine distance to its centre, 0 to 2."""
    runner_up: dict[str, Any] = document()
    """The next nearest: {"cluster_id", "distance"}; empty where there is one cluster only."""
    state: str = filled("open")
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
