"""Engines for our own statements in Glance's database."""

from typing import Any

import sqlalchemy


def make(url: sqlalchemy.URL, connections: int = 1) -> sqlalchemy.Engine:
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
