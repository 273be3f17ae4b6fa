"""What a server says of the inputs that hold placeholders, kept beside the step.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pipeline_step_types",
        sa.Column("pipeline_step_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "types",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["pipeline_step_id"],
            ["pipeline_steps.id"],
            name=op.f("fk_pipeline_step_types_pipeline_step_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("pipeline_step_id", name=op.f("pk_pipeline_step_types")),
    )


def downgrade() -> None:
    op.drop_table("pipeline_step_types")
