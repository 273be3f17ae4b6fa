"""What is worth knowing about a run though it goes on: a sentence, once.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run_warnings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("sentence", sa.String(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint("length(btrim(sentence)) > 0", name=op.f("ck_run_warnings_sentence_filled")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["pipeline_runs.id"], name=op.f("fk_run_warnings_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_warnings")),
        sa.UniqueConstraint("run_id", "sentence", name=op.f("uq_run_warnings_run_id_sentence")),
    )


def downgrade() -> None:
    op.drop_table("run_warnings")
