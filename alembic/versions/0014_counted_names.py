"""Clusters that a build made earlier: their counted names are not for the public either.

Revision ID: 0014
Revises: 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Note which names were counted."""
    op.execute(
        "UPDATE clusters SET details = details || jsonb_build_object('given', name, 'said', NULL)"
        " WHERE origin = 'built' AND name ~ '^Group [0-9]+$' AND NOT details ? 'given'"
    )


def downgrade() -> None:
    """Take the notes away."""
    op.execute("UPDATE clusters SET details = details - 'given' - 'said'")
