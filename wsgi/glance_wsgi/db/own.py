"""Our own tables in Glance's database: their revisions, and an engine."""

import pathlib
from typing import Any

import sqlalchemy
from alembic import command
from alembic import config as alembic_config
from alembic import migration
from alembic import script

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


def current(engine: sqlalchemy.Engine) -> bool:
    """Whether nothing is to be done."""
    return not _between(_heads(engine))


def sync(url: sqlalchemy.URL) -> plan.Plan:
    """Bring our tables to their newest revision.

    Run by several at once, one does it and the others find it done.

    :returns: what was done
    :raises errors.GlanceWSGIError: the database refuses
    """
    todo = pending(url)
    if not todo:
        return ()
    made = engine(url)
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


def engine(url: sqlalchemy.URL, connections: int = 1) -> sqlalchemy.Engine:
    """An engine for our own statements.

    :param connections: how many it keeps; it makes some more when it has to
    """
    arguments: dict[str, Any] = {'pool_pre_ping': True}
    if url.get_backend_name() == 'sqlite':
        arguments['poolclass'] = sqlalchemy.NullPool
    else:
        # Read what is committed: a claim must see who was faster.
        arguments |= {
            'pool_size': connections,
            'pool_recycle': 3600,
            'isolation_level': 'READ COMMITTED',
        }
    made = sqlalchemy.create_engine(url, **arguments)
    if url.get_backend_name() == 'sqlite':
        sqlalchemy.event.listen(made, 'connect', _no_own_transactions)
        sqlalchemy.event.listen(made, 'begin', _begin)
    return made


def _no_own_transactions(connection: Any, record: object) -> None:
    # The driver would begin one before the first statement that writes.
    connection.isolation_level = None


def _begin(connection: sqlalchemy.Connection) -> None:
    # A transaction that reads before it writes fails at once if somebody
    # else has written meanwhile; IMMEDIATE waits for its turn before it
    # reads. https://www.sqlite.org/lang_transaction.html
    writes = connection.get_execution_options().get('writes')
    connection.exec_driver_sql('BEGIN IMMEDIATE' if writes else 'BEGIN')


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
