"""Our own tables in Glance's database: their revisions."""

import pathlib

import sqlalchemy
from alembic import command
from alembic import config as alembic_config
from alembic import migration
from alembic import script

from glance_wsgi.db import engines
from glance_wsgi.db import plan
from glance_wsgi.db import readonly
from glance_wsgi.db import refusals
from glance_wsgi.tasks import tables

RELEASE = 'glance-wsgi'


def pending(url: sqlalchemy.URL) -> plan.Plan:
    """What is still to be done to our tables, as operations of a plan.

    :raises errors.GlanceWSGIError: the database can't be asked
    """
    if url.get_backend_name() == 'sqlite':
        file = pathlib.Path(str(url.database))
        if not file.exists():
            return _between(())
    return readonly.ask(url, lambda engine: _between(_heads(engine)))


def sync(url: sqlalchemy.URL) -> plan.Plan:
    """Bring our tables to their newest revision.

    Run by several at once, one does it and the others find it done.

    :returns: what was done
    :raises errors.GlanceWSGIError: the database refuses
    """
    todo = pending(url)
    if not todo:
        return ()
    made = engines.make(url)
    try:
        with made.connect().execution_options(writes=True) as connection:
            config = _config()
            config.attributes['connection'] = connection
            command.upgrade(config, 'head')
            connection.commit()
    except sqlalchemy.exc.DBAPIError as error:
        if not pending(url):
            return ()
        raise refusals.explain(url, error) from error
    finally:
        made.dispose()
    return todo


def _config() -> alembic_config.Config:
    config = alembic_config.Config()
    place = pathlib.Path(tables.__file__).parent / 'migrations'
    config.set_main_option('script_location', str(place))
    return config


def _heads(engine: sqlalchemy.Engine) -> tuple[str, ...]:
    with engine.connect() as connection:
        context = migration.MigrationContext.configure(
            connection, opts={'version_table': tables.VERSION_TABLE}
        )
        return context.get_current_heads()


def _between(heads: tuple[str, ...]) -> plan.Plan:
    scripts = script.ScriptDirectory.from_config(_config())
    known = {made.revision for made in scripts.walk_revisions()}
    if not set(heads) <= known:
        # A newer glance-wsgi was here: its tables have all that we need.
        return ()
    revisions = scripts.iterate_revisions('head', heads or 'base')
    return tuple(
        plan.Operation(
            phase=plan.EXPAND,
            revision=made.revision,
            release=RELEASE,
            summary=(made.doc or '').strip(),
            empty=False,
        )
        for made in reversed(list(revisions))
    )
