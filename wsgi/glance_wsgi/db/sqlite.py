"""Transactions on SQLite that wait for each other instead of failing.

oslo.db begins each one with a plain BEGIN. Glance's writers read before they
write, and when another writer commits in between, SQLite answers "database
is locked" at once: what was read is stale, and no timeout can mend that.
BEGIN IMMEDIATE waits for the writer's turn before it reads. Requests that
only read keep the plain BEGIN, which never waits and never fails.
https://www.sqlite.org/isolation.html

oslo.db also opens the file anew for each of them, and SQLite removes its log
with the last connection. The next one makes it again, in two steps where root
is the first that comes, with "glance-wsgi tasks list" for one: in between the
log is root's alone, and the server's transactions fail with "unable to open
database file". So one connection stays open, and the log with it.
https://www.sqlite.org/wal.html
"""

import atexit
import contextvars
import os
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy

_reading = contextvars.ContextVar('reading', default=False)

_kept: dict[str, tuple[tuple[int, int], sqlite3.Connection]] = {}
"""By its file's name: which file it was, and a connection to it."""

_server = 0
"""The process that serves, when one does."""

Application = Callable[..., Iterable[bytes]]


def take_turns(application: Application) -> Application:
    """Let the transactions of this process, on any SQLite, take turns.

    :returns: `application`, and around it what tells readers from writers;
        what runs outside a request is taken for a writer
    """
    sqlalchemy.event.listen(
        sqlalchemy.Engine, 'before_cursor_execute', _begin, retval=True
    )

    def serve(
        environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        serving()
        before = _reading.set(environ['REQUEST_METHOD'] in ('GET', 'HEAD'))
        try:
            return application(environ, start_response)
        finally:
            _reading.reset(before)

    return serve


def serving() -> None:
    """Tell that this process serves, so that nothing is forked from it.

    From now on it keeps a connection open: none survives a fork, and one that
    was there before keeps those that come later from taking their locks.
    https://www.sqlite.org/howtocorrupt.html
    """
    global _server
    _server = os.getpid()


def _begin(
    connection: sqlalchemy.Connection,
    cursor: Any,
    statement: str,
    parameters: Any,
    context: Any,
    executemany: bool,
) -> tuple[str, Any]:
    if connection.dialect.name != 'sqlite':
        return statement, parameters
    if statement.startswith('BEGIN') and _server == os.getpid():
        _keep_log(connection.engine.url.database)
    if statement == 'BEGIN' and not _reading.get():
        statement = 'BEGIN IMMEDIATE'
    return statement, parameters


def _keep_log(file: str | None) -> None:
    """Have a connection stay open, which does nothing."""
    if not file:
        return
    try:
        facts = os.stat(file)
        this = facts.st_dev, facts.st_ino
        if file in _kept and _kept[file][0] == this:
            return
        made = sqlite3.connect(file, check_same_thread=False)
        # The file and its log are opened by the first statement.
        made.execute('SELECT count(*) FROM sqlite_master').fetchall()
    except (OSError, sqlite3.Error):
        return  # Whoever wants to use it is told.
    _kept[file] = this, made
    atexit.register(made.close)
