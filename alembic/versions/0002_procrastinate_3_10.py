"""The job queue's tables: procrastinate 3.10.

Revision ID: 0002
Revises: 0001
"""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent.parent / "sql" / "0002_procrastinate_3_10.sql"

_DROP = """
DO $$
DECLARE thing record;
BEGIN
  FOR thing IN SELECT tablename FROM pg_tables
    WHERE schemaname = current_schema() AND tablename LIKE 'procrastinate\\_%'
  LOOP EXECUTE format('DROP TABLE %I CASCADE', thing.tablename); END LOOP;
  FOR thing IN SELECT p.oid::regprocedure AS signature FROM pg_proc p
    WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'procrastinate\\_%'
  LOOP EXECUTE format('DROP FUNCTION %s CASCADE', thing.signature); END LOOP;
  FOR thing IN SELECT typname FROM pg_type
    WHERE typnamespace = current_schema()::regnamespace AND typname LIKE 'procrastinate\\_%'
  LOOP EXECUTE format('DROP TYPE IF EXISTS %I CASCADE', thing.typname); END LOOP;
END $$
"""


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(_SQL.read_text())


def downgrade() -> None:
    op.get_bind().connection.cursor().execute(_DROP)
