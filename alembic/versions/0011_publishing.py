"""Publishing: every format, first comments, token life, media hosts, breakers, and a pause for all.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_CHECKS = {
    "scheduling_posts": {
        "fit_known": "fit IN ('crop', 'pad')",
        "late_policy_known": "late_policy IN ('', 'reslot', 'drop', 'ask')",
        "comment_state_known": "comment_state IN ('', 'waiting', 'sending', 'unknown', 'posted', 'failed')",
        "first_comment_length": "length(first_comment) <= 2200",
        "comment_has_state": "(comment_state = '') = (first_comment = '')",
    },
    "media_objects": {"host_known": "host IN ('first', 'second')"},
}


def _words(name: str, default: str = "") -> sa.Column[str]:
    return sa.Column(name, sa.String(), server_default=sa.text(f"'{default}'"), nullable=False)


def _flag(name: str, default: bool) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=sa.text(str(default).lower()), nullable=False)


def _list(name: str) -> sa.Column[object]:
    return sa.Column(name, postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False)


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True)


_COLUMNS = {
    "installation": lambda: [_flag("publishing_paused", False)],
    "instagram_accounts": lambda: [
        _words("page_id"),
        _list("scopes"),
        _moment("token_obtained_at"),
        _moment("token_checked_at"),
        _moment("token_refreshed_at"),
        _moment("token_due_at"),
        _words("token_trouble"),
        sa.Column("previous_token_ciphertext", sa.LargeBinary(), nullable=True),
        _words("previous_token_key_id"),
        _moment("quiet_until"),
        sa.Column("min_gap_minutes", sa.Integer(), nullable=True),
    ],
    "scheduling_posts": lambda: [
        _list("user_tags"),
        _list("collaborators"),
        _words("location_id"),
        _words("fit", "crop"),
        _flag("share_to_feed", True),
        sa.Column("cover_ms", sa.Integer(), nullable=True),
        _words("first_comment"),
        _words("comment_state"),
        sa.Column("comment_id", sa.String(), nullable=True),
        _words("comment_reason"),
        _moment("comment_tried_at"),
        _words("late_policy"),
        _list("child_creation_ids"),
    ],
    "media_objects": lambda: [_words("host", "first")],
}


def upgrade() -> None:
    for table, columns in _COLUMNS.items():
        for column in columns():
            op.add_column(table, column)
    for table, checks in _CHECKS.items():
        for name, condition in checks.items():
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)
    op.create_index(
        "ix_scheduling_posts_comment",
        "scheduling_posts",
        ["published_at"],
        postgresql_where=sa.text("comment_state IN ('waiting', 'sending', 'unknown')"),
    )
    # The claim of one account among 10,000 due posts reads its own rows alone.
    op.create_index(
        "ix_scheduling_posts_next",
        "scheduling_posts",
        ["account_id", "scheduled_at"],
        postgresql_where=sa.text("state = 'scheduled'"),
    )
    op.create_index(
        "ix_scheduling_posts_out",
        "scheduling_posts",
        ["account_id", "published_at"],
        postgresql_where=sa.text("published_at IS NOT NULL"),
    )
    op.create_table(
        "circuit_breakers",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _moment("open_until"),
        _words("reason"),
        sa.Column(
            "changed_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_circuit_breakers")),
    )


def downgrade() -> None:
    op.drop_table("circuit_breakers")
    for name in ("comment", "next", "out"):
        op.drop_index(f"ix_scheduling_posts_{name}", "scheduling_posts")
    for table, checks in _CHECKS.items():
        for name in checks:
            op.drop_constraint(op.f(f"ck_{table}_{name}"), table)
    for table, columns in _COLUMNS.items():
        for column in columns():
            op.drop_column(table, column.name)
