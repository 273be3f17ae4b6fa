"""Outcomes of a check of pictures that is not built in: they said "unknown" of each picture.

Revision ID: 0013
Revises: 0012
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forget them."""
    op.execute("DELETE FROM analysis_outcomes WHERE kind = 'safety'")


def downgrade() -> None:
    """They come back by themselves."""
