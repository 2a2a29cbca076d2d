"""Glance's database: its URL, and the revisions that it is at."""

import contextlib
import pathlib
import sqlite3

import sqlalchemy
from sqlalchemy import exc

from glance_wsgi import errors

DRIVERS = ('sqlite', 'mysql+pymysql')


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
    :raises errors.DatabaseBusy: somebody else has it locked
    """
    # Imported late: it needs Alembic, which no worker of Glance does.
    from glance_wsgi.db import readonly

    file = sqlite_file(url)
    if file is not None and not file.exists():
        return ()
    return readonly.ask(parse(url), readonly.current_heads)


def roll_back(file: pathlib.Path) -> None:
    """Undo what a process that was killed had begun to write.

    SQLite does it when the file is next opened for writing; whoever may only
    read can't, and can't read either. Does nothing where no journal is left.
    https://www.sqlite.org/lockingv3.html#hot_journals
    """
    if pathlib.Path(f'{file}-journal').exists():
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(file)) as connection,
        ):
            connection.execute('SELECT count(*) FROM sqlite_master')


def prepare_sqlite(url: str) -> None:
    """Let readers of an SQLite file go on while somebody writes.

    The write-ahead log is a property of the file and stays. Does nothing for
    other databases. https://www.sqlite.org/wal.html
    """
    file = sqlite_file(url)
    if file is not None:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute('PRAGMA journal_mode = WAL')
