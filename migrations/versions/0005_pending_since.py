"""Since when a message waits for its vector: asked for again or restored, it begins anew.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
serves_from = "0004"


def upgrade() -> None:
    """A default that is the same for all rows is no rewrite of the table."""
    op.execute("alter table messages add column pending_since timestamptz not null default now()")
    op.execute("""
        update messages set pending_since = greatest(ingested_at, restored_at)
        where embedding_status = 'pending'
    """)


def downgrade() -> None:
    """It is told from other columns again."""
    op.execute("alter table messages drop column pending_since")
