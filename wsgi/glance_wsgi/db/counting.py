"""How many rows a data migration of Glance would migrate now.

It only tells whether there are some. What it has looked for last is what it
has found; that is counted.
"""

from typing import Any

import sqlalchemy

from glance_wsgi.db import glance


def rows_left(
    engine: sqlalchemy.Engine, found: glance.DataMigration
) -> int | None:
    """The number of rows; None if there are some that can't be counted."""
    asked: list[Any] = []

    def note(connection: object, query: Any, *arguments: object) -> None:
        asked.append(query)

    sqlalchemy.event.listen(engine, 'before_execute', note)
    try:
        if not found.has_migrations(engine):
            return 0
    finally:
        sqlalchemy.event.remove(engine, 'before_execute', note)
    counted = _count(asked[-1]) if asked else None
    if counted is None:
        return None
    with engine.connect() as connection:
        return int(connection.execute(counted).scalar_one())


def _count(query: Any) -> sqlalchemy.Select[Any] | None:
    found = sqlalchemy.select(sqlalchemy.func.count())
    if isinstance(query, sqlalchemy.TextClause):
        return found.select_from(query.columns().subquery())
    if isinstance(query, sqlalchemy.Select):
        # Without its limit: whether there is one was enough.
        return found.select_from(query.limit(None).subquery())
    return None
