"""Training: datasets that say who is in them, consents, runs that are planned, watched and resumed, leases.

Revision ID: 0012
Revises: 0011
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TRIGGERS = Path(__file__).parent.parent / "sql" / "0012_training.sql"
_BEFORE = ("planned", "encoding", "training", "paused", "done", "failed", "stopped")
_STATUSES = ("planned", "queued", "encoding", "training", "exporting", *_BEFORE[3:])
_CHECKS = {
    "datasets": {
        "subject_known": "subject IN ('unsaid', 'fictional', 'real')",
        "consent_of_real": "consent_id IS NULL OR subject = 'real'",
        "consent_has_persona": "consent_id IS NULL OR persona_id IS NOT NULL",
    },
    "dataset_images": {"depth_positive": "depth >= 0"},
    "training_runs": {"counts_positive": "step >= 0 AND total_steps >= 0 AND attempt >= 0"},
    "consents": {
        "scope_known": "scope IN ('training', 'publishing', 'all')",
        "subject_filled": "length(btrim(subject)) BETWEEN 1 AND 200",
        "evidence_hash_form": "evidence_sha256 ~ '^([0-9a-f]{64})?$'",
        "expires_later": "expires_at IS NULL OR expires_at > given_at",
        "reason_of_withdrawn": "withdrawn_at IS NOT NULL OR withdrawn_reason = ''",
    },
}
_PICTURES = {"photo_id": "photos", "image_candidate_id": "image_candidates"}
_UNIQUE = {"datasets": ["folder"], "training_runs": ["folder"], "gpu_leases": ["card", "fence"]}


def _words(name: str, default: str = "") -> sa.Column[str]:
    return sa.Column(name, sa.String(), server_default=sa.text(f"'{default}'"), nullable=False)


def _count(name: str, default: int = 0) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), server_default=sa.text(str(default)), nullable=False)


def _long(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)


def _maybe(name: str, kind: type = sa.BigInteger) -> sa.Column[int]:
    return sa.Column(name, kind(), nullable=True)


def _flag(name: str, default: bool) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=sa.text(str(default).lower()), nullable=False)


def _document(name: str) -> sa.Column[object]:
    return sa.Column(name, postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False)


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True)


def _created_at() -> sa.Column[object]:
    return sa.Column(
        "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
    )


_COLUMNS = {
    "consents": lambda: [_words("evidence_sha256"), _moment("expires_at"), _words("withdrawn_reason")],
    "datasets": lambda: [
        _words("subject", "unsaid"),
        _maybe("consent_id"),
        _words("trigger_word"),
        _words("class_word"),
        _words("manifest_sha256"),
    ],
    "dataset_images": lambda: [_words("file"), _words("angle"), _words("expression"), _count("depth")],
    "training_runs": lambda: [
        _words("name"),
        _words("config_hash"),
        _words("dataset_hash"),
        _long("seed"),
        _count("total_steps"),
        _count("step"),
        _count("attempt"),
        _maybe("resumed_step", sa.Integer),
        _words("quantisation", "none"),
        _maybe("predicted_vram"),
        _maybe("measured_vram"),
        _maybe("predicted_ram"),
        _maybe("measured_ram"),
        _document("prediction"),
        _words("card"),
        _words("boot_id"),
        _maybe("pid", sa.Integer),
        _maybe("pid_started"),
        _moment("heartbeat_at"),
        _words("trouble"),
        _words("hint"),
        _maybe("best_step", sa.Integer),
        _maybe("parent_lora_id"),
        _moment("started_at"),
    ],
    "checkpoints": lambda: [
        _count("attempt", 1),
        _long("byte_count"),
        _flag("best", False),
        _flag("kept", True),
    ],
    "gpu_leases": lambda: [_maybe("training_run_id")],
}


def _set_statuses(statuses: tuple[str, ...]) -> None:
    name = op.f("ck_training_runs_status_known")
    op.drop_constraint(name, "training_runs", type_="check")
    known = ", ".join(f"'{status}'" for status in statuses)
    op.create_check_constraint(name, "training_runs", f"status IN ({known})")


def _link_pictures(*, let_go: bool) -> None:
    """A dataset has copies of its own: what is deleted in the library stays in it."""
    for column, table in _PICTURES.items():
        name = op.f(f"fk_dataset_images_{column}_persona_id")
        op.drop_constraint(name, "dataset_images", type_="foreignkey")
        op.create_foreign_key(
            name,
            "dataset_images",
            table,
            [column, "persona_id"],
            ["id", "persona_id"],
            ondelete=f"SET NULL ({column})" if let_go else None,
        )


def upgrade() -> None:
    for table, columns in _COLUMNS.items():
        for column in columns():
            op.add_column(table, column)
    op.execute("UPDATE consents SET scope = 'training' WHERE scope NOT IN ('training', 'publishing', 'all')")
    for table, checks in _CHECKS.items():
        for name, condition in checks.items():
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)
    for table, names in _UNIQUE.items():
        op.create_unique_constraint(op.f(f"uq_{table}_{'_'.join(names)}"), table, names)
    _set_statuses(_STATUSES)
    op.create_foreign_key(
        op.f("fk_datasets_consent_id_persona_id"),
        "datasets",
        "consents",
        ["consent_id", "persona_id"],
        ["id", "persona_id"],
    )
    op.create_foreign_key(
        op.f("fk_training_runs_parent_lora_id"), "training_runs", "lora_models", ["parent_lora_id"], ["id"]
    )
    op.create_foreign_key(
        op.f("fk_gpu_leases_training_run_id"),
        "gpu_leases",
        "training_runs",
        ["training_run_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.create_index(
        "ix_training_runs_live",
        "training_runs",
        ["id"],
        postgresql_where=sa.text("status IN ('encoding', 'training', 'exporting', 'paused')"),
    )
    op.create_index(
        "ix_training_runs_measured",
        "training_runs",
        ["base_family", "quantisation", "id"],
        postgresql_where=sa.text("measured_vram IS NOT NULL"),
    )
    # The one question that is asked of the trail by its action: was this licence acknowledged?
    op.create_index(
        "ix_audit_events_licence",
        "audit_events",
        ["subject"],
        postgresql_where=sa.text("action = 'licence.acknowledge'"),
    )
    _link_pictures(let_go=True)
    for column in _PICTURES:
        op.create_index(f"ix_dataset_images_{column}", "dataset_images", [column])
    _make_lora_tables()
    # Not by op.execute(), for which a colon or a per cent sign begins a parameter.
    op.get_bind().connection.cursor().execute(_TRIGGERS.read_text("utf-8"))


def _make_lora_tables() -> None:
    op.create_table(
        "lora_folders",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("root", sa.String(), nullable=False),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lora_folders")),
        sa.UniqueConstraint("root", name=op.f("uq_lora_folders_root")),
    )
    op.create_table(
        "lora_offers",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("folder_id", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("byte_count", sa.BigInteger(), nullable=False),
        sa.Column("modified_ns", sa.BigInteger(), nullable=False),
        _words("state", "offered"),
        _maybe("persona_id"),
        _document("details"),
        _created_at(),
        sa.CheckConstraint(
            "state IN ('offered', 'imported', 'dismissed', 'unusable')",
            name=op.f("ck_lora_offers_state_known"),
        ),
        sa.ForeignKeyConstraint(
            ["folder_id"], ["lora_folders.id"], name=op.f("fk_lora_offers_folder_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["persona_id"], ["personas.id"], name=op.f("fk_lora_offers_persona_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lora_offers")),
        sa.UniqueConstraint("path", name=op.f("uq_lora_offers_path")),
    )
    op.create_index("ix_lora_offers_folder_id", "lora_offers", ["folder_id"])


def downgrade() -> None:
    for table, trigger in (
        ("training_runs", "training_consent"),
        ("consents", "consent_kept"),
        ("consents", "append_only"),
    ):
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    for function in ("check_training_consent", "keep_consent"):
        op.execute(f"DROP FUNCTION {function}()")
    op.drop_table("lora_offers")
    op.drop_table("lora_folders")
    op.drop_index("ix_audit_events_licence", "audit_events")
    for column in _PICTURES:
        op.drop_index(f"ix_dataset_images_{column}", "dataset_images")
    _link_pictures(let_go=False)
    for name in ("live", "measured"):
        op.drop_index(f"ix_training_runs_{name}", "training_runs")
    op.drop_constraint(op.f("fk_gpu_leases_training_run_id"), "gpu_leases", type_="foreignkey")
    op.drop_constraint(op.f("fk_training_runs_parent_lora_id"), "training_runs", type_="foreignkey")
    op.drop_constraint(op.f("fk_datasets_consent_id_persona_id"), "datasets", type_="foreignkey")
    op.execute("UPDATE training_runs SET status = 'failed' WHERE status IN ('queued', 'exporting')")
    _set_statuses(_BEFORE)
    for table, names in _UNIQUE.items():
        op.drop_constraint(op.f(f"uq_{table}_{'_'.join(names)}"), table, type_="unique")
    for table, checks in _CHECKS.items():
        for name in checks:
            op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
    for table, columns in _COLUMNS.items():
        for column in columns():
            op.drop_column(table, column.name)
