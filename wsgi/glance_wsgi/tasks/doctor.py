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
from collections.abc import Callable, Collection, Iterator
from typing import Any

import sqlalchemy

from glance_wsgi.tasks import records
from glance_wsgi.tasks import residue
from glance_wsgi.tasks.jobs import Job
from glance_wsgi.tasks.jobs import Jobs
from glance_wsgi.tasks.jobs import again
from glance_wsgi.tasks.owners import Owner
from glance_wsgi.tasks.tables import JOBS

SETTLED = 60
"""Seconds after which a lock has its task, a task its job, a file an image."""

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
    :param fix: does that, and tells what it did; None if there was nothing to
        do any more. No function where it is not to be done yet, or not here
    """

    kind: str
    id: str
    what: str
    repair: str
    fix: Callable[[], str | None] | None


class Doctor:
    """Looks at one node, and at what all nodes share.

    :param staging: where uploads for an import wait on this node
    :param patience: seconds of silence after which a process is dead
    :param node: this node's name; None if others are called the same
    :param wait: lets so many seconds pass
    :param stores: the directories of its stores
    :param needs_token: whether a task needs the user's token, by its input
        and by whether its image is signed
    """

    def __init__(
        self,
        jobs: Jobs,
        staging: pathlib.Path,
        patience: float,
        node: str | None = None,
        wait: Callable[[float], object] = time.sleep,
        *,
        stores: Collection[pathlib.Path] = (),
        needs_token: Callable[[dict[str, Any], bool], bool] = (
            lambda given, signed: False
        ),
    ) -> None:
        self._jobs = jobs
        self._staging = staging
        self._patience = patience
        self._node = node
        self._wait = wait
        self._stores = stores
        self._needs_token = needs_token

    def look(self) -> list[Finding]:
        """Everything that is found, in an order that can be repaired in."""
        return [
            *self._dead_owners(),
            *self._tasks_without_job(),
            *self._locks_without_task(),
            *self._residue(),
        ]

    def _dead_owners(self) -> Iterator[Finding]:
        silent = []
        for job in self._jobs.all():
            who = job.owner or job.keeper
            if who is None:
                continue
            if Owner.parse(job.node or '', who).is_dead():
                yield self._dead(job, 'is gone')
            elif time.time() - job.beat > self._patience:
                silent.append(job)
        for job in self._still_silent(silent):
            yield self._dead(job, f'is silent for {self._patience:.0f} s')

    def _still_silent(self, seen: list[Job]) -> list[Job]:
        """Those that give no sign of life while somebody looks.

        What a clock says of their last one means little: it is another
        node's, and nobody gives one while the database is away.
        """
        if not seen:
            return []
        self._wait(self._patience)
        signs = {
            (job.task_id, job.owner, job.keeper, job.beat)
            for job in self._jobs.all()
        }
        return [
            job
            for job in seen
            if (job.task_id, job.owner, job.keeper, job.beat) in signs
        ]

    def _dead(self, job: Job, how: str) -> Finding:
        return Finding(
            'task',
            job.task_id,
            f'Its process on {job.node or "its node"} {how}.',
            'It goes on as a new task.',
            functools.partial(self._take_over, job),
        )

    def _take_over(self, job: Job) -> str | None:
        before = self._jobs.task(job.task_id)
        new = self._jobs.take_over(job)
        if new:
            return f'It goes on as task {new}.'
        after = self._jobs.task(job.task_id)
        if before is None or after is None or after.status == before.status:
            return None
        # There was nothing to go on with, or somebody else was faster.
        return f'It has ended: {after.message}'

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

    def _adopt(self, row: sqlalchemy.Row) -> str | None:
        task = self._jobs.task(row.id)
        if task is None or task.status != row.status:
            return None
        if task.type == 'import' and task.status == 'processing':
            return self._end(task)
        job = Job(
            row.id,
            self._context(task),
            host=self._host(task),
            attempts=0 if row.status == 'pending' else 1,
        )
        if not self._add(job):
            return None
        made = self._jobs.get(row.id)
        taken = None
        if made is not None and not made.owner and row.status != 'pending':
            taken = self._take_over(made)
        # An engine may have been faster: it does the same.
        return taken or 'The engines have it.'

    @again
    def _end(self, task: records.Task) -> str | None:
        """Of the old API: it has no lock that another task could have."""
        with self._jobs.writing() as connection:
            ended = records.end(
                connection, task.id, 'failure', records.OLD_API
            )
        return f'It has ended: {records.OLD_API}' if ended else None

    def _add(self, job: Job) -> bool:
        """Give the engines a job; False if somebody else was faster."""
        try:
            self._jobs.add(job)
        except sqlalchemy.exc.IntegrityError:
            return False
        return True

    def _host(self, task: records.Task) -> str | None:
        """The node that has what is staged, as far as that is known."""
        if task.method != 'glance-direct' or self._node is None:
            return None
        if any(self._staging.glob(f'{task.image_id}*')):
            return self._node
        properties = records.PROPERTIES
        with self._jobs.reading() as connection:
            # Glance forgets it when it begins the import.
            host: str | None = connection.execute(
                sqlalchemy.select(properties.c.value).where(
                    properties.c.image_id == task.image_id,
                    properties.c.name == records.STAGE_HOST,
                    properties.c.deleted == sqlalchemy.false(),
                )
            ).scalar()
        return host

    def _context(self, task: records.Task) -> dict[str, object]:
        """Who asked and for what, as far as task and image tell."""
        tasks, images, properties = (
            records.TASKS,
            records.IMAGES,
            records.PROPERTIES,
        )
        with self._jobs.reading() as connection:
            asked = connection.execute(
                sqlalchemy.select(
                    tasks.c.user_id, tasks.c.owner, tasks.c.request_id
                ).where(tasks.c.id == task.id)
            ).first()
            image = connection.execute(
                sqlalchemy.select(
                    images.c.disk_format, images.c.container_format
                ).where(images.c.id == task.image_id)
            ).first()
            signature = connection.execute(
                sqlalchemy.select(properties.c.value).where(
                    properties.c.image_id == task.image_id,
                    properties.c.name == 'img_signature',
                    properties.c.deleted == sqlalchemy.false(),
                )
            ).first()
        return {
            'user_id': asked and asked.user_id,
            'project_id': asked and asked.owner,
            'roles': [],
            'is_admin': False,
            'request_id': asked and asked.request_id,
            'elevated': task.method == 'copy-image',
            'needs_token': self._needs_token(
                task.input, signature is not None
            ),
            'disk_format': image and image.disk_format,
            'container_format': image and image.container_format,
        }

    def _locks_without_task(self) -> Iterator[Finding]:
        # Glance locks an image before the task is there.
        oldest = records.now() - datetime.timedelta(seconds=SETTLED)
        tasks, properties, images = (
            records.TASKS,
            records.PROPERTIES,
            records.IMAGES,
        )
        locations = records.LOCATIONS
        reached = sqlalchemy.exists().where(
            locations.c.image_id == images.c.id,
            locations.c.deleted == sqlalchemy.false(),
        )
        with self._jobs.reading() as connection:
            rows = connection.execute(
                sqlalchemy.select(
                    images.c.id,
                    images.c.status,
                    properties.c.value,
                    tasks.c.status.label('task_status'),
                    reached.label('reached'),
                )
                .select_from(
                    properties.join(
                        images, images.c.id == properties.c.image_id
                    ).outerjoin(tasks, tasks.c.id == properties.c.value)
                )
                .where(
                    properties.c.name == records.LOCK,
                    properties.c.deleted == sqlalchemy.false(),
                    sqlalchemy.func.coalesce(
                        properties.c.updated_at, properties.c.created_at
                    )
                    < oldest,
                    images.c.deleted == sqlalchemy.false(),
                    _is_over(properties.c.value),
                )
            ).all()
        for row in rows:
            ended = row.task_status or 'gone'
            yield Finding(
                'lock',
                row.id,
                f'It is {row.status}, and locked by task {row.value}, which '
                f'is {ended}.',
                *self._release(row),
            )

    def _release(
        self, row: sqlalchemy.Row
    ) -> tuple[str, Callable[[], str | None] | None]:
        """How a locked image is repaired.

        A store that an import has reached takes no data of the next one: the
        import has to be undone, which only engines can do.
        """
        if row.status != 'importing' or not row.reached:
            return (
                'The lock is removed, and the image put back if it has to be.',
                functools.partial(self._unlock, row),
            )
        if row.task_status == 'failure':
            return (
                'It is given to the engines, which put the image back.',
                functools.partial(self._put_back, row),
            )
        return 'None: some stores have its data. Delete the image.', None

    @again
    def _unlock(self, row: sqlalchemy.Row) -> str | None:
        images, properties = records.IMAGES, records.PROPERTIES
        with self._jobs.writing() as connection:
            if not connection.scalar(sqlalchemy.select(_is_over(row.value))):
                return None
            # First the lock: who has it now may change the rest.
            if not records.unlock(connection, row.id, row.value):
                return None
            connection.execute(
                properties.update()
                .where(
                    properties.c.image_id == row.id,
                    properties.c.name == records.IMPORTING,
                    properties.c.deleted == sqlalchemy.false(),
                )
                .values(value='')
            )
            freed = connection.execute(
                images.update()
                .where(images.c.id == row.id, images.c.status == 'importing')
                .values(status='queued')
            )
        if freed.rowcount:
            return 'The lock was removed, the image is queued.'
        return 'The lock was removed.'

    def _put_back(self, row: sqlalchemy.Row) -> str | None:
        """Have an engine let go of the image, as after any failure.

        Any node may: what is staged on another one, that one removes.
        """
        task = self._jobs.task(row.value)
        if task is None or task.status != 'failure':
            return None
        added = self._add(Job(task.id, self._context(task), attempts=1))
        return 'The engines have it.' if added else None

    def _residue(self) -> Iterator[Finding]:
        for found in residue.find(
            self._jobs, self._staging, SETTLED, self._stores
        ):
            yield Finding(
                'staging',
                str(found.file),
                found.why,
                'It is removed.',
                functools.partial(_remove, found),
            )


def _is_over(task_id: Any) -> sqlalchemy.ColumnElement[bool]:
    """That a task has ended or is gone, and has no job."""
    tasks = records.TASKS.alias()
    return ~sqlalchemy.or_(
        sqlalchemy.exists().where(
            tasks.c.id == task_id, tasks.c.status.in_(records.UNFINISHED)
        ),
        sqlalchemy.exists().where(JOBS.c.task_id == task_id),
    )


def _remove(found: residue.Residue) -> str | None:
    return 'It was removed.' if found.remove() else None
