"""The state of Glance's database: reachable, which revision, up to date."""

import contextlib
import pathlib
import sqlite3

import sqlalchemy
from alembic import config as alembic_config
from alembic import migration
from alembic import script
from sqlalchemy import exc

from glance_wsgi import errors
from glance_wsgi import upstream

DRIVERS = ('sqlite', 'mysql+pymysql')

# MariaDB's own error numbers (its manual: "Server error codes").
_REFUSALS = {
    1044: 'the user may not use this database',
    1045: 'user or password wrong',
    1049: 'no such database',
    1698: 'the user may not log in with a password',
}

CONNECT_TIMEOUT = 10  # seconds


def parse(url: str) -> sqlalchemy.URL:
    """Read a database URL.

    :raises errors.DatabaseUnsupported: Glance can't use that kind here
    """
    action = (
        'Use mysql+pymysql://USER:PASSWORD@HOST/NAME, or leave --database '
        'out for an SQLite file in the state directory.'
    )
    try:
        parsed = sqlalchemy.make_url(url)
    except (exc.ArgumentError, ValueError) as error:
        # SQLAlchemy's text quotes the whole URL, its password too.
        raise errors.DatabaseUnsupported(
            'The value of --database is not a database URL.', action
        ) from error
    if parsed.drivername not in DRIVERS:
        raise errors.DatabaseUnsupported(
            f'Databases of the kind "{parsed.drivername}" are not supported.',
            action,
        )
    if parsed.get_backend_name() == 'sqlite':
        if not pathlib.Path(parsed.database or '').is_absolute():
            raise errors.DatabaseUnsupported(
                f'{url} does not name a file by its absolute path.',
                'Write sqlite:////PATH, with four slashes.',
            )
    elif not parsed.database:
        raise errors.DatabaseUnsupported(
            'The value of --database names no database.', action
        )
    return parsed


def sqlite_file(url: str) -> pathlib.Path | None:
    """The file behind an SQLite URL; None for other databases."""
    parsed = parse(url)
    if parsed.get_backend_name() != 'sqlite':
        return None
    return pathlib.Path(str(parsed.database))


def current_revisions(url: str) -> tuple[str, ...]:
    """The revisions that the database is at; none if it is empty.

    :raises errors.DatabaseUnreachable: nothing answers at its address
    :raises errors.DatabaseRefused: user, password or name are refused
    """
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return ()
    arguments = {} if file else {'connect_timeout': CONNECT_TIMEOUT}
    engine = sqlalchemy.create_engine(
        parse(url), poolclass=sqlalchemy.NullPool, connect_args=arguments
    )
    try:
        with engine.connect() as connection:
            context = migration.MigrationContext.configure(connection)
            return tuple(sorted(context.get_current_heads()))
    except exc.DBAPIError as error:
        raise _explain(parse(url), error) from error
    except TypeError as error:
        # The driver's answer to an unknown argument behind the "?".
        raise errors.DatabaseUnsupported(
            f"The value of --database can't be used: {error}.",
            "Correct what is behind its question mark; PyMySQL's manual has "
            'what is known there.',
        ) from error


def _explain(
    url: sqlalchemy.URL, error: exc.DBAPIError
) -> errors.GlanceWSGIError:
    shown = url.render_as_string(hide_password=True)
    code = error.orig.args[0] if error.orig and error.orig.args else None
    if code in _REFUSALS:
        return errors.DatabaseRefused(
            f'{shown} refuses us: {_REFUSALS[code]}.',
            'Make the database and a user with all rights on it, or mend '
            '--database.',
        )
    if url.get_backend_name() == 'sqlite':
        return errors.DatabaseRefused(
            f"{url.database} can't be used as an SQLite file: {error.orig}.",
            'Give another file in --database, or move this one away.',
        )
    return errors.DatabaseUnreachable(
        f'No database answers at {shown}: {error.orig}.',
        'Start it, or mend --database.',
    )


def is_current(url: str) -> bool:
    """Whether the database is at the installed Glance's newest revision.

    :raises errors.DatabaseNewer: it has a revision that Glance doesn't know
    """
    found = current_revisions(url)
    config = alembic_config.Config()
    config.set_main_option('script_location', str(upstream.migrations()))
    directory = script.ScriptDirectory.from_config(config)
    known = {revision.revision for revision in directory.walk_revisions()}
    unknown = sorted(set(found) - known)
    if unknown:
        raise errors.DatabaseNewer(
            f'The database is at revision {", ".join(unknown)}, which Glance '
            f'{upstream.version()} does not know.',
            'Install the Glance that the database was last used with, or a '
            'newer one.',
        )
    return directory.revision_map.get_current_head('contract') in found


def prepare_sqlite(url: str) -> None:
    """Let readers of an SQLite file go on while somebody writes.

    The write-ahead log is a property of the file and stays. Does nothing for
    other databases. https://www.sqlite.org/wal.html
    """
    file = sqlite_file(url)
    if file is not None:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute('PRAGMA journal_mode = WAL')
