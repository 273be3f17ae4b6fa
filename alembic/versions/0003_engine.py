"""What the engine needs: budgets, boots, when a job began, and the variables that it was sent with.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run_budgets",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("max_pictures", sa.Integer(), nullable=True),
        sa.Column("pictures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_gpu_seconds", sa.Float(), nullable=True),
        sa.Column("gpu_seconds", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("max_pictures > 0", name=op.f("ck_run_budgets_max_pictures_range")),
        sa.CheckConstraint("max_gpu_seconds > 0", name=op.f("ck_run_budgets_max_gpu_seconds_range")),
        sa.CheckConstraint("pictures >= 0 AND gpu_seconds >= 0", name=op.f("ck_run_budgets_spent_range")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["pipeline_runs.id"], name=op.f("fk_run_budgets_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run_budgets")),
    )
    op.create_table(
        "daily_budgets",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("pictures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("gpu_seconds", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("pictures >= 0 AND gpu_seconds >= 0", name=op.f("ck_daily_budgets_spent_range")),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_daily_budgets")),
    )
    op.create_table(
        "comfyui_endpoints",
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("boot", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("queue_number", sa.Float(), nullable=False),
        sa.CheckConstraint("boot >= 1", name=op.f("ck_comfyui_endpoints_boot_range")),
        sa.PrimaryKeyConstraint("url", name=op.f("pk_comfyui_endpoints")),
    )
    op.add_column(
        "comfyui_jobs",
        sa.Column(
            "variables",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
    )
    op.add_column("comfyui_jobs", sa.Column("queue_number", sa.Float(), nullable=True))
    op.add_column("comfyui_jobs", sa.Column("boot", sa.Integer(), nullable=True))
    op.add_column(
        "comfyui_jobs", sa.Column("gpu_seconds", sa.Float(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("comfyui_jobs", sa.Column("reserved_day", sa.Date(), nullable=True))
    op.add_column("comfyui_jobs", sa.Column("started_at", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(op.f("ck_comfyui_jobs_gpu_seconds_range"), "comfyui_jobs", "gpu_seconds >= 0")
    op.create_index(
        "ix_comfyui_jobs_day",
        "comfyui_jobs",
        ["reserved_day"],
        postgresql_where=sa.text("reserved_day IS NOT NULL"),
    )
    _index_active_runs("status IN ('pending', 'running')")


def downgrade() -> None:
    _index_active_runs("status IN ('pending', 'running', 'waiting')")
    op.drop_index("ix_comfyui_jobs_day", table_name="comfyui_jobs")
    op.drop_constraint(op.f("ck_comfyui_jobs_gpu_seconds_range"), "comfyui_jobs")
    for column in ("started_at", "reserved_day", "gpu_seconds", "boot", "queue_number", "variables"):
        op.drop_column("comfyui_jobs", column)
    for table in ("comfyui_endpoints", "daily_budgets", "run_budgets"):
        op.drop_table(table)


def _index_active_runs(where: str) -> None:
    """Runs that wait for votes are the usual case and nothing that the engine has to look at."""
    op.drop_index("ix_pipeline_runs_active", table_name="pipeline_runs")
    op.create_index("ix_pipeline_runs_active", "pipeline_runs", ["id"], postgresql_where=sa.text(where))
