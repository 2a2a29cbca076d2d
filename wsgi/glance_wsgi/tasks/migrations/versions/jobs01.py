"""add the table of jobs"""

import sqlalchemy as sa
from alembic import op

revision = 'jobs01'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        'glance_wsgi_jobs',
        sa.Column('task_id', sa.String(36), primary_key=True),
        sa.Column('host', sa.String(255)),
        sa.Column('keeper', sa.String(255)),
        sa.Column('context', sa.Text, nullable=False),
        sa.Column('owner', sa.String(255)),
        sa.Column('node', sa.String(255)),
        sa.Column('beat', sa.BigInteger, nullable=False),
        sa.Column('created', sa.BigInteger, nullable=False),
        sa.Column('attempts', sa.Integer, nullable=False),
        sa.Column('bytes', sa.BigInteger, nullable=False),
        sa.Index('ix_glance_wsgi_jobs_owner', 'owner', 'created'),
        mysql_engine='InnoDB',
        mysql_charset='utf8mb4',
    )
