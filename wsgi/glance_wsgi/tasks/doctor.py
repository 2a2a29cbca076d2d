"""What is left of processes that have died, and how each is repaired.

Jobs of the dead are taken over by the engines themselves. What is found here
is what no engine can know of: tasks without a job, of a Glance without this
engine or cut off between the task and its job; locks without a task; staged
files without an image. A repair leads it back to the engines, which know what
can be done with an image; only locks and files are removed here.
"""

import dataclasses
import datetime
import functools
import pathlib
import time
from collections.abc import Callable, Iterator

import sqlalchemy

from glance_wsgi.tasks import records
from glance_wsgi.tasks import residue
from glance_wsgi.tasks.jobs import Job
from glance_wsgi.tasks.jobs import Jobs
from glance_wsgi.tasks.owners import Owner
from glance_wsgi.tasks.tables import JOBS

SETTLED = 60
"""Seconds after which a task must have its job, and a file its image."""

EXPIRY = {
    'pending': datetime.timedelta(minutes=120),
    'processing': datetime.timedelta(minutes=60),
}
"""After which Glance itself lets another import break a lock."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is left over.

    :param kind: task, lock or staging
    :param id: of the task, the image, or the path of the file
    :param what: what is wrong with it
    :param repair: what is done about it
    :param fix: does that; None where it is not to be done yet
    """

    kind: str
    id: str
    what: str
    repair: str
    fix: Callable[[], object] | None


class Doctor:
    """Looks at one node, and at what all nodes share.

    :param staging: where uploads for an import wait on this node
    :param patience: seconds of silence after which a process is dead
    """

    def __init__(
        self, jobs: Jobs, staging: pathlib.Path, patience: float
    ) -> None:
        self._jobs = jobs
        self._staging = staging
        self._patience = patience

    def look(self) -> list[Finding]:
        """Everything that is found, in an order that can be repaired in."""
        return [
            *self._dead_owners(),
            *self._tasks_without_job(),
            *self._locks_without_task(),
            *self._residue(),
        ]

    def _dead_owners(self) -> Iterator[Finding]:
        for job in self._jobs.all():
            who = job.owner or job.keeper
            if who is None:
                continue
            silent = time.time() - job.beat
            gone = Owner.parse(job.node or '', who).is_dead()
            if gone or silent > self._patience:
                yield Finding(
                    'task',
                    job.task_id,
                    f'Its process on {job.node or "its node"} is gone.'
                    if gone
                    else f'Its process on {job.node or "its node"} has been '
                    f'silent for {silent:.0f} s.',
                    'It goes on as a new task.',
                    functools.partial(self._jobs.take_over, job),
                )

    def _tasks_without_job(self) -> Iterator[Finding]:
        oldest = records.now() - datetime.timedelta(seconds=SETTLED)
        with self._jobs.reading() as connection:
            rows = connection.execute(
                sqlalchemy.select(records.TASKS)
                .select_from(
                    records.TASKS.outerjoin(
                        JOBS, JOBS.c.task_id == records.TASKS.c.id
                    )
                )
                .where(
                    records.TASKS.c.status.in_(records.UNFINISHED),
                    records.TASKS.c.deleted == sqlalchemy.false(),
                    records.TASKS.c.updated_at < oldest,
                    JOBS.c.task_id.is_(None),
                )
                .order_by(records.TASKS.c.created_at)
            ).all()
        for row in rows:
            expired = records.now() - row.updated_at > EXPIRY[row.status]
            yield Finding(
                'task',
                row.id,
                f'It is {row.status}, and no engine knows of it.',
                'It is given to the engines.'
                if expired
                else 'None yet: a Glance without this engine may run it.',
                functools.partial(self._adopt, row) if expired else None,
            )

    def _adopt(self, row: sqlalchemy.Row) -> None:
        task = self._jobs.task(row.id)
        if task is None:
            return
        self._jobs.add(
            Job(
                row.id,
                self._context(row, task),
                attempts=0 if row.status == 'pending' else 1,
            )
        )
        made = self._jobs.get(row.id)
        if made is not None and row.status == 'processing':
            self._jobs.take_over(made)

    def _context(
        self, row: sqlalchemy.Row, task: records.Task
    ) -> dict[str, object]:
        """Who asked and for what, as far as task and image tell."""
        images = records.IMAGES
        with self._jobs.reading() as connection:
            image = connection.execute(
                sqlalchemy.select(
                    images.c.disk_format, images.c.container_format
                ).where(images.c.id == task.image_id)
            ).first()
        method = (task.input.get('import_req') or {}).get('method') or {}
        return {
            'user_id': row.user_id,
            'project_id': row.owner,
            'roles': [],
            'is_admin': False,
            'request_id': row.request_id,
            'elevated': method.get('name') == 'copy-image',
            'needs_token': method.get('name') == 'glance-download',
            'disk_format': image and image.disk_format,
            'container_format': image and image.container_format,
        }

    def _locks_without_task(self) -> Iterator[Finding]:
        tasks, properties, images = (
            records.TASKS,
            records.PROPERTIES,
            records.IMAGES,
        )
        with self._jobs.reading() as connection:
            rows = connection.execute(
                sqlalchemy.select(
                    images.c.id,
                    images.c.status,
                    properties.c.value,
                    tasks.c.status.label('task_status'),
                )
                .select_from(
                    properties.join(
                        images, images.c.id == properties.c.image_id
                    )
                    .outerjoin(tasks, tasks.c.id == properties.c.value)
                    .outerjoin(JOBS, JOBS.c.task_id == properties.c.value)
                )
                .where(
                    properties.c.name == records.LOCK,
                    properties.c.deleted == sqlalchemy.false(),
                    images.c.deleted == sqlalchemy.false(),
                    JOBS.c.task_id.is_(None),
                    sqlalchemy.or_(
                        tasks.c.status.is_(None),
                        tasks.c.status.not_in(records.UNFINISHED),
                    ),
                )
            ).all()
        for row in rows:
            ended = row.task_status or 'gone'
            yield Finding(
                'lock',
                row.id,
                f'It is {row.status}, and locked by task {row.value}, which '
                f'is {ended}.',
                'The lock is removed, and the image put back if it has to be.',
                functools.partial(self._unlock, row),
            )

    def _unlock(self, row: sqlalchemy.Row) -> None:
        with self._jobs.writing() as connection:
            if row.status == 'importing':
                connection.execute(
                    records.IMAGES.update()
                    .where(
                        records.IMAGES.c.id == row.id,
                        records.IMAGES.c.status == 'importing',
                    )
                    .values(status='queued')
                )
            records.unlock(connection, row.id, row.value)

    def _residue(self) -> Iterator[Finding]:
        for found in residue.find(self._jobs, self._staging, SETTLED):
            yield Finding(
                'staging',
                str(found.file),
                found.why,
                'It is removed.',
                found.remove,
            )
