"""Databases with Glance's tables and ours, and tasks as Glance writes them."""

import datetime
import json
import pathlib
import uuid

import sqlalchemy

from glance_wsgi.db import engines
from glance_wsgi.db import own
from glance_wsgi.tasks import records
from glance_wsgi.tasks.jobs import Job
from glance_wsgi.tasks.jobs import Jobs

INPUT = {
    'import_req': {'method': {'name': 'web-download', 'uri': 'http://x/'}},
    'backend': ['fast'],
}


class TaskDatabase:
    """One database, with what tests put into it.

    :param url: an empty database; for SQLite a file that is yet to be made
    """

    def __init__(self, url: str) -> None:
        from glance.db.sqlalchemy import models

        self.url = sqlalchemy.make_url(url)
        self.engine = engines.make(self.url, connections=4)
        with self.engine.connect().execution_options(
            writes=True
        ) as connection:
            models.BASE.metadata.create_all(connection)
            connection.commit()
        if self.url.get_backend_name() == 'sqlite':
            with self.engine.connect() as connection:
                connection.connection.driver_connection.execute(
                    'PRAGMA journal_mode = WAL'
                )
        own.sync(self.url)
        self.jobs = Jobs(self.engine)

    def execute(self, statement, **values):
        """Run one statement."""
        with self.jobs.writing() as connection:
            return connection.execute(sqlalchemy.text(statement), values)

    def scalar(self, statement, **values):
        """The one value that a query finds; None if it finds no row."""
        with self.jobs.reading() as connection:
            return connection.execute(
                sqlalchemy.text(statement), values
            ).scalar()

    def task(self, status='pending', job=True, **facts):
        """A task with its locked image, and its job; the task's id.

        The lock is two minutes old.
        """
        task_id, image_id = str(uuid.uuid4()), str(uuid.uuid4())
        now = records.now()
        self.execute(
            'INSERT INTO images (id, name, status, visibility, min_disk, '
            'min_ram, protected, os_hidden, created_at, updated_at, deleted) '
            "VALUES (:id, 'x', 'importing', 'private', 0, 0, 0, 0, :now, "
            ':now, 0)',
            id=image_id,
            now=now,
        )
        self.execute(
            'INSERT INTO image_properties (image_id, name, value, '
            'created_at, deleted) VALUES (:id, :name, :task, :since, 0)',
            id=image_id,
            name=records.LOCK,
            task=task_id,
            since=now - datetime.timedelta(minutes=2),
        )
        self.execute(
            'INSERT INTO tasks (id, type, status, owner, image_id, '
            'created_at, updated_at, deleted) VALUES '
            "(:id, 'api_image_import', :status, 'me', :image, :now, :now, 0)",
            id=task_id,
            status=status,
            image=image_id,
            now=now,
        )
        self.execute(
            'INSERT INTO task_info (task_id, input) VALUES (:id, :input)',
            id=task_id,
            input=json.dumps({**INPUT, 'image_id': image_id}),
        )
        if job:
            self.jobs.add(Job(task_id, {'project_id': 'p'}, **facts))
        return task_id

    def locate(self, image_id, url):
        """Give an image a location."""
        self.execute(
            'INSERT INTO image_locations (image_id, value, status, '
            "created_at, deleted) VALUES (:id, :url, 'active', :now, 0)",
            id=image_id,
            url=url,
            now=records.now(),
        )

    def image(self, task_id) -> str:
        """The image of a task."""
        return self.scalar(
            'SELECT image_id FROM tasks WHERE id = :id', id=task_id
        )

    def lock(self, task_id):
        """The task that locks the image of this one; None if none does."""
        return self.scalar(
            'SELECT value FROM image_properties WHERE image_id = :id '
            'AND name = :name AND deleted = 0',
            id=self.image(task_id),
            name=records.LOCK,
        )

    def status(self, task_id) -> str:
        """The status of a task."""
        return self.scalar(
            'SELECT status FROM tasks WHERE id = :id', id=task_id
        )

    def write_config(self, folder: pathlib.Path) -> pathlib.Path:
        """A node on it, whose stop file ``stop`` is named by oslo.config."""
        file = folder / 'glance-api.conf'
        url = self.url.render_as_string(hide_password=False)
        file.write_text(
            '[DEFAULT]\nworker_self_reference_url = http://node-1\n'
            f'node_staging_uri = file://{folder}/staging\n'
            f'[database]\nconnection = {url.replace("$", "$$")}\n'
            '[healthcheck]\nbackends = disable_by_file\n'
            f'disable_by_file_path = {folder}/stop\n'
        )
        return file

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def sqlite(folder: pathlib.Path) -> str:
    """The URL of a file in a directory."""
    return f'sqlite:///{folder}/glance.sqlite?timeout=60'
