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
    flag,
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
        UniqueConstraint("folder"),
        *belongs("consent_id", "consents", optional=True),
        one_of("wheel", "character", "editor"),
        one_of("subject", "unsaid", "fictional", "real"),
        CheckConstraint("consent_id IS NULL OR subject = 'real'", name="consent_of_real"),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="RESTRICT")
    name: str
    wheel: str = filled("character")
    folder: str
    subject: str = filled("unsaid")
    """Whether somebody real is in the pictures; unsaid trains nothing."""
    consent_id: int | None = bigint(default=None)
    trigger_word: str = filled("")
    class_word: str = filled("")
    manifest_sha256: str = filled("")
    """Of manifest.json as this program wrote it last: another one was edited by hand."""
    created_at: datetime = created_at()


class DatasetImage(Table, table=True):
    """A picture of a dataset."""

    __tablename__ = "dataset_images"
    __table_args__ = (
        UniqueConstraint("dataset_id", "sha256"),
        UniqueConstraint("id", "dataset_id"),
        *belongs("dataset_id", "datasets", ondelete="CASCADE"),
        # The dataset has a copy of its own: what is deleted in the library stays in it.
        *belongs("photo_id", "photos", optional=True, ondelete="SET NULL (photo_id)"),
        *belongs(
            "image_candidate_id",
            "image_candidates",
            optional=True,
            ondelete="SET NULL (image_candidate_id)",
        ),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256_form"),
        one_of("role", "train", "held_out", "anchor"),
        CheckConstraint("depth >= 0", name="depth_positive"),
    )

    id: int = identity()
    dataset_id: int = bigint()
    persona_id: int = bigint(foreign_key="personas.id")
    photo_id: int | None = bigint(default=None, index=True)
    image_candidate_id: int | None = bigint(default=None, index=True)
    sha256: str
    file: str = filled("")
    """Below the dataset's folder."""
    caption: str = filled("")
    role: str = filled("train")
    angle: str = filled("")
    expression: str = filled("")
    depth: int = number(0)
    """0 a source, 1 edited from one, 2 and more generated."""
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
        UniqueConstraint("folder"),
        *belongs("dataset_id", "datasets"),
        one_of(
            "status",
            "planned",
            "queued",
            "encoding",
            "training",
            "exporting",
            "paused",
            "done",
            "failed",
            "stopped",
        ),
        CheckConstraint("step >= 0 AND total_steps >= 0 AND attempt >= 0", name="counts_positive"),
        Index(
            "ix_training_runs_live",
            "id",
            postgresql_where=text("status IN ('encoding', 'training', 'exporting', 'paused')"),
        ),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="RESTRICT")
    dataset_id: int = bigint()
    wheel: str = filled("character")
    name: str = filled("")
    """Of the LoRA that it makes."""
    base_family: str
    folder: str
    status: str = filled("planned")
    config: dict[str, Any] = document()
    config_hash: str = filled("")
    dataset_hash: str = filled("")
    seed: int = bigint(default=0, sa_column_kwargs={"server_default": "0"}, nullable=False)
    total_steps: int = number(0)
    step: int = number(0)
    attempt: int = number(0)
    """How often a child was started."""
    resumed_step: int | None = None
    """Where it was resumed by itself the last time: never twice at one step."""
    quantisation: str = filled("none")
    predicted_vram: int | None = bigint(default=None)
    """Bytes at the peak, as planned; measured_vram is NVML's peak of the process."""
    measured_vram: int | None = bigint(default=None)
    predicted_ram: int | None = bigint(default=None)
    measured_ram: int | None = bigint(default=None)
    prediction: dict[str, Any] = document()
    """The plan by parts, in bytes."""
    card: str = filled("")
    """'host:GPU uuid', or 'host:cpu'; of several the first."""
    further_cards: list[str] = document("[]")
    """The others that it trains on, named alike."""
    boot_id: str = filled("")
    pid: int | None = None
    pid_started: int | None = bigint(default=None)
    """With boot_id and pid it names one process for good; hundredths of a second."""
    heartbeat_at: datetime | None = moment(default=None)
    trouble: str = filled("")
    hint: str = filled("")
    best_step: int | None = None
    parent_lora_id: int | None = bigint(default=None, foreign_key="lora_models.id")
    lora_model_id: int | None = bigint(default=None, foreign_key="lora_models.id")
    created_at: datetime = created_at()
    started_at: datetime | None = moment(default=None)
    finished_at: datetime | None = moment(default=None)


class Checkpoint(Table, table=True):
    """A saved state of a training run."""

    __tablename__ = "checkpoints"
    __table_args__ = (UniqueConstraint("training_run_id", "step"),)

    id: int = identity()
    training_run_id: int = bigint(foreign_key="training_runs.id", ondelete="CASCADE")
    step: int
    attempt: int = number(1)
    file_path: str
    sha256: str = filled("")
    byte_count: int = bigint(default=0, sa_column_kwargs={"server_default": "0"}, nullable=False)
    scores: dict[str, Any] = document()
    best: bool = flag()
    kept: bool = flag(True)
    """Whether its folder is still there."""
    created_at: datetime = created_at()


class MemoryReading(Table, table=True):
    """What a run or a probe really took of memory, beside what was reckoned; it calibrates later plans."""

    __tablename__ = "memory_readings"
    __table_args__ = (
        one_of("source", "probe", "run"),
        CheckConstraint("predicted > 0 AND measured > 0", name="bytes_positive"),
        UniqueConstraint("training_run_id"),
        Index("ix_memory_readings_kind", "base_family", "quantisation", "on_cpu", "id"),
    )

    id: int = identity()
    training_run_id: int | None = bigint(default=None, foreign_key="training_runs.id", ondelete="SET NULL")
    """Of a run; a probe has none."""
    source: str
    base_family: str
    quantisation: str
    on_cpu: bool = flag()
    """The host's memory was measured, not a card's."""
    settings: dict[str, Any] = document()
    """What else of the recipe decides the memory."""
    card: str = filled("")
    predicted: int = bigint()
    """Bytes at the peak, as reckoned without calibration."""
    measured: int = bigint()
    outgrew: bool = flag()
    """There was too little memory; more than `measured` was wanted."""
    created_at: datetime = created_at()


class GpuLease(Table, table=True):
    """Who holds a card: one holder per card at a time."""

    __tablename__ = "gpu_leases"
    __table_args__ = (
        UniqueConstraint("card", "fence"),
        Index("uq_gpu_leases_held", "card", unique=True, postgresql_where=text("released_at IS NULL")),
    )

    id: int = identity()
    card: str
    """'host:GPU uuid'."""
    holder: str
    """'host:boot id:pid:start time': who took it, and from its start on the child."""
    purpose: str
    training_run_id: int | None = bigint(default=None, foreign_key="training_runs.id", ondelete="SET NULL")
    fence: int = bigint(default=1, sa_column_kwargs={"server_default": "1"}, nullable=False)
    taken_at: datetime = created_at()
    lease_until: datetime = moment()
    released_at: datetime | None = moment(default=None)
