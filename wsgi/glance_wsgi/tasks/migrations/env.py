"""Run by Alembic, on the connection that `glance_wsgi.db.own` gives it."""

from alembic import context

from glance_wsgi.tasks import tables

context.configure(
    connection=context.config.attributes['connection'],
    target_metadata=tables.METADATA,
    version_table=tables.VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
