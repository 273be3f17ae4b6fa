"""An index of what an account has deferred: every claim asks for it.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_NAME = "ix_scheduling_posts_deferred"


def upgrade() -> None:
    """Add the index."""
    op.create_index(_NAME, "scheduling_posts", ["account_id"], postgresql_where=sa.text("state = 'deferred'"))


def downgrade() -> None:
    """Drop the index."""
    op.drop_index(_NAME, "scheduling_posts")
