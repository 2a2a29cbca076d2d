"""Transactions on SQLite that wait for each other instead of failing.

oslo.db begins each one with a plain BEGIN. Glance's writers read before they
write, and when another writer commits in between, SQLite answers "database
is locked" at once: what was read is stale, and no timeout can mend that.
BEGIN IMMEDIATE waits for the writer's turn before it reads. Requests that
only read keep the plain BEGIN, which never waits and never fails.
https://www.sqlite.org/isolation.html
"""

import contextvars
from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy

_reading = contextvars.ContextVar('reading', default=False)

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
        before = _reading.set(environ['REQUEST_METHOD'] in ('GET', 'HEAD'))
        try:
            return application(environ, start_response)
        finally:
            _reading.reset(before)

    return serve


def _begin(
    connection: sqlalchemy.Connection,
    cursor: Any,
    statement: str,
    parameters: Any,
    context: Any,
    executemany: bool,
) -> tuple[str, Any]:
    on_sqlite = connection.dialect.name == 'sqlite'
    if on_sqlite and statement == 'BEGIN' and not _reading.get():
        statement = 'BEGIN IMMEDIATE'
    return statement, parameters
