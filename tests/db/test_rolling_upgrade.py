"""A rolling upgrade that follows the exit codes, while Glance is in use.

All the time somebody writes, first as the old release and from the restart on
as the new one, and somebody reads what has been written.
"""

import subprocess
import threading
import time

import pymysql
import pytest
import toolkit
import upgrades

from glance_wsgi.errors import Exit

# What MariaDB answers at a moment when a table is changed, and a client has to
# try again: the table has changed since the transaction began; or, in
# ocata_contract01 only, Glance has dropped a column and not yet the trigger
# that uses it.
TRY_AGAIN = {1412, 1054}


class Users:
    """Who uses a database: a writer and a reader, each with a thread.

    :param connect: opens a connection of PyMySQL
    :param column: how the old release says that an image is private
    """

    def __init__(self, connect, column: tuple[str, str]) -> None:
        self._connect = connect
        self._old_column = column
        self._done = threading.Event()
        self._restart = threading.Event()
        self._restarted = threading.Event()
        self._threads = [
            threading.Thread(target=self._noting, args=[work])
            for work in (self._write, self._read)
        ]
        self.written: list[str] = []
        self.read = 0
        self.failure: BaseException | None = None

    def __enter__(self) -> 'Users':
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _noting(self, work) -> None:
        try:
            with self._connect() as connection:
                while not self._done.is_set():
                    work(connection)
        except BaseException as error:
            self.failure = error

    def restart(self) -> None:
        """The writer is of the new release when this returns."""
        self._restart.set()
        toolkit.until(self._has_restarted, 'the writer restarts')

    def _has_restarted(self) -> bool:
        assert self.failure is None
        return self._restarted.is_set()

    def go_on(self) -> None:
        """Wait until both have done something more."""
        written, read = len(self.written) + 1, self.read + 1
        toolkit.until(
            lambda: (
                self.failure is not None
                or (len(self.written) > written and self.read > read)
            ),
            'somebody writes and somebody reads',
        )
        assert self.failure is None

    def _write(self, connection) -> None:
        if self._restart.is_set():
            self._restarted.set()
            (column, value), key = ('visibility', "'private'"), 'store'
        else:
            (column, value), key = self._old_column, 'backend'
        name = f'written-{len(self.written)}'
        try:
            self._insert(connection, name, column, value, key)
        except pymysql.err.OperationalError as error:
            self._try_again(connection, error)
        else:
            self.written.append(name)
        time.sleep(0.002)  # leave the machine to others

    @staticmethod
    def _insert(connection, name, column, value, key) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f'INSERT INTO images (id, status, {column}, created_at, '
                'min_disk, min_ram, protected, deleted) VALUES '
                f"('{name}', 'queued', {value}, NOW(), 0, 0, 0, 0)"
            )
            cursor.execute(
                'INSERT INTO image_locations (image_id, value, meta_data, '
                'status, created_at, deleted) VALUES '
                f"""('{name}', 'file:///x', '{{"{key}": "fast"}}', """
                "'active', NOW(), 0)"
            )
            cursor.execute(
                f"UPDATE images SET status = 'active' WHERE id = '{name}'"
            )
        connection.commit()

    def _read(self, connection) -> None:
        expected = set(self.written)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT id FROM images WHERE status = 'active'")
                found = {name for (name,) in cursor.fetchall()}
        except pymysql.err.OperationalError as error:
            self._try_again(connection, error)
        else:
            assert expected <= found
            self.read += 1
            connection.commit()

    @staticmethod
    def _try_again(connection, error) -> None:
        if error.args[0] not in TRY_AGAIN:
            raise error
        connection.rollback()


def run(program, *words):
    """A program of the virtualenv; its result."""
    return subprocess.run(
        [toolkit.BIN / program, *words],
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.parametrize(
    ('start', 'column'),
    [
        ('rocky_contract02', ('visibility', "'private'")),
        ('mitaka02', ('is_public', '0')),
    ],
)
@pytest.mark.parametrize('database', ['mariadb'], indirect=True)
def test_the_codes_lead_to_head_and_nothing_that_is_written_is_lost(
    database, mariadb, start, column
):
    if start == 'mitaka02':
        database.upgrade('liberty')
        database.add_rows()
        database.upgrade(start)
    else:
        database.upgrade_to_rocky()
    config = f'--config-file={database.config}'

    def connect():
        return pymysql.connect(
            unix_socket=mariadb.socket,
            user=database.url.username,
            password=database.url.password,
            database=database.url.database,
        )

    def phase(name):
        done = run('glance-wsgi-manage', config, 'db', name)
        assert done.returncode == Exit.OK, done

    codes = []
    with Users(connect, column) as users:
        users.go_on()
        while True:
            asked = run('glance-wsgi-manage', config, 'db', 'sync', '--check')
            codes.append(asked.returncode)
            users.go_on()
            match asked.returncode:
                case Exit.OK:
                    break
                case Exit.EXPAND_PENDING:
                    phase('expand')
                case Exit.MIGRATE_PENDING:
                    users.restart()
                    done = run('glance-wsgi', 'db', 'migrate', config)
                    if 'ocata_migrate01' in done.stderr:
                        assert done.returncode == Exit.MIGRATION_FAILED
                        codes.append(done.returncode)
                        database.migrate_ocata()
                    else:
                        assert done.returncode == Exit.OK, done
                case Exit.CONTRACT_PENDING:
                    phase('contract')
                case _:
                    raise AssertionError(asked)
            users.go_on()
            assert len(codes) < 10, codes
    assert users.failure is None
    assert codes in ([3, 4, 5, 0], [3, 4, 39, 4, 5, 0])
    assert (39 in codes) == (start == 'mitaka02')
    visibilities = database.visibilities()
    assert {*upgrades.IMAGES, *users.written} == set(visibilities)
    assert None not in visibilities.values()
    assert database.scalar(
        'SELECT COUNT(*) FROM image_locations '
        """WHERE meta_data = '{"store": "fast"}'"""
    ) == len(visibilities)
