"""Pipelines, their runs, and the tree of candidates that a run grows."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text
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

RUN_STATUSES = ("pending", "running", "waiting", "paused", "completed", "failed", "cancelled")
NIGHT_POLICIES = ("off", "sure", "at")
LIVE_JOB_STATES = ("queued", "submitting", "submitted", "running", "storing")
SLOT_STATES = ("open", "busy", "filled", "failed", "withdrawn")
"""A withdrawn place is not to be filled: its own gate is passed, or its parent no longer goes on."""
JOB_STATES = (*LIVE_JOB_STATES, "done", "failed", "lost", "cancelled")


class Pipeline(Table, table=True):
    """A named chain of ComfyUI workflows."""

    __tablename__ = "pipelines"
    __table_args__ = (
        Index("uq_pipelines_name", text("lower(name)"), unique=True),
        CheckConstraint("length(btrim(name)) > 0", name="name_filled"),
        CheckConstraint("cluster_id IS NULL OR persona_id IS NOT NULL", name="cluster_has_persona"),
        ForeignKeyConstraint(["cluster_id", "persona_id"], ["clusters.id", "clusters.persona_id"]),
    )

    id: int = identity()
    name: str
    description: str = filled("")
    persona_id: int | None = bigint(default=None, foreign_key="personas.id")
    """Default persona of its runs."""
    cluster_id: int | None = bigint(default=None)
    """Default target cluster of its runs."""
    created_at: datetime = created_at()


class PipelineVersion(Table, table=True):
    """A pipeline as it was when runs began to use it; never changed afterwards."""

    __tablename__ = "pipeline_versions"
    __table_args__ = (UniqueConstraint("pipeline_id", "number"),)

    id: int = identity()
    pipeline_id: int = bigint(foreign_key="pipelines.id", ondelete="RESTRICT")
    number: int
    created_at: datetime = created_at()


class PipelineStep(Table, table=True):
    """One workflow of a pipeline version."""

    __tablename__ = "pipeline_steps"
    __table_args__ = (
        UniqueConstraint("pipeline_version_id", "position"),
        UniqueConstraint("id", "pipeline_version_id"),
        CheckConstraint("position >= 1", name="position_range"),
        CheckConstraint("children_per_parent BETWEEN 1 AND 64", name="children_range"),
        CheckConstraint("default_top_k BETWEEN 1 AND 64", name="top_k_range"),
        CheckConstraint("timeout_seconds > 0", name="timeout_range"),
    )

    id: int = identity()
    pipeline_version_id: int = bigint(foreign_key="pipeline_versions.id", ondelete="CASCADE")
    position: int
    """1 is the first step."""
    name: str
    workflow: dict[str, Any] = document()
    """ComfyUI graph in API format with {{placeholders}}."""
    output_node: str | None = None
    """Node whose pictures count; None means every SaveImage."""
    children_per_parent: int = number(3)
    """N: pictures in step 1, pictures per parent later."""
    default_top_k: int = number(1)
    timeout_seconds: int = number(600)


class PipelineStepTypes(Table, table=True):
    """What a server last declared of a step's inputs that hold placeholders; beside the step, which stays."""

    __tablename__ = "pipeline_step_types"

    pipeline_step_id: int = bigint(primary_key=True, foreign_key="pipeline_steps.id", ondelete="CASCADE")
    types: dict[str, Any] = document()
    """Node → input → type; a list is a choice and what the server offers for it."""


class PipelineRun(Table, table=True):
    """One execution of a pipeline version for a prompt."""

    __tablename__ = "pipeline_runs"
    __table_args__ = (
        UniqueConstraint("id", "persona_id"),
        UniqueConstraint("id", "pipeline_version_id"),
        *belongs("cluster_id", "clusters", optional=True),
        *belongs("pillar_id", "content_pillars", optional=True),
        *belongs("content_suggestion_id", "content_suggestions", optional=True),
        one_of("status", *RUN_STATUSES),
        one_of("night", *NIGHT_POLICIES),
        CheckConstraint("(night = 'at') = (night_at IS NOT NULL)", name="night_dated"),
        Index("ix_pipeline_runs_active", "id", postgresql_where=text("status IN ('pending', 'running')")),
    )

    id: int = identity()
    pipeline_version_id: int = bigint(foreign_key="pipeline_versions.id", ondelete="RESTRICT")
    persona_id: int | None = bigint(default=None, foreign_key="personas.id", index=True)
    cluster_id: int | None = bigint(default=None)
    pillar_id: int | None = bigint(default=None)
    content_suggestion_id: int | None = bigint(default=None)
    name: str
    prompt: str
    negative: str = filled("")
    variables: dict[str, Any] = document()
    seed: int = bigint()
    """Base of all seeds of the run; each slot derives its own."""
    status: str = filled("pending")
    reason: str = filled("")
    night: str = filled("off")
    """Who passes its gates while nobody is there: `off` nobody, `sure` the night mode once the ranking is
    sure enough, `at` the night mode from `night_at` on."""
    night_at: datetime | None = moment(default=None)
    created_at: datetime = created_at()
    finished_at: datetime | None = moment(default=None)


