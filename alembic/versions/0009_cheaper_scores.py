"""A vote's new scores change no index and stay on their pages.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_INDEX, _TABLE = "ix_image_candidates_step", "image_candidates"


def upgrade() -> None:
    op.drop_index(_INDEX, _TABLE)
    op.create_index(_INDEX, _TABLE, ["run_step_id", "status"])
    op.execute("ALTER TABLE image_candidates SET (fillfactor = 70)")


def downgrade() -> None:
    op.execute("ALTER TABLE image_candidates RESET (fillfactor)")
    op.drop_index(_INDEX, _TABLE)
    op.create_index(_INDEX, _TABLE, ["run_step_id", "status", "elo_score"])
