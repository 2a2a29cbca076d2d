"""A real MariaDB for the tests, started by pifpaf."""

import contextlib
import os
import pathlib
import secrets
import subprocess
import time
import urllib.parse

import psutil
import pymysql
from pifpaf.drivers import mysql


class MariaDB:
    """A server on a unix socket, with accounts that need their passwords.

    pifpaf starts it as whoever runs the tests and without any checks of
    accounts; FLUSH PRIVILEGES turns the checks on.
    """

    def __init__(self, workspace: pathlib.Path) -> None:
        self._driver = mysql.MySQLDriver(tmp_rootdir=str(workspace))
        self._again: subprocess.Popen | None = None

    def __enter__(self) -> 'MariaDB':
        # mysqld is in /usr/sbin, which is not on everybody's PATH.
        os.environ['PATH'] += ':/usr/sbin'
        self._driver.setUp()
        self.socket = self._driver.socket
        # The service user has to reach the socket.
        os.chmod(self._driver.tempdir, 0o711)
        self._connect()
        return self

    def __exit__(self, *exception: object) -> None:
        self._root.close()
        if self._again is not None:
            self._again.terminate()
            self._again.wait(60)
        self._driver.cleanUp()

    def _connect(self) -> None:
        self._root = pymysql.connect(unix_socket=self.socket, user='root')
        self.execute('FLUSH PRIVILEGES')

    def _process(self) -> psutil.Process:
        (found,) = (
            process
            for process in psutil.process_iter(['cmdline'])
            if f'--socket={self.socket}' in (process.info['cmdline'] or ())
            and 'mysqld' in process.info['cmdline'][0]
        )
        return found

    @contextlib.contextmanager
    def away(self, *words: str):
        """The server is killed, and started again when the block ends.

        :param words: arguments that it has from then on
        """
        process = self._process()
        command = [*process.cmdline(), *words]
        process.kill()
        process.wait(60)
        try:
            yield
        finally:
            self._again = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            deadline = time.monotonic() + 60
            while True:
                try:
                    self._connect()
                    break
                except pymysql.Error:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)

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
