"""The cached posterior of a contest has half as many bytes.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_FORGET = "UPDATE contests SET posterior = NULL, posterior_vote_id = NULL"
"""The cache's form changed; it is made anew from the votes."""


def upgrade() -> None:
    op.execute(_FORGET)


def downgrade() -> None:
    op.execute(_FORGET)
