"""Comparisons of two LoRAs: their pictures, and contests over them.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_SUBJECT = "(kind = 'run_step') = (run_step_id IS NOT NULL) AND (kind = 'cluster') = (cluster_id IS NOT NULL)"
_ONE_PICTURE = "num_nonnulls(image_candidate_id, photo_id{more}) = 1"
_FITS = """
CREATE OR REPLACE FUNCTION check_contest_member() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE contest contests;
BEGIN
  SELECT * INTO contest FROM contests WHERE id = NEW.contest_id;
  IF (contest.kind = 'run_step' AND NOT EXISTS (
        SELECT FROM image_candidates c WHERE c.id = NEW.image_candidate_id AND c.run_step_id = contest.run_step_id))
     OR (contest.kind = 'cluster' AND NOT EXISTS (
        SELECT FROM cluster_candidates m WHERE m.cluster_id = contest.cluster_id
          AND (m.image_candidate_id = NEW.image_candidate_id OR m.photo_id = NEW.photo_id)))
     OR ((contest.comparison_id IS NOT NULL OR NEW.comparison_picture_id IS NOT NULL) AND NOT EXISTS (
        SELECT FROM lora_comparison_pictures p WHERE p.id = NEW.comparison_picture_id
          AND p.comparison_id = contest.comparison_id)) THEN
    RAISE EXCEPTION 'the picture is not part of contest %', NEW.contest_id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'contest_member_fits', TABLE = 'contest_members';
  END IF;
  RETURN NEW;
END $$;"""
_FITTED = """
CREATE OR REPLACE FUNCTION check_contest_member() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE contest contests;
BEGIN
  SELECT * INTO contest FROM contests WHERE id = NEW.contest_id;
  IF (contest.kind = 'run_step' AND NOT EXISTS (
        SELECT FROM image_candidates c WHERE c.id = NEW.image_candidate_id AND c.run_step_id = contest.run_step_id))
     OR (contest.kind = 'cluster' AND NOT EXISTS (
        SELECT FROM cluster_candidates m WHERE m.cluster_id = contest.cluster_id
          AND (m.image_candidate_id = NEW.image_candidate_id OR m.photo_id = NEW.photo_id))) THEN
    RAISE EXCEPTION 'the picture is not part of contest %', NEW.contest_id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'contest_member_fits', TABLE = 'contest_members';
  END IF;
  RETURN NEW;
END $$;"""


def upgrade() -> None:
    """Add the tables, and let contests have them for their subject."""
    _make_comparisons()
    _make_pictures()
    op.add_column("contests", sa.Column("comparison_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        op.f("fk_contests_comparison_id"),
        "contests",
        "lora_comparisons",
        ["comparison_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_unique_constraint(op.f("uq_contests_comparison_id"), "contests", ["comparison_id"])
    op.add_column("contest_members", sa.Column("comparison_picture_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        op.f("fk_contest_members_comparison_picture_id"),
        "contest_members",
        "lora_comparison_pictures",
        ["comparison_picture_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_unique_constraint(
        op.f("uq_contest_members_comparison_picture_id"), "contest_members", ["comparison_picture_id"]
    )
    _replace_checks(
        f"{_SUBJECT} AND (comparison_id IS NULL OR kind = 'comparison')",
        _ONE_PICTURE.format(more=", comparison_picture_id"),
    )
    _run(_FITS)


def downgrade() -> None:
    """Forget all comparisons, with their votes."""
    op.execute("DELETE FROM contests WHERE comparison_id IS NOT NULL")
    _run(_FITTED)
    _replace_checks(_SUBJECT, _ONE_PICTURE.format(more=""))
    op.drop_column("contest_members", "comparison_picture_id")
    op.drop_column("contests", "comparison_id")
    op.drop_table("lora_comparison_pictures")
    op.drop_table("lora_comparisons")


def _replace_checks(subject: str, picture: str) -> None:
    for table, name, condition in (
        ("contests", "subject_fits_kind", subject),
        ("contest_members", "one_picture", picture),
    ):
        op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def _run(statement: str) -> None:
    """Not by op.execute(), for which a colon or a per cent sign begins a parameter."""
    op.get_bind().connection.cursor().execute(statement)


def _make_comparisons() -> None:
    op.create_table(
        "lora_comparisons",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("persona_id", "lora_model_id", "beside_id", "pipeline_id")
        ),
        sa.Column("weight", sa.Float(), nullable=True),
        *(
            sa.Column(name, postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False)
            for name in ("prompts", "seeds")
        ),
        _created_at(),
        sa.CheckConstraint("lora_model_id <> beside_id", name=op.f("ck_lora_comparisons_two_loras")),
        sa.CheckConstraint(
            "jsonb_array_length(prompts) > 0 AND jsonb_array_length(seeds) > 0",
            name=op.f("ck_lora_comparisons_something_to_picture"),
        ),
        sa.CheckConstraint("weight BETWEEN 0 AND 1", name=op.f("ck_lora_comparisons_weight_range")),
        *(
            sa.ForeignKeyConstraint(
                [name], [f"{table}.id"], name=op.f(f"fk_lora_comparisons_{name}"), ondelete="CASCADE"
            )
            for name, table in (
                ("persona_id", "personas"),
                ("lora_model_id", "lora_models"),
                ("beside_id", "lora_models"),
                ("pipeline_id", "pipelines"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lora_comparisons")),
    )
    for name in ("persona_id", "lora_model_id", "beside_id"):
        op.create_index(f"ix_lora_comparisons_{name}", "lora_comparisons", [name])


def _make_pictures() -> None:
    table = "lora_comparison_pictures"
    op.create_table(
        table,
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("comparison_id", sa.BigInteger(), nullable=False),
        sa.Column("lora_model_id", sa.BigInteger(), nullable=False),
        sa.Column("prompt_index", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("media_key", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        _created_at(),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f(f"ck_{table}_sha256_form")),
        sa.ForeignKeyConstraint(
            ["comparison_id"],
            ["lora_comparisons.id"],
            name=op.f(f"fk_{table}_comparison_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["lora_model_id"], ["lora_models.id"], name=op.f(f"fk_{table}_lora_model_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint(
            "comparison_id",
            "prompt_index",
            "seed",
            "lora_model_id",
            name=op.f(f"uq_{table}_comparison_id_prompt_index_seed_lora_model_id"),
        ),
    )
    op.create_index(f"ix_{table}_lora_model_id", table, ["lora_model_id"])


def _created_at() -> sa.Column[object]:
    now = sa.text("persona_now()")
    return sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False)