class RunLora(Table, table=True):
    """A LoRA that a run used, with its weight, kept for ever."""

    __tablename__ = "run_loras"
    __table_args__ = (
        UniqueConstraint("run_id", "lora_model_id"),
        CheckConstraint("weight BETWEEN 0 AND 1", name="weight_range"),
    )

    id: int = identity()
    run_id: int = bigint(foreign_key="pipeline_runs.id", ondelete="CASCADE")
    lora_model_id: int = bigint(foreign_key="lora_models.id", ondelete="RESTRICT")
    position: int = number(1)
    weight: float


class PipelineRunStep(Table, table=True):
    """A step of a run, with its approval gate."""

    __tablename__ = "pipeline_run_steps"
    __table_args__ = (
        UniqueConstraint("run_id", "position"),
        UniqueConstraint("id", "run_id"),
        ForeignKeyConstraint(
            ["run_id", "pipeline_version_id"],
            ["pipeline_runs.id", "pipeline_runs.pipeline_version_id"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["pipeline_step_id", "pipeline_version_id"],
            ["pipeline_steps.id", "pipeline_steps.pipeline_version_id"],
            name="fk_pipeline_run_steps_step",
        ),
        CheckConstraint("top_k >= 1", name="top_k_range"),
        CheckConstraint("children_per_parent BETWEEN 1 AND 64", name="children_range"),
    )

    id: int = identity()
    run_id: int = bigint()
    pipeline_version_id: int = bigint()
    pipeline_step_id: int = bigint()
    position: int
    children_per_parent: int
    top_k: int
    approved_at: datetime | None = moment(default=None)
    approved_by: str = filled("")
    approval_reason: str = filled("")
    """Why a gate was passed that no person passed."""


class GateMember(Table, table=True):
    """A candidate that an approval let through: the set is stored, not recomputed."""

    __tablename__ = "gate_members"
    __table_args__ = (
        UniqueConstraint("run_step_id", "image_candidate_id"),
        UniqueConstraint("run_step_id", "rank"),
        ForeignKeyConstraint(
            ["image_candidate_id", "run_step_id"],
            ["image_candidates.id", "image_candidates.run_step_id"],
            ondelete="CASCADE",
        ),
    )

    id: int = identity()
    run_step_id: int = bigint(foreign_key="pipeline_run_steps.id", ondelete="CASCADE")
    image_candidate_id: int = bigint()
    rank: int


class GenerationSlot(Table, table=True):
    """A place for one picture under one parent: a slot is a row, so two engines can't overfill (R9)."""

    __tablename__ = "generation_slots"
    __table_args__ = (
        UniqueConstraint(
            "run_step_id",
            "parent_id",
            "slot_no",
            postgresql_nulls_not_distinct=True,
            name="uq_generation_slots_place",
        ),
        ForeignKeyConstraint(
            ["run_step_id", "run_id"],
            ["pipeline_run_steps.id", "pipeline_run_steps.run_id"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["parent_id", "run_id"],
            ["image_candidates.id", "image_candidates.run_id"],
            ondelete="CASCADE",
            use_alter=True,  # candidates point to slots as well
        ),
        one_of("state", *SLOT_STATES),
        Index("ix_generation_slots_open", "run_id", postgresql_where=text("state = 'open'")),
    )

    id: int = identity()
    run_id: int = bigint()
    run_step_id: int = bigint()
    parent_id: int | None = bigint(default=None)
    slot_no: int
    state: str = filled("open")
    failures: int = number(0)


class ComfyuiEndpoint(Table, table=True):
    """A ComfyUI server as its queue numbers show it: one that goes back means that it was started again."""

    __tablename__ = "comfyui_endpoints"
    __table_args__ = (CheckConstraint("boot >= 1", name="boot_range"),)

    url: str = Field(primary_key=True)
    boot: int = number(1)
    """How often it was started since we know it."""
    queue_number: float
    """The highest queue number that this boot gave us."""


class ComfyuiJob(Table, table=True):
    """One prompt on a ComfyUI server; its prompt_id is committed before it is sent."""

    __tablename__ = "comfyui_jobs"
    __table_args__ = (
        UniqueConstraint("prompt_id"),
        ForeignKeyConstraint(
            ["run_step_id", "run_id"],
            ["pipeline_run_steps.id", "pipeline_run_steps.run_id"],
            ondelete="CASCADE",
        ),
        one_of("state", *JOB_STATES),
        CheckConstraint("gpu_seconds >= 0", name="gpu_seconds_range"),
        Index(
            "uq_comfyui_jobs_live_slot",
            "slot_id",
            unique=True,
            postgresql_where=text("state IN ('queued', 'submitting', 'submitted', 'running', 'storing')"),
        ),
        Index("ix_comfyui_jobs_day", "reserved_day", postgresql_where=text("reserved_day IS NOT NULL")),
        Index(
            "ix_comfyui_jobs_live",
            "endpoint",
            postgresql_where=text("state IN ('queued', 'submitting', 'submitted', 'running', 'storing')"),
        ),
    )

    id: int = identity()
    prompt_id: uuid.UUID
    run_id: int = bigint(index=True)
    run_step_id: int = bigint()
    slot_id: int = bigint(foreign_key="generation_slots.id", ondelete="CASCADE", index=True)
    endpoint: str
    state: str = filled("queued")
    workflow: dict[str, Any] = document()
    """Exactly what is sent."""
    variables: dict[str, Any] = document()
    """What its placeholders were replaced by."""
    seed: int = bigint()
    attempts: int = number(0)
    queue_number: float | None = None
    """Its place in the server's queue; None before the server gave one."""
    boot: int | None = None
    """Which of the server's boots took it (R11)."""
    gpu_seconds: float = number(0)
    """Reserved while it is under way; afterwards as the server measured it."""
    reserved_day: date | None = None
    """The day whose budget it counts in; None where there is no daily limit."""
    not_before: datetime | None = moment(default=None)
    error_message: str = filled("")
    created_at: datetime = created_at()
    submitted_at: datetime | None = moment(default=None)
    started_at: datetime | None = moment(default=None)
    """When it was first seen to run."""
    finished_at: datetime | None = moment(default=None)


class ImageCandidate(Table, table=True):
    """A generated picture: a node of a run's tree."""

    __tablename__ = "image_candidates"
    __table_args__ = (
        UniqueConstraint("id", "persona_id"),
        UniqueConstraint("id", "run_id"),
        UniqueConstraint("id", "run_step_id"),
        UniqueConstraint("job_id", "output_index"),
        ForeignKeyConstraint(["run_id", "persona_id"], ["pipeline_runs.id", "pipeline_runs.persona_id"]),
        ForeignKeyConstraint(
            ["run_step_id", "run_id"],
            ["pipeline_run_steps.id", "pipeline_run_steps.run_id"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["parent_id", "run_id"], ["image_candidates.id", "image_candidates.run_id"], ondelete="CASCADE"
        ),
        Index("uq_image_candidates_winner", "run_id", unique=True, postgresql_where=text("winner")),
        one_of("status", "active", "rejected"),
        CheckConstraint("NOT winner OR status = 'active'", name="winner_active"),
        CheckConstraint("winner = (winner_at IS NOT NULL)", name="winner_dated"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256_form"),
        Index("ix_image_candidates_step", "run_step_id", "status"),
        Index("ix_image_candidates_parent", "parent_id"),
        Index("ix_image_candidates_newest", "persona_id", "created_at", "id"),
    )

    id: int = identity()
    run_id: int = bigint(index=True)
    run_step_id: int = bigint()
    persona_id: int | None = bigint(default=None, index=True)
    parent_id: int | None = bigint(default=None)
    slot_id: int = bigint(foreign_key="generation_slots.id", ondelete="CASCADE", index=True)
    job_id: int = bigint(foreign_key="comfyui_jobs.id")
    output_index: int = number(0)
    media_key: str
    sha256: str
    width: int
    height: int
    seed: int = bigint()
    elo_score: int = number(1000)
    """Projection of the contest's posterior: round(1000 + 173.72 μ)."""
    status: str = filled("active")
    flagged: bool = flag()
    """Marked by the operator for a second look."""
    winner: bool = flag()
    winner_at: datetime | None = moment(default=None)
    provenance: dict[str, Any] = document()
    """Endpoint, server version, duration in seconds."""
    created_at: datetime = created_at()


__all__ = [
    "JOB_STATES",
    "LIVE_JOB_STATES",
    "NIGHT_POLICIES",
    "RUN_STATUSES",
    "SLOT_STATES",
    "ComfyuiEndpoint",
    "ComfyuiJob",
    "GateMember",
    "GenerationSlot",
    "ImageCandidate",
    "Pipeline",
    "PipelineRun",
    "PipelineRunStep",
    "PipelineStep",
    "PipelineVersion",
    "RunLora",
]
