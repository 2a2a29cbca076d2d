"""Glance's own tables, as far as jobs need them.

This module alone uses them: Glance's public way to a task reads it and writes
it back, which two processes can do at once. All statements here are of one
transaction that the caller has begun. tests/functional/test_tasks_contract.py
compares the names with the models of every supported Glance.
"""

import dataclasses
import datetime
import json
import uuid
from typing import Any

import sqlalchemy
from sqlalchemy import column

TASKS = sqlalchemy.table(
    'tasks',
    *map(column, ('id', 'type', 'status', 'owner', 'image_id', 'user_id')),
    *map(column, ('request_id', 'deleted')),
    column('created_at', sqlalchemy.DateTime),
    column('updated_at', sqlalchemy.DateTime),
    column('expires_at', sqlalchemy.DateTime),
)
TASK_INFO = sqlalchemy.table(
    'task_info', *map(column, ('task_id', 'input', 'result', 'message'))
)
PROPERTIES = sqlalchemy.table(
    'image_properties',
    *map(column, ('image_id', 'name', 'value', 'deleted')),
    column('created_at', sqlalchemy.DateTime),
    column('updated_at', sqlalchemy.DateTime),
)
LOCATIONS = sqlalchemy.table(
    'image_locations', *map(column, ('image_id', 'value', 'deleted'))
)
IMAGES = sqlalchemy.table(
    'images',
    *map(
        column,
        (
            'id',
            'status',
            'size',
            'deleted',
            'disk_format',
            'container_format',
        ),
    ),
)

LOCK = 'os_glance_import_task'
"""The property of an image that names the task that works on it."""

IMPORTING = 'os_glance_importing_to_stores'
"""The one that names the stores that it is being imported to."""

STAGE_HOST = 'os_glance_stage_host'
"""The one that names the node that has what is staged."""

OLD_API = (
    'The process that ran this task has ended. A task of the old API is not '
    'begun again. Delete its image.'
)
LOST = (
    'The process that ran this task has ended, and its image is gone or '
    'another task works on it.'
)

UNFINISHED = ('pending', 'processing')

TIME_TO_LIVE = datetime.timedelta(hours=48)
"""How long Glance keeps a task that has ended ([task] task_time_to_live)."""


@dataclasses.dataclass(frozen=True)
class Task:
    """A task of Glance's."""

    id: str
    type: str
    status: str
    image_id: str | None
    input: dict[str, Any]
    message: str

    @property
    def method(self) -> str | None:
        """How it imports; None if it does not."""
        method = (self.input.get('import_req') or {}).get('method') or {}
        name: str | None = method.get('name')
        return name


def now() -> datetime.datetime:
    """The time as Glance writes it: UTC, without saying so."""
    utc = datetime.datetime.now(datetime.timezone.utc)
    return utc.replace(tzinfo=None)


def task(connection: sqlalchemy.Connection, task_id: str) -> Task | None:
    """A task; None if there is none any more."""
    row = connection.execute(
        sqlalchemy.select(TASKS, TASK_INFO.c.input, TASK_INFO.c.message)
        .select_from(
            TASKS.outerjoin(TASK_INFO, TASK_INFO.c.task_id == TASKS.c.id)
        )
        .where(TASKS.c.id == task_id, TASKS.c.deleted == sqlalchemy.false())
    ).first()
    if row is None:
        return None
    given = json.loads(row.input) if row.input else {}
    return Task(
        row.id,
        row.type,
        row.status,
        row.image_id or given.get('image_id'),
        given,
        row.message or '',
    )


def begin(connection: sqlalchemy.Connection, task_id: str) -> bool:
    """From pending to processing; False if it was not pending."""
    return _change(connection, task_id, ('pending',), 'processing', None)


