"""Imports that are held or cut off in a phase of theirs that is known."""

import contextlib
import json
import os
import pathlib
import signal
import sqlite3
import threading
import time

import images
import loopback
import psutil
import sqlalchemy
import toolkit
from images import MIB

SIZE = 96 * MIB
"""So large that a store takes a while, which is when it can be killed."""

SETTINGS = (
    toolkit.LOCAL_SETTINGS
    + """
[task_engine]
task_heartbeat = 1
[wsgi]
task_pool_threads = 1
[image_import_opts]
image_import_plugins = ['image_conversion']
[image_conversion]
output_format = raw
"""
)
"""One slot in each process, so that a third import has to wait."""


class GatedWeb(loopback.Server):
    """A web server that gives the first half, and the rest when it may.

    :ivar url: where
    :ivar gate: set when the rest may be given
    """

    def __init__(self, body: bytes) -> None:
        gate = threading.Event()

        class Handler(loopback.Handler):
            def do_HEAD(self):
                self.send_response(200)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()

            def do_GET(self):
                self.do_HEAD()
                middle = len(body) // 2
                with contextlib.suppress(OSError):
                    self.wfile.write(body[:middle])
                    gate.wait(300)
                    self.wfile.write(body[middle:])

        super().__init__(Handler)
        self.gate, self.body = gate, body
        self.url += '/image'

    def __exit__(self, *exception: object) -> None:
        self.gate.set()
        super().__exit__(*exception)


class Work:
    """A deployment on SQLite, and what its imports are doing.

    :ivar stop: its stop file
    """

    def __init__(self, deployment: toolkit.Deployed) -> None:
        self.deployment = deployment
        self.data = deployment.state_dir / 'data'
        etc = deployment.state_dir / 'etc' / 'glance'
        self.stop = etc / 'healthcheck_disable'

    def query(self, statement: str, *values: object) -> list[tuple]:
        """What the database answers."""
        file = self.data / 'glance.sqlite'
        with contextlib.closing(
            sqlite3.connect(f'file:{file}?mode=ro', uri=True, timeout=60)
        ) as connection:
            return connection.execute(statement, values).fetchall()

    def execute(self, statement: str, *values: object) -> None:
        """Change the database behind everybody's back."""
        with (
            contextlib.closing(
                sqlite3.connect(self.data / 'glance.sqlite', timeout=60)
            ) as connection,
            connection,
        ):
            connection.execute(statement, values)

    def age(self, task_id: str, minutes: int) -> None:
        """Let a task not have been heard of for so long."""
        self.execute(
            "UPDATE tasks SET updated_at = datetime('now', ?) WHERE id = ?",
            f'-{minutes} minutes',
            task_id,
        )

    def tasks(self, image) -> list[tuple[str, str, str]]:
        """Each task of an image: id, status, message; the oldest first."""
        return self.query(
            'SELECT id, status, message FROM tasks JOIN task_info '
            'ON task_id = id WHERE image_id = ? ORDER BY created_at',
            image.id,
        )

    def jobs(self, image) -> list[tuple[str, str | None]]:
        """Each job of an image: its task, its owner."""
        return self.query(
            'SELECT task_id, j.owner FROM glance_wsgi_jobs j '
            'JOIN tasks t ON t.id = task_id WHERE t.image_id = ?',
            image.id,
        )

    def wait_for_slots(self, cloud, number: int) -> None:
        """Wait until that many imports can run at once: no slot is in use."""
        with GatedWeb(bytes(MIB)) as web:
            made = [download(cloud, web) for _ in range(number)]
            for image in made:
                self.runner(image)
            web.gate.set()
            for image in made:
                self.over(image)
                cloud.image.delete_image(image)

    def location_stores(self, image) -> set[str]:
        """The stores that the image has locations in."""
        return {
            store
            for store in ('fast', 'cheap')
            if self.query(
                'SELECT 1 FROM image_locations WHERE image_id = ? '
                'AND deleted = 0 AND value LIKE ?',
                image.id,
                f'%/{store}/%',
            )
        }

    def runner(self, image) -> psutil.Process:
        """The process that runs the import, as soon as one does."""
        found: list[int] = []

        def look() -> bool:
            found[:] = [
                int(owner.split(':')[0])
                for task_id, owner in self.jobs(image)
                if owner
                and ('processing',)
                in self.query('SELECT status FROM tasks WHERE id=?', task_id)
            ]
            return bool(found)

        toolkit.until(look, 'the import runs')
        return psutil.Process(found[0])

    def listed(self) -> list[dict]:
        """What ``tasks list`` says."""
        words = ('tasks', 'list', '-f', 'json')
        place = f'--state-dir={self.deployment.state_dir}'
        return json.loads(toolkit.glance_wsgi(*words, place).stdout)

    def over(self, image) -> None:
        """Wait until nothing is to be done for an image any more."""
        try:
            toolkit.until(
                lambda: not self.jobs(image), 'it has no job', within=60
            )
        except AssertionError:
            log = self.deployment.log.read_text().splitlines()
            raise AssertionError(
                [self.jobs(image), self.tasks(image), *log[-60:]]
            ) from None
        statuses = {status for _, status, _ in self.tasks(image)}
        assert statuses <= {'success', 'failure'}, self.tasks(image)

    def assert_whole(
        self,
        cloud,
        image,
        body,
        stores=('fast', 'cheap'),
        within=60,
        first=('failure',),
    ):
        """Active, with these bytes, in these stores, and nothing is left.

        :param within: seconds in which staged files are removed
        :param first: what the tasks before the last one may have ended with
        """
        self.over(image)
        images.assert_holds(cloud, image, body)
        record = cloud.image.get(f'/images/{image.id}').json()
        assert not record.get('os_glance_import_task'), record
        assert not record.get('os_glance_importing_to_stores'), record
        # What is staged on a node, that node removes after a while.
        toolkit.until(
            lambda: (
                [
                    file.parent.name
                    for file in images.files_of(self.deployment, image)
                ]
                == sorted(stores)
            ),
            'its stores have a file each, and nobody else has',
            within,
        )
        files = images.files_of(self.deployment, image)
        for file in files:
            assert images.sha256(file.read_bytes()) == images.sha256(body)
        assert self.tasks(image)[-1][1] == 'success', self.tasks(image)
        for _, status, message in self.tasks(image)[:-1]:
            assert status in first
            assert status == 'success' or message

    def assert_usable(self, cloud, image, status='queued') -> str:
        """Back where its owner can import it; why, as its task says."""
        self.over(image)
        record = cloud.image.get(f'/images/{image.id}').json()
        assert record['status'] == status, record
        assert not record.get('os_glance_import_task'), record
        if status == 'queued':
            toolkit.until(
                lambda: not images.files_of(self.deployment, image),
                'there is no file of it',
            )
        _, ended, message = self.tasks(image)[-1]
        assert ended == 'failure' and message
        return message

    def writing_to(self, image, suffix: str, folder: str) -> pathlib.Path:
        """Wait until there is something in a file of an image."""
        file = self.data / folder / f'{image.id}{suffix}'
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                if file.stat().st_size:
                    return file
            assert time.monotonic() < deadline, f'{file} is not written'
            time.sleep(0.001)

    def is_free(self) -> bool:
        """Whether others can write: nobody is in the middle of that."""
        file = self.data / 'glance.sqlite'
        with contextlib.closing(
            sqlite3.connect(file, timeout=1, isolation_level=None)
        ) as connection:
            try:
                connection.execute('BEGIN IMMEDIATE')
            except sqlite3.OperationalError:
                return False
            connection.execute('ROLLBACK')
            return True

    @contextlib.contextmanager
    def nobody_writes(self, since):
        """Hold all writers of the database from when that is true.

        :returns: whether nothing has happened in between
        """
        file = self.data / 'glance.sqlite'
        with contextlib.closing(
            sqlite3.connect(file, timeout=60, isolation_level=None)
        ) as connection:
            deadline = time.monotonic() + 60
            while not since():
                assert time.monotonic() < deadline
            connection.execute('BEGIN IMMEDIATE')
            try:
                yield
            finally:
                connection.execute('ROLLBACK')


