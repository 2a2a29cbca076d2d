"""Connections to MariaDB that share what they encrypt with.

Since 1.2, PyMySQL encrypts where the server can, and makes an ``SSLContext``
for each connection, also for one by a Unix socket. Each reads all certificates
of the system, which takes 0.8 MiB and some milliseconds, and does not use
them: where nobody asks for encryption, the server's certificate is not looked
at (``pymysql.connections``). A worker has tens of connections.
"""

import ssl
from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy
from pymysql import connections

Application = Callable[..., Iterable[bytes]]


def share(application: Application) -> Application:
    """The application as it is; its process opens such connections only."""
    sqlalchemy.event.listen(sqlalchemy.Engine, 'do_connect', connect)
    return application


class Sharing(connections.Connection):
    """A connection of PyMySQL's that asks for encryption as all others do."""

    _context: ssl.SSLContext | None = None

    # A private name of PyMySQL's. Where it has another one, each connection
    # makes its own again, and a test tells.
    def _create_ssl_ctx(self, wanted: Any) -> ssl.SSLContext:
        if wanted:
            return super()._create_ssl_ctx(wanted)
        if Sharing._context is None:
            # Where two threads come at once, both make one, and one stays.
            Sharing._context = super()._create_ssl_ctx(wanted)
        return Sharing._context


def connect(
    dialect: sqlalchemy.Dialect,
    record: Any,
    arguments: list[Any],
    words: dict[str, Any],
) -> connections.Connection | None:
    """What SQLAlchemy asks for a connection; None, and it makes its own."""
    if dialect.driver != 'pymysql':
        return None
    return Sharing(*arguments, **words)
