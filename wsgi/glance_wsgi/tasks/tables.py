"""The table of jobs: ours, in Glance's database, with a version of its own.

It has no foreign keys: Glance's own upgrades and purges need not know of it.
"""

import sqlalchemy
from sqlalchemy import BigInteger
from sqlalchemy import Column
from sqlalchemy import Integer
from sqlalchemy import String
from sqlalchemy import Text

VERSION_TABLE = 'glance_wsgi_alembic_version'
"""Where Alembic keeps the revision: not in Glance's own table."""

METADATA = sqlalchemy.MetaData()

JOBS = sqlalchemy.Table(
    'glance_wsgi_jobs',
    METADATA,
    Column('task_id', String(36), primary_key=True),
    # The node that has the staged data; NULL where any node will do.
    Column('host', String(255)),
    # The process that has the token in memory; NULL where none is needed.
    Column('keeper', String(255)),
    # Who asked, as JSON; never with a token.
    Column('context', Text, nullable=False),
    # The process that has claimed it, and its node; NULL while it waits.
    Column('owner', String(255)),
    Column('node', String(255)),
    # The last sign of life, and when it was accepted: seconds since 1970.
    Column('beat', BigInteger, nullable=False),
    Column('created', BigInteger, nullable=False),
    # How often it was begun.
    Column('attempts', Integer, nullable=False),
    # What has been written for it, as far as its owner can see.
    Column('bytes', BigInteger, nullable=False),
    sqlalchemy.Index('ix_glance_wsgi_jobs_owner', 'owner', 'created'),
    mysql_engine='InnoDB',
    mysql_charset='utf8mb4',
)


def exist(engine: sqlalchemy.Engine) -> bool:
    """Whether the database has them, with all that we need."""
    found = sqlalchemy.inspect(engine)
    return all(
        found.has_table(table.name)
        and {column.name for column in table.columns}
        <= {column['name'] for column in found.get_columns(table.name)}
        for table in METADATA.sorted_tables
    )