class MariaWork(Work):
    """The same on MariaDB, where each row has its own lock."""

    def __init__(self, deployment: toolkit.Deployed, url: str) -> None:
        super().__init__(deployment)
        self._engine = sqlalchemy.create_engine(
            url, poolclass=sqlalchemy.NullPool
        )

    def is_free(self) -> bool:
        """Whether others can write."""
        return True

    def query(self, statement: str, *values: object) -> list[tuple]:
        """What the database answers."""
        with self._engine.connect() as connection:
            found = connection.exec_driver_sql(
                statement.replace('?', '%s'), values
            )
            return [tuple(row) for row in found]


def begin(cloud, image, method: str, facts=(), **options) -> None:
    """Begin an import that openstacksdk has no words for, or fail.

    :param facts: of the method
    """
    said = {'method': {'name': method, **dict(facts)}, **options}
    response = cloud.image.post(f'/images/{image.id}/import', json=said)
    assert response.status_code == 202, response.text


def download_from_glance(cloud, image, source) -> None:
    """Import another image of this Glance, which needs the user's token."""
    where = {'glance_region': 'RegionOne', 'glance_image_id': source.id}
    begin(cloud, image, 'glance-download', where)


def download(cloud, web: GatedWeb):
    """An image that is being imported from there, or waits for that."""
    image = images.create(cloud)
    cloud.image.import_image(
        image, method='web-download', uri=web.url, stores=['fast']
    )
    return image


def let_it_be_missed(cloud, image) -> None:
    """While a database is away: so long that whatever runs has met that."""
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        with contextlib.suppress(Exception):
            cloud.image.get_image(image.id)
        time.sleep(0.2)


def end(process: psutil.Process, number: int = signal.SIGKILL) -> None:
    """Kill it, and wait until it does nothing any more."""
    os.kill(process.pid, number)
    toolkit.until(lambda: not toolkit.alive(process), f'{process} is dead')
