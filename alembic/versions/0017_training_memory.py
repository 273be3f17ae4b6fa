"""What trainings and probes really took of memory, and trainings on several cards.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_NOW = sa.text("persona_now()")


def upgrade() -> None:
    """Add the readings, and a run's other cards."""
    op.create_table(
        "memory_readings",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("training_run_id", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("base_family", sa.String(), nullable=False),
        sa.Column("quantisation", sa.String(), nullable=False),
        sa.Column("on_cpu", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("settings", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("card", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("predicted", sa.BigInteger(), nullable=False),
        sa.Column("measured", sa.BigInteger(), nullable=False),
        sa.Column("outgrew", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.CheckConstraint("source IN ('probe', 'run')", name=op.f("ck_memory_readings_source_known")),
        sa.CheckConstraint("predicted > 0 AND measured > 0", name=op.f("ck_memory_readings_bytes_positive")),
        sa.ForeignKeyConstraint(
            ["training_run_id"],
            ["training_runs.id"],
            name=op.f("fk_memory_readings_training_run_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memory_readings")),
        sa.UniqueConstraint("training_run_id", name=op.f("uq_memory_readings_training_run_id")),
    )
    op.create_index(
        "ix_memory_readings_kind", "memory_readings", ["base_family", "quantisation", "on_cpu", "id"]
    )
    op.add_column(
        "training_runs",
        sa.Column("further_cards", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
    )
    # Those were taken over encoding and training together; readings tell the training alone.
    op.drop_index("ix_training_runs_measured", table_name="training_runs")


def downgrade() -> None:
    """Take both away."""
    op.create_index(
        "ix_training_runs_measured",
        "training_runs",
        ["base_family", "quantisation", "id"],
        postgresql_where=sa.text("measured_vram IS NOT NULL"),
    )
    op.drop_column("training_runs", "further_cards")
    op.drop_table("memory_readings")
