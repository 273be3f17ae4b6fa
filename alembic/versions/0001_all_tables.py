"""All tables of the design, with their functions, triggers and seeds.

Revision ID: 0001
Revises:
"""

from pathlib import Path

import pgvector.sqlalchemy
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent.parent / "sql"

_TABLES = (
    "vote_items",
    "reviews",
    "post_items",
    "picture_analyses",
    "gate_members",
    "embeddings",
    "dataset_images",
    "contest_members",
    "cluster_candidates",
    "image_candidates",
    "votes",
    "publish_replies",
    "comfyui_jobs",
    "publish_attempts",
    "post_insights",
    "media_objects",
    "generation_slots",
    "contests",
    "content_strategy_histories",
    "caption_drafts",
    "scheduling_posts",
    "run_loras",
    "pipeline_run_steps",
    "pipeline_steps",
    "pipeline_runs",
    "pipeline_versions",
    "checkpoints",
    "training_runs",
    "pipelines",
    "pillar_cluster_assignments",
    "persona_lora_mappings",
    "model_card_cells",
    "edit_triplets",
    "content_suggestions",
    "photos",
    "lora_models",
    "instagram_accounts",
    "gap_analyses",
    "datasets",
    "content_strategy_states",
    "content_pillars",
    "consents",
    "clusters",
    "campaigns",
    "post_transitions",
    "personas",
    "installation",
    "heartbeats",
    "gpu_leases",
    "audit_heads",
    "audit_events",
)
_FUNCTIONS = (
    "persona_now()",
    "check_pillar_weights()",
    "check_environment()",
    "keep_environment()",
    "check_post_move()",
    "refuse_post_delete()",
    "post_holds(text)",
    "fill_post_item()",
    "sync_post_items()",
    "check_post_items()",
    "check_vote_items()",
    "check_contest_member()",
    "check_lora_mapping()",
    "keep_lora_owner()",
    "refuse_change()",
)


def _run(name: str) -> None:
    cursor = op.get_bind().connection.cursor()
    cursor.execute((_SQL / name).read_text())


