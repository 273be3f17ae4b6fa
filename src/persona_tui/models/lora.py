"""LoRA models, which persona uses them at which weight, and how two of them compare."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text

from persona_tui.models.base import (
    Table,
    bigint,
    created_at,
    document,
    filled,
    flag,
    identity,
    number,
    one_of,
)


class LoraModel(Table, table=True):
    """A LoRA file, one row per version."""

    __tablename__ = "lora_models"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        UniqueConstraint("sha256"),
        UniqueConstraint("id", "model_type", "base_family"),
        one_of("model_type", "character", "style", "concept", "editor"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256_form"),
    )

    id: int = identity()
    persona_id: int | None = bigint(default=None, foreign_key="personas.id")
    """Whose likeness it holds; null for a style that anyone may use."""
    name: str
    version: int = number(1)
    model_type: str
    base_family: str
    trigger_word: str = filled("")
    file_path: str
    sha256: str
    details: dict[str, Any] = document()
    created_at: datetime = created_at()


class PersonaLoraMapping(Table, table=True):
    """A persona uses a LoRA; the primary one per type and family is its default."""

    __tablename__ = "persona_lora_mappings"
    __table_args__ = (
        UniqueConstraint("persona_id", "lora_model_id"),
        ForeignKeyConstraint(
            ["lora_model_id", "model_type", "base_family"],
            ["lora_models.id", "lora_models.model_type", "lora_models.base_family"],
            name="fk_persona_lora_mappings_model",
        ),
        Index(
            "uq_persona_lora_mappings_primary",
            "persona_id",
            "model_type",
            "base_family",
            unique=True,
            postgresql_where=text('"primary"'),
        ),
        CheckConstraint("weight BETWEEN 0 AND 1", name="weight_range"),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="CASCADE")
    lora_model_id: int = bigint()
    model_type: str
    base_family: str
    weight: float
    primary: bool = flag()
    created_at: datetime = created_at()


class LoraFolder(Table, table=True):
    """A folder that is looked into for new LoRA files."""

    __tablename__ = "lora_folders"
    __table_args__ = (UniqueConstraint("root"),)

    id: int = identity()
    root: str
    created_at: datetime = created_at()


class LoraOffer(Table, table=True):
    """A LoRA file that was found in a watched folder and waits for the operator."""

    __tablename__ = "lora_offers"
    __table_args__ = (
        UniqueConstraint("path"),
        one_of("state", "offered", "imported", "dismissed", "unusable"),
    )

    id: int = identity()
    folder_id: int = bigint(foreign_key="lora_folders.id", ondelete="CASCADE", index=True)
    path: str
    byte_count: int = bigint()
    modified_ns: int = bigint()
    state: str = filled("offered")
    persona_id: int | None = bigint(default=None, foreign_key="personas.id", ondelete="SET NULL")
    """Whom the file itself names."""
    details: dict[str, Any] = document()
    """What the file is, or the sentence that says why it can't be used."""
    created_at: datetime = created_at()


class LoraComparison(Table, table=True):
    """Two LoRAs pictured at the same prompts and seeds, to be voted on blind."""

    __tablename__ = "lora_comparisons"
    __table_args__ = (
        CheckConstraint("lora_model_id <> beside_id", name="two_loras"),
        CheckConstraint(
            "jsonb_array_length(prompts) > 0 AND jsonb_array_length(seeds) > 0", name="something_to_picture"
        ),
        CheckConstraint("weight BETWEEN 0 AND 1", name="weight_range"),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="CASCADE", index=True)
    lora_model_id: int = bigint(foreign_key="lora_models.id", ondelete="CASCADE", index=True)
    beside_id: int = bigint(foreign_key="lora_models.id", ondelete="CASCADE", index=True)
    pipeline_id: int = bigint(foreign_key="pipelines.id", ondelete="CASCADE")
    weight: float | None = None
    """Of both; null takes each one's own."""
    prompts: list[str] = document("[]")
    seeds: list[int] = document("[]")
    created_at: datetime = created_at()


class LoraComparisonPicture(Table, table=True):
    """A picture of one LoRA at one prompt and seed of a comparison."""

    __tablename__ = "lora_comparison_pictures"
    __table_args__ = (
        UniqueConstraint("comparison_id", "prompt_index", "seed", "lora_model_id"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256_form"),
    )

    id: int = identity()
    comparison_id: int = bigint(foreign_key="lora_comparisons.id", ondelete="CASCADE")
    lora_model_id: int = bigint(foreign_key="lora_models.id", ondelete="CASCADE", index=True)
    prompt_index: int
    """Into the comparison's prompts, from 0."""
    seed: int = bigint()
    media_key: str
    sha256: str
    created_at: datetime = created_at()
