"""Asking a database that can't be changed by the question.

The server, not our good will, keeps it as it is: MariaDB refuses to write in
a read-only transaction, SQLite in a file that is opened for reading.
"""

import os
import pathlib
import sqlite3
import urllib.parse
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy
from alembic import migration
from sqlalchemy import exc

from glance_wsgi import errors
from glance_wsgi.db import refusals

PATIENCE = 5  # seconds: to connect, and for somebody else's lock

Answer = TypeVar('Answer')
Question = Callable[[sqlalchemy.Engine], Answer]


def ask(url: sqlalchemy.URL, question: Question[Answer]) -> Answer:
    """Let `question` read the database at `url`; it gets an engine.

    Each transaction lasts as long as the question holds its connection, so
    what is asked in several short ones keeps nobody waiting.

    :raises errors.DatabaseUnreachable: nothing answers there
    :raises errors.DatabaseRefused: we are not let in
    :raises errors.DatabaseBusy: somebody else keeps us waiting too long
    :raises errors.DatabaseUnsupported: no driver, or not with this URL
    """
    if url.get_backend_name() != 'sqlite':
        return _ask(url, _server(url), question)
    file = pathlib.Path(url.database or '')
    untouched = _is_wal(file) and not _in_use(file)
    answer = _ask(url, _file(file, immutable=untouched), question)
    if untouched and _in_use(file):
        # Somebody began to write while nobody was kept from it.
        answer = _ask(url, _file(file, immutable=False), question)
    return answer


def current_heads(engine: sqlalchemy.Engine) -> tuple[str, ...]:
    """The revisions that the database is at; none if it has none."""
    with engine.connect() as connection:
        context = migration.MigrationContext.configure(connection)
        return tuple(sorted(context.get_current_heads()))


def _ask(
    url: sqlalchemy.URL,
    make: Callable[[], sqlalchemy.Engine],
    question: Question[Answer],
) -> Answer:
    try:
        engine = _connected(url, make)
        try:
            return question(engine)
        finally:
            engine.dispose()
    except exc.DBAPIError as error:
        raise refusals.explain(url, error) from error


def _connected(
    url: sqlalchemy.URL, make: Callable[[], sqlalchemy.Engine]
) -> sqlalchemy.Engine:
    try:
        engine = make()
        engine.connect().close()
    except (ImportError, exc.NoSuchModuleError) as error:
        raise errors.DatabaseUnsupported(
            f'The driver of {url.drivername} is not installed: {error}.',
            'Use mysql+pymysql://, or install that driver.',
        ) from error
    except (TypeError, ValueError) as error:
        # The driver's answer to an argument behind the "?".
        raise errors.DatabaseUnsupported(
            f"The database's URL can't be used: {error}.",
            "Correct what is behind its question mark; PyMySQL's manual has "
            'what is known there.',
        ) from error
    return engine


def _server(url: sqlalchemy.URL) -> Callable[[], sqlalchemy.Engine]:
    def make() -> sqlalchemy.Engine:
        engine = sqlalchemy.create_engine(
            url,
            poolclass=sqlalchemy.StaticPool,
            connect_args={'connect_timeout': PATIENCE},
        )
        sqlalchemy.event.listen(engine, 'connect', _only_read)
        sqlalchemy.event.listen(engine, 'begin', _begin)
        return engine

    return make


def _only_read(connection: Any, record: object) -> None:
    with connection.cursor() as cursor:
        # A migration that runs changes tables, and who reads one meanwhile
        # waits for as long as this: by default a day.
        cursor.execute(f'SET SESSION lock_wait_timeout = {PATIENCE}')
        # For whatever is not begun by us.
        cursor.execute('SET SESSION TRANSACTION READ ONLY')


def _begin(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql('START TRANSACTION READ ONLY')


class _Cursor(sqlite3.Cursor):
    """Knows how many rows it has found, as the cursors of PyMySQL do.

    That is what Glance's data migrations look at. The one of the standard
    library says -1, so on SQLite they would find nothing to do.
    """

    _rows: list[Any]
    _count = -1

    def execute(self, *arguments: Any) -> '_Cursor':
        super().execute(*arguments)
        self._rows = super().fetchall()
        self._count = len(self._rows)
        return self

    @property
    def rowcount(self) -> int:
        return self._count

    def fetchone(self) -> Any:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    def fetchmany(self, size: int | None = None) -> list[Any]:
        size = size or self.arraysize
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows


class _Connection(sqlite3.Connection):
    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)


def _file(
    file: pathlib.Path, immutable: bool
) -> Callable[[], sqlalchemy.Engine]:
    # https://www.sqlite.org/uri.html
    uri = f'file:{urllib.parse.quote(str(file.absolute()))}?mode=ro'
    if immutable:
        uri += '&immutable=1'

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            uri, uri=True, timeout=PATIENCE, factory=_Connection
        )

    def make() -> sqlalchemy.Engine:
        return sqlalchemy.create_engine(
            'sqlite://', creator=connect, poolclass=sqlalchemy.StaticPool
        )

    return make


def _is_wal(file: pathlib.Path) -> bool:
    # Bytes 18 and 19 of the header; https://www.sqlite.org/fileformat.html
    try:
        with file.open('rb') as opened:
            return opened.read(20)[18:] == b'\2\2'
    except OSError:
        return False


def _in_use(file: pathlib.Path) -> bool:
    # Whoever has a file with a write-ahead log open has that log beside it.
    # A reader would make it too, and could not remove it again: so where
    # there is none, SQLite is told that the file does not change.
    return os.path.exists(f'{file}-wal')