def upgrade() -> None:
    # The functions name tables that are made below.
    op.execute("SET LOCAL check_function_bodies = off")
    _run("0001_functions.sql")
    op.create_table(
        "audit_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=True),
        sa.Column("subject", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("content_sha256", sa.String(), nullable=True),
        sa.Column(
            "details",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("previous_hash", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.CheckConstraint("hash ~ '^[0-9a-f]{64}$'", name=op.f("ck_audit_events_hash_form")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
        sa.UniqueConstraint("hash", name=op.f("uq_audit_events_hash")),
    )
    op.create_index("ix_audit_events_content", "audit_events", ["content_sha256"], unique=False)
    op.create_table(
        "audit_heads",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_heads_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_heads")),
    )
    op.create_table(
        "gpu_leases",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("card", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column(
            "taken_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gpu_leases")),
    )
    op.create_index(
        "uq_gpu_leases_held",
        "gpu_leases",
        ["card"],
        unique=True,
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.create_table(
        "heartbeats",
        sa.Column("process_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("boot_id", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("backend_pid", sa.Integer(), nullable=True),
        sa.Column("leader", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("leader_epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column(
            "beat_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint(
            "kind IN ('app', 'scheduler', 'worker', 'command')", name=op.f("ck_heartbeats_kind_known")
        ),
        sa.PrimaryKeyConstraint("process_id", name=op.f("pk_heartbeats")),
    )
    op.create_index(
        "uq_heartbeats_leader", "heartbeats", ["leader"], unique=True, postgresql_where=sa.text("leader")
    )
    op.create_table(
        "installation",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("incarnation_id", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("environment", sa.String(), server_default=sa.text("'live'"), nullable=False),
        sa.Column("clock_offset", sa.Interval(), server_default=sa.text("'0'::interval"), nullable=False),
        sa.Column("publishing_held", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("held_reason", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("held_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("leader_epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint(
            "environment = 'sandbox' OR clock_offset = interval '0'",
            name=op.f("ck_installation_clock_only_in_sandbox"),
        ),
        sa.CheckConstraint(
            "environment IN ('live', 'sandbox')", name=op.f("ck_installation_environment_known")
        ),
        sa.CheckConstraint("id = 1", name=op.f("ck_installation_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    op.create_table(
        "personas",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("age", sa.Integer(), nullable=False),
        sa.Column("fictional", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("trigger_word", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("zone", sa.String(), server_default=sa.text("'UTC'"), nullable=False),
        sa.Column("posts_per_week", sa.Numeric(precision=4, scale=1), server_default="3.0", nullable=False),
        sa.Column(
            "caption_config",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "hashtag_strategy",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("disclosure", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("late_policy", sa.String(), server_default=sa.text("'ask'"), nullable=False),
        sa.Column("autopilot", sa.String(), server_default=sa.text("'off'"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "autopilot IN ('off', 'propose', 'full')", name=op.f("ck_personas_autopilot_known")
        ),
        sa.CheckConstraint(
            "late_policy IN ('reslot', 'drop', 'ask')", name=op.f("ck_personas_late_policy_known")
        ),
        sa.CheckConstraint("age >= 18", name=op.f("ck_personas_age_adult")),
        sa.CheckConstraint("length(btrim(name)) BETWEEN 1 AND 80", name=op.f("ck_personas_name_filled")),
        sa.CheckConstraint(
            "posts_per_week > 0 AND posts_per_week <= 70", name=op.f("ck_personas_posts_per_week_range")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_personas")),
    )
    op.create_index("uq_personas_name", "personas", [sa.literal_column("lower(name)")], unique=True)
    op.create_table(
        "post_transitions",
        sa.Column("from_state", sa.String(), nullable=False),
        sa.Column("to_state", sa.String(), nullable=False),
        sa.Column("act", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("from_state", "to_state", name=op.f("pk_post_transitions")),
    )
    op.create_table(
        "campaigns",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("written_by", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "details",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["persona_id"], ["personas.id"], name=op.f("fk_campaigns_persona_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaigns")),
        sa.UniqueConstraint("id", "persona_id", name=op.f("uq_campaigns_id_persona_id")),
        sa.UniqueConstraint("persona_id", "name", name=op.f("uq_campaigns_persona_id_name")),
    )
    op.create_table(
        "clusters",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("status", sa.String(), server_default=sa.text("'active'"), nullable=False),
        sa.Column("ai_prompt", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint("status IN ('active', 'unusable')", name=op.f("ck_clusters_status_known")),
        sa.CheckConstraint("length(btrim(name)) BETWEEN 1 AND 120", name=op.f("ck_clusters_name_filled")),
        sa.ForeignKeyConstraint(
            ["persona_id"], ["personas.id"], name=op.f("fk_clusters_persona_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clusters")),
        sa.UniqueConstraint("id", "persona_id", name=op.f("uq_clusters_id_persona_id")),
    )
    op.create_index(
        "uq_clusters_persona_id_name",
        "clusters",
        ["persona_id", sa.literal_column("lower(name)")],
        unique=True,
    )
    op.create_table(
        "consents",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("evidence", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "given_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["persona_id"], ["personas.id"], name=op.f("fk_consents_persona_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consents")),
        sa.UniqueConstraint("id", "persona_id", name=op.f("uq_consents_id_persona_id")),
    )
    op.create_table(
        "content_pillars",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("weight", sa.Numeric(precision=5, scale=2), server_default="0", nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("start_date", sa.Date(), nullable=True),
        sa.Column("end_date", sa.Date(), nullable=True),
        sa.Column(
            "guidelines",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("target_posts_per_week", sa.Integer(), nullable=True),
        sa.Column("priority", sa.Integer(), server_default=sa.text("3"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint("end_date > start_date", name=op.f("ck_content_pillars_dates_in_order")),
        sa.CheckConstraint(
            "length(btrim(name)) BETWEEN 1 AND 80", name=op.f("ck_content_pillars_name_filled")
        ),
        sa.CheckConstraint("priority BETWEEN 1 AND 5", name=op.f("ck_content_pillars_priority_range")),
        sa.CheckConstraint("target_posts_per_week >= 0", name=op.f("ck_content_pillars_target_range")),
        sa.CheckConstraint("weight >= 0 AND weight <= 100", name=op.f("ck_content_pillars_weight_range")),
        sa.ForeignKeyConstraint(
            ["persona_id"], ["personas.id"], name=op.f("fk_content_pillars_persona_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_content_pillars")),
        sa.UniqueConstraint("id", "persona_id", name=op.f("uq_content_pillars_id_persona_id")),
        sa.UniqueConstraint("persona_id", "name", name=op.f("uq_content_pillars_persona_id_name")),
    )
    op.create_table(
        "content_strategy_states",
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("active_strategy", sa.String(), server_default=sa.text("'rotation'"), nullable=False),
        sa.Column(
            "strategy_config",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "state_data",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "started_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["persona_id"],
            ["personas.id"],
            name=op.f("fk_content_strategy_states_persona_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("persona_id", name=op.f("pk_content_strategy_states")),
    )
    op.create_table(
        "datasets",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("wheel", sa.String(), server_default=sa.text("'character'"), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint("wheel IN ('character', 'editor')", name=op.f("ck_datasets_wheel_known")),
        sa.ForeignKeyConstraint(
            ["persona_id"], ["personas.id"], name=op.f("fk_datasets_persona_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
        sa.UniqueConstraint("id", "persona_id", name=op.f("uq_datasets_id_persona_id")),
        sa.UniqueConstraint("persona_id", "name", name=op.f("uq_datasets_persona_id_name")),
    )
    op.create_table(
        "gap_analyses",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "analyzed_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.Column("days_ahead", sa.Integer(), nullable=False),
        sa.Column(
            "coverage",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.CheckConstraint("days_ahead BETWEEN 1 AND 366", name=op.f("ck_gap_analyses_days_ahead_range")),
        sa.ForeignKeyConstraint(
            ["persona_id"], ["personas.id"], name=op.f("fk_gap_analyses_persona_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gap_analyses")),
        sa.UniqueConstraint("id", "persona_id", name=op.f("uq_gap_analyses_id_persona_id")),
    )
    op.create_table(
        "instagram_accounts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("login", sa.String(), server_default=sa.text("'instagram'"), nullable=False),
        sa.Column("ig_user_id", sa.String(), nullable=False),
        sa.Column("username", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("token_ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("token_key_id", sa.String(), nullable=False),
        sa.Column("token_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(), server_default=sa.text("'active'"), nullable=False),
        sa.Column("status_reason", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint(
            "environment IN ('live', 'sandbox')", name=op.f("ck_instagram_accounts_environment_known")
        ),
        sa.CheckConstraint(
            "login IN ('instagram', 'facebook')", name=op.f("ck_instagram_accounts_login_known")
        ),
        sa.CheckConstraint(
            "status IN ('active', 'paused', 'restricted')", name=op.f("ck_instagram_accounts_status_known")
        ),
        sa.ForeignKeyConstraint(
            ["persona_id"],
            ["personas.id"],
            name=op.f("fk_instagram_accounts_persona_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instagram_accounts")),
        sa.UniqueConstraint(
            "environment", "ig_user_id", name=op.f("uq_instagram_accounts_environment_ig_user_id")
        ),
        sa.UniqueConstraint("id", "environment", name=op.f("uq_instagram_accounts_id_environment")),
        sa.UniqueConstraint("id", "persona_id", name=op.f("uq_instagram_accounts_id_persona_id")),
    )
    op.create_index(
        "uq_instagram_accounts_persona",
        "instagram_accounts",
        ["persona_id", "environment"],
        unique=True,
        postgresql_where=sa.text("status <> 'restricted'"),
    )
    op.create_table(
        "lora_models",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("model_type", sa.String(), nullable=False),
        sa.Column("base_family", sa.String(), nullable=False),
        sa.Column("trigger_word", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("file_path", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column(
            "details",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint(
            "model_type IN ('character', 'style', 'concept', 'editor')",
            name=op.f("ck_lora_models_model_type_known"),
        ),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_lora_models_sha256_form")),
        sa.ForeignKeyConstraint(["persona_id"], ["personas.id"], name=op.f("fk_lora_models_persona_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lora_models")),
        sa.UniqueConstraint(
            "id", "model_type", "base_family", name=op.f("uq_lora_models_id_model_type_base_family")
        ),
        sa.UniqueConstraint("name", "version", name=op.f("uq_lora_models_name_version")),
        sa.UniqueConstraint("sha256", name=op.f("uq_lora_models_sha256")),
    )
    op.create_table(
        "photos",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), server_default=sa.text("'still'"), nullable=False),
        sa.Column("stage", sa.String(), server_default=sa.text("'accepted'"), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("media_key", sa.String(), nullable=False),
        sa.Column("original_name", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("byte_count", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint("kind IN ('still', 'video')", name=op.f("ck_photos_kind_known")),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_photos_sha256_form")),
        sa.CheckConstraint("stage IN ('staged', 'accepted', 'rejected')", name=op.f("ck_photos_stage_known")),
        sa.CheckConstraint("width > 0 AND height > 0", name=op.f("ck_photos_size_positive")),
        sa.ForeignKeyConstraint(
            ["persona_id"], ["personas.id"], name=op.f("fk_photos_persona_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photos")),
        sa.UniqueConstraint("id", "persona_id", name=op.f("uq_photos_id_persona_id")),
        sa.UniqueConstraint("persona_id", "sha256", name=op.f("uq_photos_persona_id_sha256")),
    )
    op.create_table(
        "content_suggestions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("pillar_id", sa.BigInteger(), nullable=False),
        sa.Column("gap_analysis_id", sa.BigInteger(), nullable=True),
        sa.Column("campaign_id", sa.BigInteger(), nullable=True),
        sa.Column("cluster_id", sa.BigInteger(), nullable=True),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("prompt", sa.String(), nullable=False),
        sa.Column("status", sa.String(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("reason", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("written_by", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "prompt_data",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status <> 'used' OR cluster_id IS NOT NULL", name=op.f("ck_content_suggestions_used_has_cluster")
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'accepted', 'used', 'rejected')",
            name=op.f("ck_content_suggestions_status_known"),
        ),
        sa.CheckConstraint(
            "campaign_id IS NULL OR persona_id IS NOT NULL",
            name=op.f("ck_content_suggestions_campaign_has_persona"),
        ),
        sa.CheckConstraint(
            "cluster_id IS NULL OR persona_id IS NOT NULL",
            name=op.f("ck_content_suggestions_cluster_has_persona"),
        ),
        sa.CheckConstraint(
            "gap_analysis_id IS NULL OR persona_id IS NOT NULL",
            name=op.f("ck_content_suggestions_gap_analysis_has_persona"),
        ),
        sa.CheckConstraint(
            "length(btrim(title)) > 0 AND length(btrim(prompt)) > 0",
            name=op.f("ck_content_suggestions_filled"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "persona_id"],
            ["campaigns.id", "campaigns.persona_id"],
            name=op.f("fk_content_suggestions_campaign_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(
            ["cluster_id", "persona_id"],
            ["clusters.id", "clusters.persona_id"],
            name=op.f("fk_content_suggestions_cluster_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(
            ["gap_analysis_id", "persona_id"],
            ["gap_analyses.id", "gap_analyses.persona_id"],
            name=op.f("fk_content_suggestions_gap_analysis_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(
            ["persona_id"],
            ["personas.id"],
            name=op.f("fk_content_suggestions_persona_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["pillar_id", "persona_id"],
            ["content_pillars.id", "content_pillars.persona_id"],
            name=op.f("fk_content_suggestions_pillar_id_persona_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_content_suggestions")),
        sa.UniqueConstraint("id", "persona_id", name=op.f("uq_content_suggestions_id_persona_id")),
    )
    op.create_index(
        "ix_content_suggestions_open", "content_suggestions", ["persona_id", "status"], unique=False
    )
    op.create_table(
        "edit_triplets",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("source_sha256", sa.String(), nullable=False),
        sa.Column("result_sha256", sa.String(), nullable=False),
        sa.Column("instruction", sa.String(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id", "persona_id"],
            ["datasets.id", "datasets.persona_id"],
            name=op.f("fk_edit_triplets_dataset_id_persona_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["persona_id"], ["personas.id"], name=op.f("fk_edit_triplets_persona_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_edit_triplets")),
    )
    op.create_table(
        "model_card_cells",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("lora_model_id", sa.BigInteger(), nullable=False),
        sa.Column("angle", sa.String(), nullable=False),
        sa.Column("expression", sa.String(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("passed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("passed BETWEEN 0 AND tries", name=op.f("ck_model_card_cells_passed_range")),
        sa.ForeignKeyConstraint(
            ["lora_model_id"],
            ["lora_models.id"],
            name=op.f("fk_model_card_cells_lora_model_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_card_cells")),
        sa.UniqueConstraint(
            "lora_model_id",
            "angle",
            "expression",
            name=op.f("uq_model_card_cells_lora_model_id_angle_expression"),
        ),
    )
    op.create_table(
        "persona_lora_mappings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("lora_model_id", sa.BigInteger(), nullable=False),
        sa.Column("model_type", sa.String(), nullable=False),
        sa.Column("base_family", sa.String(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("primary", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint("weight BETWEEN 0 AND 1", name=op.f("ck_persona_lora_mappings_weight_range")),
        sa.ForeignKeyConstraint(
            ["lora_model_id", "model_type", "base_family"],
            ["lora_models.id", "lora_models.model_type", "lora_models.base_family"],
            name="fk_persona_lora_mappings_model",
        ),
        sa.ForeignKeyConstraint(
            ["persona_id"],
            ["personas.id"],
            name=op.f("fk_persona_lora_mappings_persona_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_persona_lora_mappings")),
        sa.UniqueConstraint(
            "persona_id", "lora_model_id", name=op.f("uq_persona_lora_mappings_persona_id_lora_model_id")
        ),
    )
    op.create_index(
        "uq_persona_lora_mappings_primary",
        "persona_lora_mappings",
        ["persona_id", "model_type", "base_family"],
        unique=True,
        postgresql_where=sa.text('"primary"'),
    )
    op.create_table(
        "pillar_cluster_assignments",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("pillar_id", sa.BigInteger(), nullable=False),
        sa.Column("cluster_id", sa.BigInteger(), nullable=False),
        sa.Column("primary", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("notes", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["cluster_id", "persona_id"],
            ["clusters.id", "clusters.persona_id"],
            name=op.f("fk_pillar_cluster_assignments_cluster_id_persona_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["persona_id"],
            ["personas.id"],
            name=op.f("fk_pillar_cluster_assignments_persona_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["pillar_id", "persona_id"],
            ["content_pillars.id", "content_pillars.persona_id"],
            name=op.f("fk_pillar_cluster_assignments_pillar_id_persona_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pillar_cluster_assignments")),
        sa.UniqueConstraint(
            "pillar_id", "cluster_id", name=op.f("uq_pillar_cluster_assignments_pillar_id_cluster_id")
        ),
    )
    op.create_index(
        op.f("ix_pillar_cluster_assignments_cluster_id"),
        "pillar_cluster_assignments",
        ["cluster_id"],
        unique=False,
    )
    op.create_index(
        "uq_pillar_cluster_assignments_primary",
        "pillar_cluster_assignments",
        ["cluster_id"],
        unique=True,
        postgresql_where=sa.text('"primary"'),
    )
    op.create_table(
        "pipelines",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=True),
        sa.Column("cluster_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint(
            "cluster_id IS NULL OR persona_id IS NOT NULL", name=op.f("ck_pipelines_cluster_has_persona")
        ),
        sa.CheckConstraint("length(btrim(name)) > 0", name=op.f("ck_pipelines_name_filled")),
        sa.ForeignKeyConstraint(
            ["cluster_id", "persona_id"],
            ["clusters.id", "clusters.persona_id"],
            name=op.f("fk_pipelines_cluster_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(["persona_id"], ["personas.id"], name=op.f("fk_pipelines_persona_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipelines")),
    )
    op.create_index("uq_pipelines_name", "pipelines", [sa.literal_column("lower(name)")], unique=True)
    op.create_table(
        "training_runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("wheel", sa.String(), server_default=sa.text("'character'"), nullable=False),
        sa.Column("base_family", sa.String(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("status", sa.String(), server_default=sa.text("'planned'"), nullable=False),
        sa.Column(
            "config",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("lora_model_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('planned', 'encoding', 'training', 'paused', 'done', 'failed', 'stopped')",
            name=op.f("ck_training_runs_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id", "persona_id"],
            ["datasets.id", "datasets.persona_id"],
            name=op.f("fk_training_runs_dataset_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(
            ["lora_model_id"], ["lora_models.id"], name=op.f("fk_training_runs_lora_model_id")
        ),
        sa.ForeignKeyConstraint(
            ["persona_id"], ["personas.id"], name=op.f("fk_training_runs_persona_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_runs")),
        sa.UniqueConstraint("id", "persona_id", name=op.f("uq_training_runs_id_persona_id")),
    )
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("training_run_id", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("file_path", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "scores",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["training_run_id"],
            ["training_runs.id"],
            name=op.f("fk_checkpoints_training_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
        sa.UniqueConstraint("training_run_id", "step", name=op.f("uq_checkpoints_training_run_id_step")),
    )
    op.create_table(
        "pipeline_versions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("pipeline_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["pipeline_id"],
            ["pipelines.id"],
            name=op.f("fk_pipeline_versions_pipeline_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline_versions")),
        sa.UniqueConstraint("pipeline_id", "number", name=op.f("uq_pipeline_versions_pipeline_id_number")),
    )
    op.create_table(
        "pipeline_runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("pipeline_version_id", sa.BigInteger(), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=True),
        sa.Column("cluster_id", sa.BigInteger(), nullable=True),
        sa.Column("pillar_id", sa.BigInteger(), nullable=True),
        sa.Column("content_suggestion_id", sa.BigInteger(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("prompt", sa.String(), nullable=False),
        sa.Column("negative", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "variables",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("reason", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'waiting', 'paused', 'completed', 'failed', 'cancelled')",
            name=op.f("ck_pipeline_runs_status_known"),
        ),
        sa.CheckConstraint(
            "cluster_id IS NULL OR persona_id IS NOT NULL", name=op.f("ck_pipeline_runs_cluster_has_persona")
        ),
        sa.CheckConstraint(
            "content_suggestion_id IS NULL OR persona_id IS NOT NULL",
            name=op.f("ck_pipeline_runs_content_suggestion_has_persona"),
        ),
        sa.CheckConstraint(
            "pillar_id IS NULL OR persona_id IS NOT NULL", name=op.f("ck_pipeline_runs_pillar_has_persona")
        ),
        sa.ForeignKeyConstraint(
            ["cluster_id", "persona_id"],
            ["clusters.id", "clusters.persona_id"],
            name=op.f("fk_pipeline_runs_cluster_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(
            ["content_suggestion_id", "persona_id"],
            ["content_suggestions.id", "content_suggestions.persona_id"],
            name=op.f("fk_pipeline_runs_content_suggestion_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(["persona_id"], ["personas.id"], name=op.f("fk_pipeline_runs_persona_id")),
        sa.ForeignKeyConstraint(
            ["pillar_id", "persona_id"],
            ["content_pillars.id", "content_pillars.persona_id"],
            name=op.f("fk_pipeline_runs_pillar_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(
            ["pipeline_version_id"],
            ["pipeline_versions.id"],
            name=op.f("fk_pipeline_runs_pipeline_version_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline_runs")),
        sa.UniqueConstraint("id", "persona_id", name=op.f("uq_pipeline_runs_id_persona_id")),
        sa.UniqueConstraint(
            "id", "pipeline_version_id", name=op.f("uq_pipeline_runs_id_pipeline_version_id")
        ),
    )
    op.create_index(
        "ix_pipeline_runs_active",
        "pipeline_runs",
        ["id"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'running', 'waiting')"),
    )
    op.create_index(op.f("ix_pipeline_runs_persona_id"), "pipeline_runs", ["persona_id"], unique=False)
    op.create_table(
        "pipeline_steps",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("pipeline_version_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column(
            "workflow",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("output_node", sa.String(), nullable=True),
        sa.Column("children_per_parent", sa.Integer(), server_default=sa.text("3"), nullable=False),
        sa.Column("default_top_k", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("timeout_seconds", sa.Integer(), server_default=sa.text("600"), nullable=False),
        sa.CheckConstraint(
            "children_per_parent BETWEEN 1 AND 64", name=op.f("ck_pipeline_steps_children_range")
        ),
        sa.CheckConstraint("default_top_k BETWEEN 1 AND 64", name=op.f("ck_pipeline_steps_top_k_range")),
        sa.CheckConstraint("position >= 1", name=op.f("ck_pipeline_steps_position_range")),
        sa.CheckConstraint("timeout_seconds > 0", name=op.f("ck_pipeline_steps_timeout_range")),
        sa.ForeignKeyConstraint(
            ["pipeline_version_id"],
            ["pipeline_versions.id"],
            name=op.f("fk_pipeline_steps_pipeline_version_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline_steps")),
        sa.UniqueConstraint(
            "id", "pipeline_version_id", name=op.f("uq_pipeline_steps_id_pipeline_version_id")
        ),
        sa.UniqueConstraint(
            "pipeline_version_id", "position", name=op.f("uq_pipeline_steps_pipeline_version_id_position")
        ),
    )
    op.create_table(
        "pipeline_run_steps",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("pipeline_version_id", sa.BigInteger(), nullable=False),
        sa.Column("pipeline_step_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("children_per_parent", sa.Integer(), nullable=False),
        sa.Column("top_k", sa.Integer(), nullable=False),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("approved_by", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.CheckConstraint(
            "children_per_parent BETWEEN 1 AND 64", name=op.f("ck_pipeline_run_steps_children_range")
        ),
        sa.CheckConstraint("top_k >= 1", name=op.f("ck_pipeline_run_steps_top_k_range")),
        sa.ForeignKeyConstraint(
            ["pipeline_step_id", "pipeline_version_id"],
            ["pipeline_steps.id", "pipeline_steps.pipeline_version_id"],
            name="fk_pipeline_run_steps_step",
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "pipeline_version_id"],
            ["pipeline_runs.id", "pipeline_runs.pipeline_version_id"],
            name=op.f("fk_pipeline_run_steps_run_id_pipeline_version_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline_run_steps")),
        sa.UniqueConstraint("id", "run_id", name=op.f("uq_pipeline_run_steps_id_run_id")),
        sa.UniqueConstraint("run_id", "position", name=op.f("uq_pipeline_run_steps_run_id_position")),
    )
    op.create_table(
        "run_loras",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("lora_model_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.CheckConstraint("weight BETWEEN 0 AND 1", name=op.f("ck_run_loras_weight_range")),
        sa.ForeignKeyConstraint(
            ["lora_model_id"],
            ["lora_models.id"],
            name=op.f("fk_run_loras_lora_model_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["pipeline_runs.id"], name=op.f("fk_run_loras_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_loras")),
        sa.UniqueConstraint("run_id", "lora_model_id", name=op.f("uq_run_loras_run_id_lora_model_id")),
    )
    op.create_table(
        "scheduling_posts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("cluster_id", sa.BigInteger(), nullable=True),
        sa.Column("pillar_id", sa.BigInteger(), nullable=True),
        sa.Column("content_suggestion_id", sa.BigInteger(), nullable=True),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("campaign_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(), server_default=sa.text("'single'"), nullable=False),
        sa.Column("state", sa.String(), server_default=sa.text("'draft'"), nullable=False),
        sa.Column("reason", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("caption", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "hashtags",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("alt_text", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "caption_metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("is_ai_generated", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("zone", sa.String(), server_default=sa.text("'UTC'"), nullable=False),
        sa.Column("wall_time", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("grace_minutes", sa.Integer(), server_default=sa.text("360"), nullable=False),
        sa.Column("strategy_name", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("repost_allowed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("leader_epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("creation_id", sa.String(), nullable=True),
        sa.Column("container_created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("media_id", sa.String(), nullable=True),
        sa.Column("permalink", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint(
            "NOT (state IN ('claimed', 'staged', 'creating', 'container', 'publishable', 'sending', 'unknown', 'reconciling') OR state = 'scheduled') OR (scheduled_at IS NOT NULL AND account_id IS NOT NULL)",
            name=op.f("ck_scheduling_posts_scheduled_complete"),
        ),
        sa.CheckConstraint(
            "NOT state IN ('claimed', 'staged', 'creating', 'container', 'publishable', 'sending', 'unknown', 'reconciling') OR lease_until IS NOT NULL",
            name=op.f("ck_scheduling_posts_fenced_has_lease"),
        ),
        sa.CheckConstraint(
            "environment IN ('live', 'sandbox')", name=op.f("ck_scheduling_posts_environment_known")
        ),
        sa.CheckConstraint(
            "kind IN ('single', 'carousel', 'story', 'reel')", name=op.f("ck_scheduling_posts_kind_known")
        ),
        sa.CheckConstraint(
            "state <> 'published' OR published_at IS NOT NULL",
            name=op.f("ck_scheduling_posts_published_dated"),
        ),
        sa.CheckConstraint(
            "state IN ('draft', 'awaiting_image', 'ready', 'scheduled', 'claimed', 'staged', 'creating', 'container', 'publishable', 'sending', 'unknown', 'reconciling', 'published', 'needs_human', 'fix_needed', 'paused', 'deferred', 'missed', 'failed', 'cancelled')",
            name=op.f("ck_scheduling_posts_state_known"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('container', 'publishable', 'sending') OR creation_id IS NOT NULL",
            name=op.f("ck_scheduling_posts_container_named"),
        ),
        sa.CheckConstraint(
            "account_id IS NULL OR persona_id IS NOT NULL",
            name=op.f("ck_scheduling_posts_account_has_persona"),
        ),
        sa.CheckConstraint(
            "campaign_id IS NULL OR persona_id IS NOT NULL",
            name=op.f("ck_scheduling_posts_campaign_has_persona"),
        ),
        sa.CheckConstraint(
            "cluster_id IS NULL OR persona_id IS NOT NULL",
            name=op.f("ck_scheduling_posts_cluster_has_persona"),
        ),
        sa.CheckConstraint(
            "content_suggestion_id IS NULL OR persona_id IS NOT NULL",
            name=op.f("ck_scheduling_posts_content_suggestion_has_persona"),
        ),
        sa.CheckConstraint("length(alt_text) <= 1000", name=op.f("ck_scheduling_posts_alt_text_length")),
        sa.CheckConstraint("length(caption) <= 2200", name=op.f("ck_scheduling_posts_caption_length")),
        sa.CheckConstraint(
            "pillar_id IS NULL OR persona_id IS NOT NULL", name=op.f("ck_scheduling_posts_pillar_has_persona")
        ),
        sa.CheckConstraint(
            "run_id IS NULL OR persona_id IS NOT NULL", name=op.f("ck_scheduling_posts_run_has_persona")
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "environment"],
            ["instagram_accounts.id", "instagram_accounts.environment"],
            name="fk_scheduling_posts_account_environment",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "persona_id"],
            ["instagram_accounts.id", "instagram_accounts.persona_id"],
            name=op.f("fk_scheduling_posts_account_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "persona_id"],
            ["campaigns.id", "campaigns.persona_id"],
            name=op.f("fk_scheduling_posts_campaign_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(
            ["cluster_id", "persona_id"],
            ["clusters.id", "clusters.persona_id"],
            name=op.f("fk_scheduling_posts_cluster_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(
            ["content_suggestion_id", "persona_id"],
            ["content_suggestions.id", "content_suggestions.persona_id"],
            name=op.f("fk_scheduling_posts_content_suggestion_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(
            ["persona_id"], ["personas.id"], name=op.f("fk_scheduling_posts_persona_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["pillar_id", "persona_id"],
            ["content_pillars.id", "content_pillars.persona_id"],
            name=op.f("fk_scheduling_posts_pillar_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "persona_id"],
            ["pipeline_runs.id", "pipeline_runs.persona_id"],
            name=op.f("fk_scheduling_posts_run_id_persona_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scheduling_posts")),
        sa.UniqueConstraint("environment", "media_id", name=op.f("uq_scheduling_posts_environment_media_id")),
        sa.UniqueConstraint("id", "environment", name=op.f("uq_scheduling_posts_id_environment")),
        sa.UniqueConstraint("id", "persona_id", name=op.f("uq_scheduling_posts_id_persona_id")),
    )
    op.create_index(
        "ix_scheduling_posts_due",
        "scheduling_posts",
        ["scheduled_at"],
        unique=False,
        postgresql_where=sa.text("state = 'scheduled'"),
    )
    op.create_index(
        "ix_scheduling_posts_persona",
        "scheduling_posts",
        ["persona_id", "state", "scheduled_at"],
        unique=False,
    )
    op.create_index(
        "uq_scheduling_posts_account_serial",
        "scheduling_posts",
        ["account_id"],
        unique=True,
        postgresql_where=sa.text(
            "state IN ('claimed', 'staged', 'creating', 'container', 'publishable', 'sending', 'unknown', 'reconciling')"
        ),
    )
    op.create_table(
        "caption_drafts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("post_id", sa.BigInteger(), nullable=True),
        sa.Column("caption", sa.String(), nullable=False),
        sa.Column(
            "hashtags",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("alt_text", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("written_by", sa.String(), nullable=False),
        sa.Column("chosen", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint(
            "post_id IS NULL OR persona_id IS NOT NULL", name=op.f("ck_caption_drafts_post_has_persona")
        ),
        sa.ForeignKeyConstraint(
            ["persona_id"], ["personas.id"], name=op.f("fk_caption_drafts_persona_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["post_id", "persona_id"],
            ["scheduling_posts.id", "scheduling_posts.persona_id"],
            name=op.f("fk_caption_drafts_post_id_persona_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_caption_drafts")),
    )
    op.create_index("ix_caption_drafts_recent", "caption_drafts", ["persona_id", "created_at"], unique=False)
    op.create_table(
        "content_strategy_histories",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("post_id", sa.BigInteger(), nullable=False),
        sa.Column("pillar_id", sa.BigInteger(), nullable=True),
        sa.Column("cluster_id", sa.BigInteger(), nullable=True),
        sa.Column("strategy_name", sa.String(), nullable=False),
        sa.Column(
            "decision_context",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint(
            "cluster_id IS NULL OR persona_id IS NOT NULL",
            name=op.f("ck_content_strategy_histories_cluster_has_persona"),
        ),
        sa.CheckConstraint(
            "pillar_id IS NULL OR persona_id IS NOT NULL",
            name=op.f("ck_content_strategy_histories_pillar_has_persona"),
        ),
        sa.ForeignKeyConstraint(
            ["cluster_id", "persona_id"],
            ["clusters.id", "clusters.persona_id"],
            name=op.f("fk_content_strategy_histories_cluster_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(
            ["persona_id"],
            ["personas.id"],
            name=op.f("fk_content_strategy_histories_persona_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["pillar_id", "persona_id"],
            ["content_pillars.id", "content_pillars.persona_id"],
            name=op.f("fk_content_strategy_histories_pillar_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(
            ["post_id", "persona_id"],
            ["scheduling_posts.id", "scheduling_posts.persona_id"],
            name=op.f("fk_content_strategy_histories_post_id_persona_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_content_strategy_histories")),
    )
    op.create_index(
        "ix_content_strategy_histories_recent",
        "content_strategy_histories",
        ["persona_id", "created_at"],
        unique=False,
    )
    op.create_table(
        "contests",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("run_step_id", sa.BigInteger(), nullable=True),
        sa.Column("cluster_id", sa.BigInteger(), nullable=True),
        sa.Column("posterior", sa.LargeBinary(), nullable=True),
        sa.Column("posterior_vote_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint(
            "(kind = 'run_step') = (run_step_id IS NOT NULL) AND (kind = 'cluster') = (cluster_id IS NOT NULL)",
            name=op.f("ck_contests_subject_fits_kind"),
        ),
        sa.CheckConstraint(
            "kind IN ('run_step', 'cluster', 'comparison')", name=op.f("ck_contests_kind_known")
        ),
        sa.ForeignKeyConstraint(
            ["cluster_id"], ["clusters.id"], name=op.f("fk_contests_cluster_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["run_step_id"],
            ["pipeline_run_steps.id"],
            name=op.f("fk_contests_run_step_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contests")),
        sa.UniqueConstraint("cluster_id", name=op.f("uq_contests_cluster_id")),
        sa.UniqueConstraint("run_step_id", name=op.f("uq_contests_run_step_id")),
    )
    op.create_table(
        "generation_slots",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("run_step_id", sa.BigInteger(), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("slot_no", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "state IN ('open', 'busy', 'filled', 'failed')", name=op.f("ck_generation_slots_state_known")
        ),
        sa.ForeignKeyConstraint(
            ["run_step_id", "run_id"],
            ["pipeline_run_steps.id", "pipeline_run_steps.run_id"],
            name=op.f("fk_generation_slots_run_step_id_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generation_slots")),
        sa.UniqueConstraint(
            "run_step_id",
            "parent_id",
            "slot_no",
            name="uq_generation_slots_place",
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index(
        "ix_generation_slots_open",
        "generation_slots",
        ["run_id"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "media_objects",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("post_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("byte_count", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "environment IN ('live', 'sandbox')", name=op.f("ck_media_objects_environment_known")
        ),
        sa.ForeignKeyConstraint(
            ["post_id", "environment"],
            ["scheduling_posts.id", "scheduling_posts.environment"],
            name=op.f("fk_media_objects_post_id_environment"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_media_objects")),
        sa.UniqueConstraint("key", name=op.f("uq_media_objects_key")),
    )
    op.create_index("ix_media_objects_post", "media_objects", ["post_id"], unique=False)
    op.create_table(
        "post_insights",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("post_id", sa.BigInteger(), nullable=False),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column(
            "read_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["post_id"], ["scheduling_posts.id"], name=op.f("fk_post_insights_post_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_post_insights")),
        sa.UniqueConstraint(
            "post_id", "metric", "read_at", name=op.f("uq_post_insights_post_id_metric_read_at")
        ),
    )
    op.create_table(
        "publish_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("post_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("open", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("creation_id", sa.String(), nullable=True),
        sa.Column(
            "media_before",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("quota_before", sa.Integer(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "started_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "environment IN ('live', 'sandbox')", name=op.f("ck_publish_attempts_environment_known")
        ),
        sa.ForeignKeyConstraint(
            ["post_id", "environment"],
            ["scheduling_posts.id", "scheduling_posts.environment"],
            name=op.f("fk_publish_attempts_post_id_environment"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_publish_attempts")),
        sa.UniqueConstraint("post_id", "number", name=op.f("uq_publish_attempts_post_id_number")),
    )
    op.create_index(
        "uq_publish_attempts_open",
        "publish_attempts",
        ["post_id"],
        unique=True,
        postgresql_where=sa.text("open"),
    )
    op.create_table(
        "comfyui_jobs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("prompt_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("run_step_id", sa.BigInteger(), nullable=False),
        sa.Column("slot_id", sa.BigInteger(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column(
            "workflow",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_message", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'submitting', 'submitted', 'running', 'storing', 'done', 'failed', 'lost', 'cancelled')",
            name=op.f("ck_comfyui_jobs_state_known"),
        ),
        sa.ForeignKeyConstraint(
            ["run_step_id", "run_id"],
            ["pipeline_run_steps.id", "pipeline_run_steps.run_id"],
            name=op.f("fk_comfyui_jobs_run_step_id_run_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["slot_id"], ["generation_slots.id"], name=op.f("fk_comfyui_jobs_slot_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comfyui_jobs")),
        sa.UniqueConstraint("prompt_id", name=op.f("uq_comfyui_jobs_prompt_id")),
    )
    op.create_index(
        "ix_comfyui_jobs_live",
        "comfyui_jobs",
        ["endpoint"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'submitting', 'submitted', 'running', 'storing')"),
    )
    op.create_index(op.f("ix_comfyui_jobs_run_id"), "comfyui_jobs", ["run_id"], unique=False)
    op.create_index(op.f("ix_comfyui_jobs_slot_id"), "comfyui_jobs", ["slot_id"], unique=False)
    op.create_index(
        "uq_comfyui_jobs_live_slot",
        "comfyui_jobs",
        ["slot_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('queued', 'submitting', 'submitted', 'running', 'storing')"),
    )
    op.create_table(
        "publish_replies",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("attempt_id", sa.BigInteger(), nullable=False),
        sa.Column("call", sa.String(), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("subcode", sa.Integer(), nullable=True),
        sa.Column(
            "body",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "received_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["attempt_id"],
            ["publish_attempts.id"],
            name=op.f("fk_publish_replies_attempt_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_publish_replies")),
    )
    op.create_index("ix_publish_replies_attempt", "publish_replies", ["attempt_id"], unique=False)
    op.create_table(
        "votes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("contest_id", sa.BigInteger(), nullable=False),
        sa.Column("undoes_vote_id", sa.BigInteger(), nullable=True),
        sa.Column("voter", sa.String(), server_default=sa.text("'operator'"), nullable=False),
        sa.Column("session", sa.Uuid(), nullable=False),
        sa.Column("response_ms", sa.Integer(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint("response_ms >= 0", name=op.f("ck_votes_response_range")),
        sa.ForeignKeyConstraint(
            ["contest_id"], ["contests.id"], name=op.f("fk_votes_contest_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["undoes_vote_id", "contest_id"], ["votes.id", "votes.contest_id"], name="fk_votes_undoes"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_votes")),
        sa.UniqueConstraint("id", "contest_id", name=op.f("uq_votes_id_contest_id")),
        sa.UniqueConstraint("undoes_vote_id", name=op.f("uq_votes_undoes_vote_id")),
    )
    op.create_index("ix_votes_contest", "votes", ["contest_id", "id"], unique=False)
    op.create_table(
        "image_candidates",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("run_step_id", sa.BigInteger(), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=True),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("slot_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("output_index", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("media_key", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("elo_score", sa.Integer(), server_default=sa.text("1000"), nullable=False),
        sa.Column("status", sa.String(), server_default=sa.text("'active'"), nullable=False),
        sa.Column("winner", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("winner_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "provenance",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint("NOT winner OR status = 'active'", name=op.f("ck_image_candidates_winner_active")),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_image_candidates_sha256_form")),
        sa.CheckConstraint("status IN ('active', 'rejected')", name=op.f("ck_image_candidates_status_known")),
        sa.CheckConstraint("winner = (winner_at IS NOT NULL)", name=op.f("ck_image_candidates_winner_dated")),
        sa.ForeignKeyConstraint(["job_id"], ["comfyui_jobs.id"], name=op.f("fk_image_candidates_job_id")),
        sa.ForeignKeyConstraint(
            ["parent_id", "run_id"],
            ["image_candidates.id", "image_candidates.run_id"],
            name=op.f("fk_image_candidates_parent_id_run_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "persona_id"],
            ["pipeline_runs.id", "pipeline_runs.persona_id"],
            name=op.f("fk_image_candidates_run_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(
            ["run_step_id", "run_id"],
            ["pipeline_run_steps.id", "pipeline_run_steps.run_id"],
            name=op.f("fk_image_candidates_run_step_id_run_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["slot_id"], ["generation_slots.id"], name=op.f("fk_image_candidates_slot_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_candidates")),
        sa.UniqueConstraint("id", "persona_id", name=op.f("uq_image_candidates_id_persona_id")),
        sa.UniqueConstraint("id", "run_id", name=op.f("uq_image_candidates_id_run_id")),
        sa.UniqueConstraint("id", "run_step_id", name=op.f("uq_image_candidates_id_run_step_id")),
        sa.UniqueConstraint("job_id", "output_index", name=op.f("uq_image_candidates_job_id_output_index")),
    )
    op.create_index("ix_image_candidates_parent", "image_candidates", ["parent_id"], unique=False)
    op.create_index(op.f("ix_image_candidates_persona_id"), "image_candidates", ["persona_id"], unique=False)
    op.create_index(op.f("ix_image_candidates_run_id"), "image_candidates", ["run_id"], unique=False)
    op.create_index(op.f("ix_image_candidates_slot_id"), "image_candidates", ["slot_id"], unique=False)
    op.create_index(
        "ix_image_candidates_step", "image_candidates", ["run_step_id", "status", "elo_score"], unique=False
    )
    op.create_index(
        "uq_image_candidates_winner",
        "image_candidates",
        ["run_id"],
        unique=True,
        postgresql_where=sa.text("winner"),
    )
    op.create_table(
        "cluster_candidates",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("cluster_id", sa.BigInteger(), nullable=False),
        sa.Column("photo_id", sa.BigInteger(), nullable=True),
        sa.Column("image_candidate_id", sa.BigInteger(), nullable=True),
        sa.Column("display_order", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "details",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint(
            "num_nonnulls(photo_id, image_candidate_id) = 1", name=op.f("ck_cluster_candidates_one_picture")
        ),
        sa.ForeignKeyConstraint(
            ["cluster_id", "persona_id"],
            ["clusters.id", "clusters.persona_id"],
            name=op.f("fk_cluster_candidates_cluster_id_persona_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["image_candidate_id", "persona_id"],
            ["image_candidates.id", "image_candidates.persona_id"],
            name=op.f("fk_cluster_candidates_image_candidate_id_persona_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["persona_id"], ["personas.id"], name=op.f("fk_cluster_candidates_persona_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["photo_id", "persona_id"],
            ["photos.id", "photos.persona_id"],
            name=op.f("fk_cluster_candidates_photo_id_persona_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cluster_candidates")),
        sa.UniqueConstraint(
            "cluster_id",
            "image_candidate_id",
            name=op.f("uq_cluster_candidates_cluster_id_image_candidate_id"),
        ),
        sa.UniqueConstraint("cluster_id", "photo_id", name=op.f("uq_cluster_candidates_cluster_id_photo_id")),
    )
    op.create_index(
        "ix_cluster_candidates_image_candidate", "cluster_candidates", ["image_candidate_id"], unique=False
    )
    op.create_index("ix_cluster_candidates_photo", "cluster_candidates", ["photo_id"], unique=False)
    op.create_table(
        "contest_members",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("contest_id", sa.BigInteger(), nullable=False),
        sa.Column("image_candidate_id", sa.BigInteger(), nullable=True),
        sa.Column("photo_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "joined_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint(
            "num_nonnulls(image_candidate_id, photo_id) = 1", name=op.f("ck_contest_members_one_picture")
        ),
        sa.ForeignKeyConstraint(
            ["contest_id"], ["contests.id"], name=op.f("fk_contest_members_contest_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["image_candidate_id"],
            ["image_candidates.id"],
            name=op.f("fk_contest_members_image_candidate_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["photo_id"], ["photos.id"], name=op.f("fk_contest_members_photo_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contest_members")),
        sa.UniqueConstraint(
            "contest_id", "image_candidate_id", name=op.f("uq_contest_members_contest_id_image_candidate_id")
        ),
        sa.UniqueConstraint("contest_id", "photo_id", name=op.f("uq_contest_members_contest_id_photo_id")),
        sa.UniqueConstraint("id", "contest_id", name=op.f("uq_contest_members_id_contest_id")),
    )
    op.create_index(
        "ix_contest_members_image_candidate", "contest_members", ["image_candidate_id"], unique=False
    )
    op.create_table(
        "dataset_images",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("photo_id", sa.BigInteger(), nullable=True),
        sa.Column("image_candidate_id", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("caption", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("role", sa.String(), server_default=sa.text("'train'"), nullable=False),
        sa.Column(
            "details",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint(
            "role IN ('train', 'held_out', 'anchor')", name=op.f("ck_dataset_images_role_known")
        ),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_dataset_images_sha256_form")),
        sa.CheckConstraint(
            "image_candidate_id IS NULL OR persona_id IS NOT NULL",
            name=op.f("ck_dataset_images_image_candidate_has_persona"),
        ),
        sa.CheckConstraint(
            "photo_id IS NULL OR persona_id IS NOT NULL", name=op.f("ck_dataset_images_photo_has_persona")
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id", "persona_id"],
            ["datasets.id", "datasets.persona_id"],
            name=op.f("fk_dataset_images_dataset_id_persona_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["image_candidate_id", "persona_id"],
            ["image_candidates.id", "image_candidates.persona_id"],
            name=op.f("fk_dataset_images_image_candidate_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(["persona_id"], ["personas.id"], name=op.f("fk_dataset_images_persona_id")),
        sa.ForeignKeyConstraint(
            ["photo_id", "persona_id"],
            ["photos.id", "photos.persona_id"],
            name=op.f("fk_dataset_images_photo_id_persona_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_images")),
        sa.UniqueConstraint("dataset_id", "sha256", name=op.f("uq_dataset_images_dataset_id_sha256")),
        sa.UniqueConstraint("id", "dataset_id", name=op.f("uq_dataset_images_id_dataset_id")),
    )
    op.create_table(
        "embeddings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("photo_id", sa.BigInteger(), nullable=True),
        sa.Column("image_candidate_id", sa.BigInteger(), nullable=True),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("model_hash", sa.String(), nullable=False),
        sa.Column("vector", pgvector.sqlalchemy.Vector(512), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint(
            "num_nonnulls(photo_id, image_candidate_id) = 1", name=op.f("ck_embeddings_one_picture")
        ),
        sa.ForeignKeyConstraint(
            ["image_candidate_id"],
            ["image_candidates.id"],
            name=op.f("fk_embeddings_image_candidate_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["photo_id"], ["photos.id"], name=op.f("fk_embeddings_photo_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_embeddings")),
        sa.UniqueConstraint(
            "image_candidate_id", "model_hash", name=op.f("uq_embeddings_image_candidate_id_model_hash")
        ),
        sa.UniqueConstraint("photo_id", "model_hash", name=op.f("uq_embeddings_photo_id_model_hash")),
    )
    op.create_index(
        "ix_embeddings_vector",
        "embeddings",
        ["vector"],
        unique=False,
        postgresql_using="hnsw",
        postgresql_with={"m": 16, "ef_construction": 64},
        postgresql_ops={"vector": "vector_cosine_ops"},
    )
    op.create_table(
        "gate_members",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_step_id", sa.BigInteger(), nullable=False),
        sa.Column("image_candidate_id", sa.BigInteger(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_candidate_id", "run_step_id"],
            ["image_candidates.id", "image_candidates.run_step_id"],
            name=op.f("fk_gate_members_image_candidate_id_run_step_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_step_id"],
            ["pipeline_run_steps.id"],
            name=op.f("fk_gate_members_run_step_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gate_members")),
        sa.UniqueConstraint(
            "run_step_id", "image_candidate_id", name=op.f("uq_gate_members_run_step_id_image_candidate_id")
        ),
        sa.UniqueConstraint("run_step_id", "rank", name=op.f("uq_gate_members_run_step_id_rank")),
    )
    op.create_table(
        "picture_analyses",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("photo_id", sa.BigInteger(), nullable=True),
        sa.Column("image_candidate_id", sa.BigInteger(), nullable=True),
        sa.Column("sharpness", sa.Float(), nullable=True),
        sa.Column("exposure", sa.Float(), nullable=True),
        sa.Column(
            "details",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint("exposure BETWEEN 0 AND 1", name=op.f("ck_picture_analyses_exposure_range")),
        sa.CheckConstraint(
            "num_nonnulls(photo_id, image_candidate_id) = 1", name=op.f("ck_picture_analyses_one_picture")
        ),
        sa.CheckConstraint("sharpness >= 0", name=op.f("ck_picture_analyses_sharpness_range")),
        sa.ForeignKeyConstraint(
            ["image_candidate_id"],
            ["image_candidates.id"],
            name=op.f("fk_picture_analyses_image_candidate_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["photo_id"], ["photos.id"], name=op.f("fk_picture_analyses_photo_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_picture_analyses")),
        sa.UniqueConstraint("image_candidate_id", name=op.f("uq_picture_analyses_image_candidate_id")),
        sa.UniqueConstraint("photo_id", name=op.f("uq_picture_analyses_photo_id")),
    )
    op.create_table(
        "post_items",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("post_id", sa.BigInteger(), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("photo_id", sa.BigInteger(), nullable=True),
        sa.Column("image_candidate_id", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("holds", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_post_items_sha256_form")),
        sa.CheckConstraint(
            "num_nonnulls(photo_id, image_candidate_id) = 1", name=op.f("ck_post_items_one_picture")
        ),
        sa.CheckConstraint("position BETWEEN 1 AND 10", name=op.f("ck_post_items_position_range")),
        sa.ForeignKeyConstraint(
            ["image_candidate_id", "persona_id"],
            ["image_candidates.id", "image_candidates.persona_id"],
            name=op.f("fk_post_items_image_candidate_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(["persona_id"], ["personas.id"], name=op.f("fk_post_items_persona_id")),
        sa.ForeignKeyConstraint(
            ["photo_id", "persona_id"],
            ["photos.id", "photos.persona_id"],
            name=op.f("fk_post_items_photo_id_persona_id"),
        ),
        sa.ForeignKeyConstraint(
            ["post_id", "persona_id"],
            ["scheduling_posts.id", "scheduling_posts.persona_id"],
            name=op.f("fk_post_items_post_id_persona_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_post_items")),
        sa.UniqueConstraint("post_id", "position", name=op.f("uq_post_items_post_id_position")),
    )
    op.create_index(
        "ix_post_items_image_candidate",
        "post_items",
        ["image_candidate_id"],
        unique=False,
        postgresql_where=sa.text("holds"),
    )
    op.create_index(
        "ix_post_items_photo", "post_items", ["photo_id"], unique=False, postgresql_where=sa.text("holds")
    )
    op.create_index(
        "uq_post_items_live_picture",
        "post_items",
        ["account_id", "sha256"],
        unique=True,
        postgresql_where=sa.text("holds AND account_id IS NOT NULL"),
    )
    op.create_table(
        "reviews",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("dataset_image_id", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("reviewer", sa.String(), server_default=sa.text("'operator'"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint("verdict IN ('keep', 'reject', 'unsure')", name=op.f("ck_reviews_verdict_known")),
        sa.ForeignKeyConstraint(
            ["dataset_image_id"],
            ["dataset_images.id"],
            name=op.f("fk_reviews_dataset_image_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
    )
    op.create_index(op.f("ix_reviews_dataset_image_id"), "reviews", ["dataset_image_id"], unique=False)
    op.create_table(
        "vote_items",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("vote_id", sa.BigInteger(), nullable=False),
        sa.Column("contest_id", sa.BigInteger(), nullable=False),
        sa.Column("contest_member_id", sa.BigInteger(), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("chosen", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("side BETWEEN 1 AND 4", name=op.f("ck_vote_items_side_range")),
        sa.ForeignKeyConstraint(
            ["contest_member_id", "contest_id"],
            ["contest_members.id", "contest_members.contest_id"],
            name="fk_vote_items_member",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["vote_id", "contest_id"],
            ["votes.id", "votes.contest_id"],
            name=op.f("fk_vote_items_vote_id_contest_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vote_items")),
        sa.UniqueConstraint(
            "vote_id", "contest_member_id", name=op.f("uq_vote_items_vote_id_contest_member_id")
        ),
        sa.UniqueConstraint("vote_id", "side", name=op.f("uq_vote_items_vote_id_side")),
    )
    op.create_index(
        "uq_vote_items_chosen", "vote_items", ["vote_id"], unique=True, postgresql_where=sa.text("chosen")
    )
    op.create_foreign_key(
        op.f("fk_generation_slots_parent_id_run_id"),
        "generation_slots",
        "image_candidates",
        ["parent_id", "run_id"],
        ["id", "run_id"],
        ondelete="CASCADE",
    )
    _run("0001_triggers.sql")
    _run("0001_seeds.sql")


def downgrade() -> None:
    op.drop_constraint(op.f("fk_generation_slots_parent_id_run_id"), "generation_slots", type_="foreignkey")
    for table in _TABLES:
        op.drop_table(table)
    for function in _FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
