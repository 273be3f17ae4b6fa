"""Datasets and training runs: the keys that later rooms build on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text

from persona_tui.models.base import (
    Table,
    belongs,
    bigint,
    created_at,
    document,
    filled,
    identity,
    moment,
    number,
    one_of,
)


class Dataset(Table, table=True):
    """A folder of training pictures with its manifest."""

    __tablename__ = "datasets"
    __table_args__ = (
        UniqueConstraint("persona_id", "name"),
        UniqueConstraint("id", "persona_id"),
        one_of("wheel", "character", "editor"),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="RESTRICT")
    name: str
    wheel: str = filled("character")
    folder: str
    created_at: datetime = created_at()


class DatasetImage(Table, table=True):
    """A picture of a dataset."""

    __tablename__ = "dataset_images"
    __table_args__ = (
        UniqueConstraint("dataset_id", "sha256"),
        UniqueConstraint("id", "dataset_id"),
        *belongs("dataset_id", "datasets", ondelete="CASCADE"),
        *belongs("photo_id", "photos", optional=True),
        *belongs("image_candidate_id", "image_candidates", optional=True),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256_form"),
        one_of("role", "train", "held_out", "anchor"),
    )

    id: int = identity()
    dataset_id: int = bigint()
    persona_id: int = bigint(foreign_key="personas.id")
    photo_id: int | None = bigint(default=None)
    image_candidate_id: int | None = bigint(default=None)
    sha256: str
    caption: str = filled("")
    role: str = filled("train")
    details: dict[str, Any] = document()
    created_at: datetime = created_at()


class Review(Table, table=True):
    """A person's verdict on a dataset picture."""

    __tablename__ = "reviews"
    __table_args__ = (one_of("verdict", "keep", "reject", "unsure"),)

    id: int = identity()
    dataset_image_id: int = bigint(foreign_key="dataset_images.id", ondelete="CASCADE", index=True)
    verdict: str
    reason: str = filled("")
    reviewer: str = filled("operator")
    created_at: datetime = created_at()


class EditTriplet(Table, table=True):
    """Source, instruction and result: one sample of the editor's wheel."""

    __tablename__ = "edit_triplets"
    __table_args__ = (*belongs("dataset_id", "datasets", ondelete="CASCADE"),)

    id: int = identity()
    dataset_id: int = bigint()
    persona_id: int = bigint(foreign_key="personas.id")
    source_sha256: str
    result_sha256: str
    instruction: str
    created_at: datetime = created_at()


class ModelCardCell(Table, table=True):
    """One cell of a LoRA's coverage: an angle and an expression, with its tries."""

    __tablename__ = "model_card_cells"
    __table_args__ = (
        UniqueConstraint("lora_model_id", "angle", "expression"),
        CheckConstraint("passed BETWEEN 0 AND tries", name="passed_range"),
    )

    id: int = identity()
    lora_model_id: int = bigint(foreign_key="lora_models.id", ondelete="CASCADE")
    angle: str
    expression: str
    tries: int = number(0)
    passed: int = number(0)


class TrainingRun(Table, table=True):
    """One training of a LoRA from a dataset."""

    __tablename__ = "training_runs"
    __table_args__ = (
        UniqueConstraint("id", "persona_id"),
        *belongs("dataset_id", "datasets"),
        one_of("status", "planned", "encoding", "training", "paused", "done", "failed", "stopped"),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="RESTRICT")
    dataset_id: int = bigint()
    wheel: str = filled("character")
    base_family: str
    folder: str
    status: str = filled("planned")
    config: dict[str, Any] = document()
    lora_model_id: int | None = bigint(default=None, foreign_key="lora_models.id")
    created_at: datetime = created_at()
    finished_at: datetime | None = moment(default=None)


class Checkpoint(Table, table=True):
    """A saved state of a training run."""

    __tablename__ = "checkpoints"
    __table_args__ = (UniqueConstraint("training_run_id", "step"),)

    id: int = identity()
    training_run_id: int = bigint(foreign_key="training_runs.id", ondelete="CASCADE")
    step: int
    file_path: str
    sha256: str = filled("")
    scores: dict[str, Any] = document()
    created_at: datetime = created_at()


class GpuLease(Table, table=True):
    """Who holds a card: one holder per card at a time."""

    __tablename__ = "gpu_leases"
    __table_args__ = (
        Index("uq_gpu_leases_held", "card", unique=True, postgresql_where=text("released_at IS NULL")),
    )

    id: int = identity()
    card: str
    """'host:GPU uuid'."""
    holder: str
    purpose: str
    fence: int = bigint(default=1, sa_column_kwargs={"server_default": "1"}, nullable=False)
    taken_at: datetime = created_at()
    lease_until: datetime = moment()
    released_at: datetime | None = moment(default=None)
