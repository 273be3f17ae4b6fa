"""Votes that repeat an earlier showing, ratings brought along from elsewhere, and a flag on pictures.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_FORGET = "UPDATE contests SET posterior = NULL, posterior_vote_id = NULL"
"""The cache's form changed; it is made anew from the votes."""
_AS_IT_IS = "ALTER TABLE contests ALTER posterior SET STORAGE EXTERNAL"
"""Floating-point numbers don't get smaller by compression; trying it at each vote only takes time."""


def upgrade() -> None:
    no = sa.text("false")
    op.add_column("image_candidates", sa.Column("flagged", sa.Boolean(), server_default=no, nullable=False))
    op.add_column("votes", sa.Column("repeat", sa.Boolean(), server_default=no, nullable=False))
    op.add_column("contest_members", sa.Column("old_elo", sa.Integer(), nullable=True))
    op.create_index("ix_votes_voter", "votes", ["voter", "id"])
    op.execute(_FORGET)
    op.execute(_AS_IT_IS)


def downgrade() -> None:
    op.execute(_FORGET)
    op.execute("ALTER TABLE contests ALTER posterior SET STORAGE EXTENDED")
    op.drop_index("ix_votes_voter", "votes")
    op.drop_column("contest_members", "old_elo")
    op.drop_column("votes", "repeat")
    op.drop_column("image_candidates", "flagged")
