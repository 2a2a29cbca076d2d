"""Databases at any revision of Glance, built by Glance itself."""

import contextlib
import json
import pathlib
import subprocess
import sys

import sqlalchemy

WORKER = pathlib.Path(__file__).with_name('glance_worker.py')
OCATA = pathlib.Path(__file__).parents[2] / 'doc/source/examples/ocata.sql'

# Rows as Mitaka wrote them: one image that everybody sees, one of its owner,
# one that is shared, one that is shared no more.
IMAGES = {'public': 1, 'private': 0, 'shared': 0, 'unshared': 0}


class Database:
    """An empty database for Glance, and a process that upgrades it.

    :param url: with all rights on it
    :param folder: where its configuration file is made
    """

    def __init__(self, url: str, folder: pathlib.Path) -> None:
        self.url = sqlalchemy.make_url(url)
        self.config = folder / 'glance-api.conf'
        self.config.write_text(
            f'[database]\nconnection = {url.replace("$", "$$")}\n'
        )
        self.engine = sqlalchemy.create_engine(
            self.url, poolclass=sqlalchemy.NullPool
        )
        self._log = folder / 'worker.log'
        self._worker: subprocess.Popen | None = None

    def __enter__(self) -> 'Database':
        return self

    def __exit__(self, *exception: object) -> None:
        if self._worker:
            self._worker.communicate(timeout=60)

    def upgrade(self, revision: str) -> list[str]:
        """``alembic upgrade``; the revisions that it has really run."""
        if self._worker is None:
            self._worker = subprocess.Popen(
                [sys.executable, WORKER, self.config],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log.open('w'),
                text=True,
            )
        try:
            print(revision, file=self._worker.stdin, flush=True)
            return json.loads(self._worker.stdout.readline())
        except (BrokenPipeError, ValueError):
            raise AssertionError(self._log.read_text()) from None

    def execute(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        for statement in statements:
            with self.engine.begin() as connection:
                connection.exec_driver_sql(statement)

    def scalar(self, query: str) -> object:
        """The one value that a query finds."""
        with self.engine.connect() as connection:
            return connection.exec_driver_sql(query).scalar_one()

    def heads(self) -> set[str]:
        """What alembic_version says."""
        with self.engine.connect() as connection:
            return set(
                connection.exec_driver_sql(
                    'SELECT version_num FROM alembic_version'
                ).scalars()
            )

    def columns(self) -> set[tuple[str, str]]:
        """Every column of every table, as (table, column)."""
        if self.engine.name == 'sqlite':
            query = (
                'SELECT m.name, c.name FROM sqlite_master AS m, '
                'pragma_table_info(m.name) AS c'
            )
        else:
            query = (
                'SELECT table_name, column_name FROM '
                'information_schema.columns WHERE table_schema = DATABASE()'
            )
        with self.engine.connect() as connection:
            return {tuple(row) for row in connection.exec_driver_sql(query)}

    def add_rows(self) -> None:
        """What Mitaka has stored; for a database before ocata_expand01."""
        for name, public in IMAGES.items():
            self.execute(
                'INSERT INTO images (id, status, is_public, created_at, '
                'min_disk, min_ram, protected, deleted) VALUES '
                f"('{name}', 'active', {public}, '2016-01-01', 0, 0, 0, 0)",
                'INSERT INTO image_locations (image_id, value, meta_data, '
                'status, created_at, deleted) VALUES '
                f"""('{name}', 'file:///{name}', '{{"backend": "fast"}}', """
                "'active', '2016-01-01', 0)",
            )
        for name, deleted in (('shared', 0), ('unshared', 1)):
            self.execute(
                'INSERT INTO image_members (image_id, member, can_share, '
                'status, created_at, deleted) VALUES '
                f"('{name}', 'guest', 0, 'accepted', '2016-01-01', {deleted})"
            )

    def upgrade_to_rocky(self) -> None:
        """What Rocky has left: nothing pending of it, rows for Train."""
        self.upgrade('liberty')
        self.add_rows()
        self.upgrade('ocata_expand01')
        self.migrate_ocata()
        self.upgrade('rocky_contract02')

    def migrate_ocata(self) -> None:
        """The statement of the documentation, as Glance's own can't work."""
        self.execute(OCATA.read_text().rstrip().rstrip(';'))

    def visibilities(self) -> dict[str, str]:
        """The visibility of each image."""
        with self.engine.connect() as connection:
            found = connection.exec_driver_sql(
                'SELECT id, visibility FROM images'
            )
            return dict(found.tuples().all())


class Copies:
    """Puts an SQLite file back to what it was."""

    def __init__(self, database: Database) -> None:
        self._file = pathlib.Path(database.url.database)

    def take(self) -> bytes:
        """What is in it now."""
        return self._file.read_bytes()

    def put_back(self, copy: bytes) -> None:
        """Make it what it was; who has it open notices."""
        self._file.write_bytes(copy)


class MariaDBCopies:
    """Puts a database of MariaDB back to what it was."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self) -> list[str]:
        """Statements that make its tables, their rows and its triggers."""
        statements = ['SET FOREIGN_KEY_CHECKS = 0']
        with self._database.engine.connect() as connection:
            run = connection.exec_driver_sql
            for table in run('SHOW TABLES').scalars().all():
                statements.append(run(f'SHOW CREATE TABLE `{table}`').one()[1])
                for row in run(f'SELECT * FROM `{table}`').all():
                    values = ', '.join(map(literal, row))
                    statements.append(
                        f'INSERT INTO `{table}` VALUES ({values})'
                    )
            for trigger in run('SHOW TRIGGERS').all():
                statements.append(
                    run(f'SHOW CREATE TRIGGER `{trigger[0]}`').one()[2]
                )
        return statements

    def put_back(self, copy: list[str]) -> None:
        """Drop every table, then make those of the copy."""
        with self._database.engine.begin() as connection:
            run = connection.exec_driver_sql
            run('SET FOREIGN_KEY_CHECKS = 0')
            tables = run('SHOW TABLES').scalars().all()
            if tables:
                named = ', '.join(f'`{table}`' for table in tables)
                run(f'DROP TABLE {named}')
            for statement in copy:
                run(statement.replace('%', '%%'))


def literal(value: object) -> str:
    """A value as MariaDB reads it in a statement."""
    if value is None:
        return 'NULL'
    if isinstance(value, int):
        return str(int(value))
    text = str(value).replace('\\', '\\\\').replace("'", "''")
    return f"'{text}'"


def copies(database: Database) -> Copies | MariaDBCopies:
    """What puts this database back."""
    sqlite = database.engine.name == 'sqlite'
    return (Copies if sqlite else MariaDBCopies)(database)


@contextlib.contextmanager
def sqlite(folder: pathlib.Path):
    """An SQLite file that is yet to be made."""
    with Database(f'sqlite:///{folder}/glance.sqlite', folder) as database:
        yield database


@contextlib.contextmanager
def mariadb(server, folder: pathlib.Path):
    """An empty database of a server of ``databases.MariaDB``."""
    with server.database() as (_, url), Database(url, folder) as database:
        yield database
