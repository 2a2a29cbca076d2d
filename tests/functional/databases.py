"""A real MariaDB for the tests, started by pifpaf."""

import contextlib
import os
import pathlib
import secrets
import urllib.parse

import pymysql
from pifpaf.drivers import mysql


class MariaDB:
    """A server on a unix socket, with accounts that need their passwords.

    pifpaf starts it as whoever runs the tests and without any checks of
    accounts; FLUSH PRIVILEGES turns the checks on.
    """

    def __init__(self, workspace: pathlib.Path) -> None:
        self._driver = mysql.MySQLDriver(tmp_rootdir=str(workspace))

    def __enter__(self) -> 'MariaDB':
        # mysqld is in /usr/sbin, which is not on everybody's PATH.
        os.environ['PATH'] += ':/usr/sbin'
        self._driver.setUp()
        self.socket = self._driver.socket
        # The service user has to reach the socket.
        os.chmod(self._driver.tempdir, 0o711)
        self._root = pymysql.connect(unix_socket=self.socket, user='root')
        self.execute('FLUSH PRIVILEGES')
        return self

    def __exit__(self, *exception: object) -> None:
        self._root.close()
        self._driver.cleanUp()

    def execute(self, statement: str) -> tuple:
        """Run one statement as the server's administrator."""
        with self._root.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    @contextlib.contextmanager
    def database(self, password: str = ''):
        """An empty database and a user of the same name, for a while.

        :return: its name and its URL, by way of ``with``
        """
        name = f'glance_{secrets.token_hex(4)}'
        password = password or secrets.token_hex(8)
        user = f"'{name}'@'localhost'"
        quoted = self._root.escape(password)
        self.execute(f'CREATE DATABASE {name}')
        self.execute(f'CREATE USER {user} IDENTIFIED BY {quoted}')
        self.execute(f'GRANT ALL ON {name}.* TO {user}')
        try:
            yield name, self.url(name, password, name)
        finally:
            self.execute(f'DROP DATABASE {name}')
            self.execute(f'DROP USER {user}')

    def url(self, user: str, password: str, name: str) -> str:
        """The URL of a database of this server."""
        quoted = urllib.parse.quote(password, safe='')
        return (
            f'mysql+pymysql://{user}:{quoted}@localhost/{name}'
            f'?unix_socket={self.socket}'
        )
