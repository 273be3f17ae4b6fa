"""Gates that open and shut: withdrawn places, night mode, why a gate was passed, files that are to go.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STATE = "ck_generation_slots_state_known"


def upgrade() -> None:
    op.drop_constraint(op.f(_STATE), "generation_slots", type_="check")
    op.create_check_constraint(
        op.f(_STATE), "generation_slots", "state IN ('open', 'busy', 'filled', 'failed', 'withdrawn')"
    )
    op.add_column(
        "pipeline_runs", sa.Column("night", sa.String(), server_default=sa.text("'off'"), nullable=False)
    )
    op.add_column("pipeline_runs", sa.Column("night_at", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(
        op.f("ck_pipeline_runs_night_known"), "pipeline_runs", "night IN ('off', 'sure', 'at')"
    )
    op.create_check_constraint(
        op.f("ck_pipeline_runs_night_dated"), "pipeline_runs", "(night = 'at') = (night_at IS NOT NULL)"
    )
    op.add_column(
        "pipeline_run_steps",
        sa.Column("approval_reason", sa.String(), server_default=sa.text("''"), nullable=False),
    )
    op.create_table(
        "media_removals",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("media_key", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_media_removals_sha256_form")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_media_removals")),
        sa.UniqueConstraint("media_key", name=op.f("uq_media_removals_media_key")),
    )


def downgrade() -> None:
    op.drop_table("media_removals")
    op.drop_column("pipeline_run_steps", "approval_reason")
    op.drop_constraint(op.f("ck_pipeline_runs_night_dated"), "pipeline_runs", type_="check")
    op.drop_constraint(op.f("ck_pipeline_runs_night_known"), "pipeline_runs", type_="check")
    op.drop_column("pipeline_runs", "night_at")
    op.drop_column("pipeline_runs", "night")
    op.drop_constraint(op.f(_STATE), "generation_slots", type_="check")
    op.execute("UPDATE generation_slots SET state = 'failed' WHERE state = 'withdrawn'")
    op.create_check_constraint(
        op.f(_STATE), "generation_slots", "state IN ('open', 'busy', 'filled', 'failed')"
    )
