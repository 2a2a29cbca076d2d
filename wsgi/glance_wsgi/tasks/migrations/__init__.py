"""The Alembic revisions of our own tables."""
