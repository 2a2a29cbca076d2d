"""Running what is pending of Glance's data migrations, of every release."""

from collections.abc import Iterator

import sqlalchemy

from glance_wsgi import errors
from glance_wsgi.db import counting
from glance_wsgi.db import glance
from glance_wsgi.db import plan
from glance_wsgi.db import readonly
from glance_wsgi.db import refusals

ACTION = (
    'Rows that it has migrated stay so, and it can be run again. The page on '
    'upgrades in the documentation says what each migration does.'
)


def migrate(
    url: sqlalchemy.URL, pending: plan.Plan
) -> Iterator[tuple[str, int]]:
    """Run the data migrations of a plan that has nothing to expand.

    :return: the revision of each, and how many rows it has migrated
    :raises errors.MigrationFailed: it fails, or leaves rows over
    """
    wanted = {step.revision for step in pending if step.phase == plan.MIGRATE}
    for found in glance.data_migrations():
        if found.revision in wanted:
            yield found.revision, _migrate(url, found)


def _migrate(url: sqlalchemy.URL, found: glance.DataMigration) -> int:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    try:
        migrated = found.migrate(engine)
    except sqlalchemy.exc.DBAPIError as error:
        raise refusals.explain(url, error) from error
    except Exception as error:
        raise _failed(
            found, f'has failed: {type(error).__name__}: {error}'
        ) from error
    left = readonly.ask(url, lambda engine: counting.rows_left(engine, found))
    if left != 0:
        raise _failed(found, f'has left {left or "some"} rows as they were')
    return migrated


def _failed(found: glance.DataMigration, what: str) -> errors.MigrationFailed:
    return errors.MigrationFailed(
        f"Glance's data migration {found.revision} {what}.",
        ACTION,
        'Later migrations were not begun.',
    )