def end(
    connection: sqlalchemy.Connection,
    task_id: str,
    status: str,
    message: str,
) -> bool:
    """To ``success`` or ``failure``; False if it has ended already."""
    if not _change(
        connection, task_id, UNFINISHED, status, now() + TIME_TO_LIVE
    ):
        return False
    say(connection, task_id, message)
    return True


def _change(
    connection: sqlalchemy.Connection,
    task_id: str,
    before: tuple[str, ...],
    after: str,
    expires: datetime.datetime | None,
) -> bool:
    changed = connection.execute(
        TASKS.update()
        .where(
            TASKS.c.id == task_id,
            TASKS.c.status.in_(before),
            TASKS.c.deleted == sqlalchemy.false(),
        )
        .values(status=after, updated_at=now(), expires_at=expires)
    )
    return changed.rowcount == 1


def holds_lock(
    connection: sqlalchemy.Connection, image_id: str, task_id: str
) -> bool:
    """Whether the image is locked for this task, and still there."""
    found = connection.execute(
        sqlalchemy.select(IMAGES.c.id)
        .select_from(
            IMAGES.join(PROPERTIES, PROPERTIES.c.image_id == IMAGES.c.id)
        )
        .where(_lock(image_id, task_id))
        .where(IMAGES.c.deleted == sqlalchemy.false())
    ).first()
    return found is not None


def unlock(
    connection: sqlalchemy.Connection, image_id: str, task_id: str
) -> bool:
    """Remove the lock of this task; False if the image has another, or none.

    Deleted as ``glance.db.sqlalchemy.api.image_delete_property_atomic`` does.
    """
    gone = connection.execute(
        PROPERTIES.delete().where(_lock(image_id, task_id))
    )
    return gone.rowcount == 1


def _lock(image_id: str, task_id: str) -> Any:
    return sqlalchemy.and_(
        PROPERTIES.c.image_id == image_id,
        PROPERTIES.c.name == LOCK,
        PROPERTIES.c.value == task_id,
        PROPERTIES.c.deleted == sqlalchemy.false(),
    )


def continue_as_new(
    connection: sqlalchemy.Connection, found: Task
) -> str | None:
    """Fence a task: a new pending one takes its place, and its lock.

    :returns: the new task's id; None if the task has just ended, or has no
        lock to hand over, which ends it too
    """
    new = str(uuid.uuid4())
    if not end(
        connection,
        found.id,
        'failure',
        f'The process that ran this task has ended. Continued as task {new}.',
    ):
        return None
    swapped = connection.execute(
        PROPERTIES.update()
        .where(_lock(found.image_id or '', found.id))
        .values(value=new)
    )
    if swapped.rowcount != 1:
        say(connection, found.id, LOST if found.image_id else OLD_API)
        return None
    _copy(connection, found, new)
    return new


def _copy(connection: sqlalchemy.Connection, found: Task, new: str) -> None:
    same = ('type', 'owner', 'image_id', 'request_id', 'user_id', 'deleted')
    connection.execute(
        TASKS.insert().from_select(
            ['id', 'status', 'created_at', 'updated_at', *same],
            sqlalchemy.select(
                sqlalchemy.literal(new),
                sqlalchemy.literal('pending'),
                sqlalchemy.literal(now()),
                sqlalchemy.literal(now()),
                *(TASKS.c[name] for name in same),
            ).where(TASKS.c.id == found.id),
        )
    )
    connection.execute(
        TASK_INFO.insert().values(task_id=new, input=json.dumps(found.input))
    )


def say(connection: sqlalchemy.Connection, task_id: str, message: str) -> None:
    """Give a task another message."""
    connection.execute(
        TASK_INFO.update()
        .where(TASK_INFO.c.task_id == task_id)
        .values(message=message)
    )


def change_input(
    connection: sqlalchemy.Connection, task_id: str, given: dict[str, Any]
) -> None:
    """Give a task another input."""
    connection.execute(
        TASK_INFO.update()
        .where(TASK_INFO.c.task_id == task_id)
        .values(input=json.dumps(given))
    )
