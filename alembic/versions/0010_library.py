"""The library: imports that go on where they were, analyses one by one, reviews of clusters, compact vectors.

Revision ID: 0010
Revises: 0009
"""

import pgvector.sqlalchemy
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_CHECKS = {
    "clusters": {"origin_known": "origin IN ('operator', 'built')"},
    "photos": {
        "kept_known": "kept IN ('copy', 'reference')",
        "reference_has_path": "kept = 'copy' OR source_path <> ''",
        "reason_of_rejected": "stage = 'rejected' OR reject_reason = ''",
        "poster_whole": "(poster_key IS NULL) = (poster_sha256 IS NULL)",
    },
}
_OWNERS = """
UPDATE embeddings e SET persona_id = coalesce(
  (SELECT p.persona_id FROM photos p WHERE p.id = e.photo_id),
  (SELECT c.persona_id FROM image_candidates c WHERE c.id = e.image_candidate_id))
"""


def upgrade() -> None:
    op.create_table(
        "photo_imports",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default=sa.text("'running'"), nullable=False),
        sa.Column("accept", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("kept", sa.String(), server_default=sa.text("'copy'"), nullable=False),
        sa.Column("watch", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("cluster_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kept IN ('copy', 'reference')", name=op.f("ck_photo_imports_kept_known")),
        sa.CheckConstraint(
            "state IN ('running', 'stopped', 'done')", name=op.f("ck_photo_imports_state_known")
        ),
        sa.ForeignKeyConstraint(
            ["cluster_id", "persona_id"],
            ["clusters.id", "clusters.persona_id"],
            name=op.f("fk_photo_imports_cluster_id_persona_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["persona_id"], ["personas.id"], name=op.f("fk_photo_imports_persona_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photo_imports")),
        sa.UniqueConstraint("id", "persona_id", name=op.f("uq_photo_imports_id_persona_id")),
    )
    op.create_index("ix_photo_imports_persona_id_root", "photo_imports", ["persona_id", "root"], unique=False)
    op.create_table(
        "photo_import_files",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("import_id", sa.BigInteger(), nullable=False),
        sa.Column("path_bytes", sa.LargeBinary(), nullable=False),
        sa.Column("byte_count", sa.BigInteger(), nullable=False),
        sa.Column("modified_ns", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("sentence", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("photo_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint(
            "outcome IN ('imported', 'already there', 'failed')",
            name=op.f("ck_photo_import_files_outcome_known"),
        ),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["photo_imports.id"],
            name=op.f("fk_photo_import_files_import_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["photo_id"], ["photos.id"], name=op.f("fk_photo_import_files_photo_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photo_import_files")),
        sa.UniqueConstraint(
            "import_id", "path_bytes", name=op.f("uq_photo_import_files_import_id_path_bytes")
        ),
    )
    op.create_index(op.f("ix_photo_import_files_photo_id"), "photo_import_files", ["photo_id"], unique=False)
    op.create_table(
        "analysis_outcomes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("photo_id", sa.BigInteger(), nullable=True),
        sa.Column("image_candidate_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("problem", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("version", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "changed_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint(
            "kind IN ('measures', 'faces', 'embedding', 'vision', 'safety')",
            name=op.f("ck_analysis_outcomes_kind_known"),
        ),
        sa.CheckConstraint(
            "state IN ('done', 'failed', 'unknown')", name=op.f("ck_analysis_outcomes_state_known")
        ),
        sa.CheckConstraint(
            "num_nonnulls(photo_id, image_candidate_id) = 1", name=op.f("ck_analysis_outcomes_one_picture")
        ),
        sa.ForeignKeyConstraint(
            ["image_candidate_id"],
            ["image_candidates.id"],
            name=op.f("fk_analysis_outcomes_image_candidate_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["photo_id"], ["photos.id"], name=op.f("fk_analysis_outcomes_photo_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analysis_outcomes")),
        sa.UniqueConstraint(
            "image_candidate_id", "kind", name=op.f("uq_analysis_outcomes_image_candidate_id_kind")
        ),
        sa.UniqueConstraint("photo_id", "kind", name=op.f("uq_analysis_outcomes_photo_id_kind")),
    )
    op.create_table(
        "cluster_reviews",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("photo_id", sa.BigInteger(), nullable=True),
        sa.Column("image_candidate_id", sa.BigInteger(), nullable=True),
        sa.Column("cluster_id", sa.BigInteger(), nullable=False),
        sa.Column("distance", sa.Float(), nullable=False),
        sa.Column("runner_up", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("state", sa.String(), server_default=sa.text("'open'"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.CheckConstraint(
            "state IN ('open', 'taken', 'dismissed')", name=op.f("ck_cluster_reviews_state_known")
        ),
        sa.CheckConstraint(
            "num_nonnulls(photo_id, image_candidate_id) = 1", name=op.f("ck_cluster_reviews_one_picture")
        ),
        sa.ForeignKeyConstraint(
            ["cluster_id", "persona_id"],
            ["clusters.id", "clusters.persona_id"],
            name=op.f("fk_cluster_reviews_cluster_id_persona_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["image_candidate_id", "persona_id"],
            ["image_candidates.id", "image_candidates.persona_id"],
            name=op.f("fk_cluster_reviews_image_candidate_id_persona_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["persona_id"], ["personas.id"], name=op.f("fk_cluster_reviews_persona_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["photo_id", "persona_id"],
            ["photos.id", "photos.persona_id"],
            name=op.f("fk_cluster_reviews_photo_id_persona_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cluster_reviews")),
    )
    op.create_index(op.f("ix_cluster_reviews_cluster_id"), "cluster_reviews", ["cluster_id"], unique=False)
    op.create_index(
        "uq_cluster_reviews_image_candidate",
        "cluster_reviews",
        ["image_candidate_id"],
        unique=True,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        "uq_cluster_reviews_photo",
        "cluster_reviews",
        ["photo_id"],
        unique=True,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.add_column(
        "clusters", sa.Column("origin", sa.String(), server_default=sa.text("'operator'"), nullable=False)
    )
    op.add_column(
        "clusters", sa.Column("proposed_name", sa.String(), server_default=sa.text("''"), nullable=False)
    )
    op.add_column(
        "clusters",
        sa.Column("details", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
    )
    op.add_column("embeddings", sa.Column("persona_id", sa.BigInteger(), nullable=True))
    op.add_column(
        "embeddings",
        sa.Column(
            "compact",
            pgvector.sqlalchemy.HALFVEC(dim=512),
            sa.Computed("vector::halfvec(512)", persisted=True),
            nullable=True,
        ),
    )
    op.drop_index(
        op.f("ix_embeddings_vector"),
        table_name="embeddings",
        postgresql_ops={"vector": "vector_cosine_ops"},
        postgresql_with={"m": "16", "ef_construction": "64"},
        postgresql_using="hnsw",
    )
    op.create_index(
        "ix_embeddings_persona_id_model_hash", "embeddings", ["persona_id", "model_hash"], unique=False
    )
    op.create_foreign_key(
        op.f("fk_embeddings_persona_id"), "embeddings", "personas", ["persona_id"], ["id"], ondelete="CASCADE"
    )
    op.add_column(
        "photos", sa.Column("reject_reason", sa.String(), server_default=sa.text("''"), nullable=False)
    )
    op.add_column("photos", sa.Column("kept", sa.String(), server_default=sa.text("'copy'"), nullable=False))
    op.add_column(
        "photos", sa.Column("source_path", sa.String(), server_default=sa.text("''"), nullable=False)
    )
    op.add_column("photos", sa.Column("poster_key", sa.String(), nullable=True))
    op.add_column("photos", sa.Column("poster_sha256", sa.String(), nullable=True))
    op.add_column("photos", sa.Column("caption", sa.String(), server_default=sa.text("''"), nullable=False))
    op.add_column(
        "photos", sa.Column("flagged", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("photos", sa.Column("perceptual_hash", sa.BigInteger(), nullable=True))
    op.add_column("photos", sa.Column("taken_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("photos", sa.Column("duration_seconds", sa.Float(), nullable=True))
    op.add_column(
        "photos",
        sa.Column("details", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
    )
    op.add_column("photos", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_photos_persona_id_stage", "photos", ["persona_id", "stage", "id"], unique=False)
    op.create_index("ix_photos_newest", "photos", ["persona_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_photos_taken",
        "photos",
        ["persona_id", sa.literal_column("coalesce(taken_at, created_at)"), "id"],
        unique=False,
    )
    op.create_index(
        "ix_photos_flagged",
        "photos",
        ["persona_id", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("flagged"),
    )
    op.create_index(
        "ix_cluster_candidates_order", "cluster_candidates", ["cluster_id", "display_order"], unique=False
    )
    op.create_index(
        "ix_image_candidates_newest", "image_candidates", ["persona_id", "created_at", "id"], unique=False
    )
    op.add_column("picture_analyses", sa.Column("faces", sa.Integer(), nullable=True))
    op.add_column("picture_analyses", sa.Column("face_share", sa.Float(), nullable=True))
    op.add_column("picture_analyses", sa.Column("face_model", sa.String(), nullable=True))
    op.add_column("picture_analyses", sa.Column("face_vector", postgresql.ARRAY(sa.REAL()), nullable=True))
    op.add_column("picture_analyses", sa.Column("aesthetic", sa.Float(), nullable=True))
    op.add_column("picture_analyses", sa.Column("safety", sa.String(), nullable=True))
    op.add_column("picture_analyses", sa.Column("caption", sa.String(), nullable=True))
    op.add_column("picture_analyses", sa.Column("objects", postgresql.JSONB(), nullable=True))
    op.create_table(
        "tastes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("persona_id", sa.BigInteger(), nullable=False),
        sa.Column("model_hash", sa.String(), nullable=False),
        sa.Column("weights", pgvector.sqlalchemy.Vector(dim=512), nullable=False),
        sa.Column("votes", sa.Integer(), nullable=False),
        sa.Column("last_vote_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "learnt_at", sa.DateTime(timezone=True), server_default=sa.text("persona_now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["persona_id"], ["personas.id"], name=op.f("fk_tastes_persona_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tastes")),
        sa.UniqueConstraint("persona_id", "model_hash", name=op.f("uq_tastes_persona_id_model_hash")),
    )
    op.add_column("contest_members", sa.Column("predicted", sa.REAL(), nullable=True))
    op.execute("ALTER TABLE embeddings ALTER compact SET STORAGE PLAIN")
    op.execute(_OWNERS)
    for table, checks in _CHECKS.items():
        for name, rule in checks.items():
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, rule)


def downgrade() -> None:
    op.drop_column("contest_members", "predicted")
    op.drop_table("tastes")
    for table, checks in _CHECKS.items():
        for name in checks:
            op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
    op.drop_column("picture_analyses", "objects")
    op.drop_column("picture_analyses", "caption")
    op.drop_column("picture_analyses", "safety")
    op.drop_column("picture_analyses", "aesthetic")
    op.drop_column("picture_analyses", "face_vector")
    op.drop_column("picture_analyses", "face_model")
    op.drop_column("picture_analyses", "face_share")
    op.drop_column("picture_analyses", "faces")
    op.drop_index("ix_image_candidates_newest", table_name="image_candidates")
    op.drop_index("ix_cluster_candidates_order", table_name="cluster_candidates")
    op.drop_index("ix_photos_flagged", table_name="photos", postgresql_where=sa.text("flagged"))
    op.drop_index("ix_photos_taken", table_name="photos")
    op.drop_index("ix_photos_newest", table_name="photos")
    op.drop_index("ix_photos_persona_id_stage", table_name="photos")
    op.drop_column("photos", "deleted_at")
    op.drop_column("photos", "details")
    op.drop_column("photos", "duration_seconds")
    op.drop_column("photos", "taken_at")
    op.drop_column("photos", "perceptual_hash")
    op.drop_column("photos", "flagged")
    op.drop_column("photos", "caption")
    op.drop_column("photos", "poster_sha256")
    op.drop_column("photos", "poster_key")
    op.drop_column("photos", "source_path")
    op.drop_column("photos", "kept")
    op.drop_column("photos", "reject_reason")
    op.drop_constraint(op.f("fk_embeddings_persona_id"), "embeddings", type_="foreignkey")
    op.drop_index("ix_embeddings_persona_id_model_hash", table_name="embeddings")
    op.create_index(
        op.f("ix_embeddings_vector"),
        "embeddings",
        ["vector"],
        unique=False,
        postgresql_ops={"vector": "vector_cosine_ops"},
        postgresql_with={"m": "16", "ef_construction": "64"},
        postgresql_using="hnsw",
    )
    op.drop_column("embeddings", "compact")
    op.drop_column("embeddings", "persona_id")
    op.drop_column("clusters", "details")
    op.drop_column("clusters", "proposed_name")
    op.drop_column("clusters", "origin")
    op.drop_index(
        "uq_cluster_reviews_photo", table_name="cluster_reviews", postgresql_where=sa.text("state = 'open'")
    )
    op.drop_index(
        "uq_cluster_reviews_image_candidate",
        table_name="cluster_reviews",
        postgresql_where=sa.text("state = 'open'"),
    )
    op.drop_index(op.f("ix_cluster_reviews_cluster_id"), table_name="cluster_reviews")
    op.drop_table("cluster_reviews")
    op.drop_table("analysis_outcomes")
    op.drop_index(op.f("ix_photo_import_files_photo_id"), table_name="photo_import_files")
    op.drop_table("photo_import_files")
    op.drop_index("ix_photo_imports_persona_id_root", table_name="photo_imports")
    op.drop_table("photo_imports")
