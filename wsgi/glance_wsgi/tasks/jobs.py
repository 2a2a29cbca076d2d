"""The jobs: which is next, who may take it, and what becomes of it.

`Board` is all that a claim knows of them. Whatever hands out jobs in another
way, such as a jobboard, is another `Board`.
"""

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import sqlalchemy
import tenacity
from sqlalchemy import exc

from glance_wsgi.tasks import records
from glance_wsgi.tasks.owners import Owner
from glance_wsgi.tasks.tables import JOBS

CANDIDATES = 8
"""How many jobs are looked at for one to take: others look at them too."""

# MariaDB's own numbers: a lock that was waited for too long, a deadlock.
_AGAIN = (1205, 1213)


def _is_collision(error: BaseException) -> bool:
    if not isinstance(error, exc.OperationalError):
        return False
    said = getattr(error.orig, 'args', ()) or ('',)
    return said[0] in _AGAIN or 'database is locked' in str(said[0])


again = tenacity.retry(
    retry=tenacity.retry_if_exception(_is_collision),
    wait=tenacity.wait_random(0.01, 0.1),
    stop=tenacity.stop_after_attempt(10),
    reraise=True,
)
"""Repeats a transaction that has met another one: nothing of it was done."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A task that was accepted; see `glance_wsgi.tasks.tables`."""

    task_id: str
    context: Mapping[str, Any]
    host: str | None = None
    keeper: str | None = None
    owner: str | None = None
    node: str | None = None
    beat: int = 0
    created: int = 0
    attempts: int = 0
    bytes: int = 0


class Board(Protocol):
    """Which job next, and who may take it."""

    def candidates(self, me: Owner) -> list[str]:
        """What `me` could take now, the oldest first."""

    def take(self, task_id: str, me: Owner) -> bool:
        """Make `me` the owner; False if somebody else was faster."""

    def give_back(self, task_id: str, me: Owner) -> None:
        """Make nobody the owner, of a job that was not begun."""

    def get(self, task_id: str) -> Job | None:
        """The job; None if there is none."""


class Jobs:
    """The jobs in Glance's database.

    Every method is one transaction.

    :param engine: as `glance_wsgi.db.engines.make` makes it
    :raises sqlalchemy.exc.DBAPIError: from each method: the database fails
    """

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        self._engine = engine

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlalchemy.Connection]:
        """A transaction that writes nothing."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlalchemy.Connection]:
        """A transaction that writes."""
        with self._engine.connect() as connection:
            connection = connection.execution_options(writes=True)
            with connection.begin():
                yield connection

    @again
    def add(self, job: Job) -> None:
        """Accept a job; when this returns it is in the database."""
        values = dataclasses.asdict(job)
        values['context'] = json.dumps(dict(job.context))
        values['beat'] = values['created'] = int(time.time())
        with self.writing() as connection:
            connection.execute(JOBS.insert().values(values))

    def get(self, task_id: str) -> Job | None:
        """The job; None if there is none."""
        found = self.all(JOBS.c.task_id == task_id)
        return found[0] if found else None

    def all(self, *where: Any) -> list[Job]:
        """All jobs of which that is true, the oldest first."""
        with self.reading() as connection:
            rows = connection.execute(
                sqlalchemy.select(JOBS)
                .where(*where)
                .order_by(JOBS.c.created, JOBS.c.task_id)
            ).mappings()
            return [
                Job(**{**row, 'context': json.loads(row['context'])})
                for row in rows
            ]

    def owned_on(self, node: str) -> list[Job]:
        """What a node has claimed, and not finished."""
        return self.all(JOBS.c.owner.is_not(None), JOBS.c.node == node)

    def candidates(self, me: Owner) -> list[str]:
        """What `me` could take now, the oldest first."""
        with self.reading() as connection:
            return list(
                connection.execute(
                    sqlalchemy.select(JOBS.c.task_id)
                    .where(
                        JOBS.c.owner.is_(None),
                        sqlalchemy.or_(
                            JOBS.c.host.is_(None), JOBS.c.host == me.node
                        ),
                        sqlalchemy.or_(
                            JOBS.c.keeper.is_(None), JOBS.c.keeper == str(me)
                        ),
                    )
                    .order_by(JOBS.c.created, JOBS.c.task_id)
                    .limit(CANDIDATES)
                ).scalars()
            )

    @again
    def take(self, task_id: str, me: Owner) -> bool:
        """Make `me` the owner; False if somebody else was faster."""
        with self.writing() as connection:
            taken = connection.execute(
                JOBS.update()
                .where(JOBS.c.task_id == task_id, JOBS.c.owner.is_(None))
                .values(owner=str(me), node=me.node, beat=int(time.time()))
            )
        return taken.rowcount == 1

    @again
    def give_back(self, task_id: str, me: Owner) -> None:
        """Make nobody the owner, of a job that was not begun."""
        with self.writing() as connection:
            connection.execute(
                JOBS.update()
                .where(JOBS.c.task_id == task_id, JOBS.c.owner == str(me))
                .values(owner=None, node=None)
            )

    @again
    def begin(self, task_id: str, me: Owner) -> bool:
        """Step 4 of the claim: the task is processing from now on.

        False if `me` does not own the job, or the task was not pending.
        """
        with self.writing() as connection:
            counted = connection.execute(
                JOBS.update()
                .where(JOBS.c.task_id == task_id, JOBS.c.owner == str(me))
                .values(attempts=JOBS.c.attempts + 1)
            )
            begun = counted.rowcount == 1 and records.begin(
                connection, task_id
            )
            if not begun:
                connection.rollback()
            return begun

    @again
    def live(self, me: Owner) -> None:
        """A sign of life of `me`."""
        with self.writing() as connection:
            connection.execute(
                JOBS.update()
                .where(
                    sqlalchemy.or_(
                        JOBS.c.owner == str(me), JOBS.c.keeper == str(me)
                    )
                )
                .values(beat=int(time.time()))
            )

    @again
    def written(self, sizes: Mapping[str, int]) -> None:
        """The bytes that were written for some jobs."""
        with self.writing() as connection:
            for task_id, size in sizes.items():
                connection.execute(
                    JOBS.update()
                    .where(JOBS.c.task_id == task_id)
                    .values(bytes=size)
                )

    @again
    def refuse(self, task_id: str, image_id: str | None, why: str) -> None:
        """End a task that has no job, and unlock its image."""
        with self.writing() as connection:
            records.end(connection, task_id, 'failure', why)
            if image_id:
                records.unlock(connection, image_id, task_id)

    @again
    def remove(self, task_id: str, me: Owner) -> bool:
        """Forget a job that has ended; False if it isn't mine any more."""
        with self.writing() as connection:
            removed = connection.execute(
                JOBS.delete().where(
                    JOBS.c.task_id == task_id, JOBS.c.owner == str(me)
                )
            )
        return removed.rowcount == 1

    @again
    def end(self, task_id: str, me: Owner, status: str, message: str) -> bool:
        """End a task of mine, unlock its image, forget the job.

        False if it is mine no longer, and then nothing was changed.
        """
        with self.writing() as connection:
            removed = connection.execute(
                JOBS.delete().where(
                    JOBS.c.task_id == task_id, JOBS.c.owner == str(me)
                )
            )
            if removed.rowcount != 1:
                return False
            records.end(connection, task_id, status, message)
            found = records.task(connection, task_id)
            if found is not None and found.image_id:
                records.unlock(connection, found.image_id, task_id)
            return True

    @again
    def take_over(self, seen: Job) -> str | None:
        """Take a job from an owner, or keeper, that lives no longer.

        :param seen: the job as it was when that was found out
        :returns: the task that goes on, pending again, or has ended and is to
            be let go of; None if there is nothing to go on with, or there has
            been a sign of life
        """
        with self.writing() as connection:
            freed = connection.execute(
                JOBS.update()
                .where(
                    JOBS.c.task_id == seen.task_id,
                    JOBS.c.owner.is_not_distinct_from(seen.owner),
                    JOBS.c.keeper.is_not_distinct_from(seen.keeper),
                    JOBS.c.beat == seen.beat,
                )
                .values(owner=None, node=None, keeper=None)
            )
            if freed.rowcount != 1:
                return None
            return self._go_on(
                connection, seen.task_id, fenced=seen.owner is not None
            )

    @again
    def free(self, task_id: str, me: Owner) -> None:
        """Let go of a job of mine that nothing here works on any more.

        As `take_over`, but a sign of life does not count: it is my own.
        """
        with self.writing() as connection:
            freed = connection.execute(
                JOBS.update()
                .where(JOBS.c.task_id == task_id, JOBS.c.owner == str(me))
                .values(owner=None, node=None)
            )
            if freed.rowcount == 1:
                self._go_on(connection, task_id, fenced=False)

    def _go_on(
        self, connection: sqlalchemy.Connection, task_id: str, fenced: bool
    ) -> str | None:
        """What becomes of a job that has no owner now.

        :param fenced: its owner may believe that it still has it, and prepare
            the image: then it must not have the lock any more
        """
        mine = JOBS.c.task_id == task_id
        found = records.task(connection, task_id)
        if found is None:
            connection.execute(JOBS.delete().where(mine))
            return None
        if found.status not in records.UNFINISHED:
            # Whoever takes the job lets go of the image.
            return task_id
        if found.status == 'pending' and not (
            fenced
            and records.holds_lock(connection, found.image_id or '', task_id)
        ):
            return task_id
        new = records.continue_as_new(connection, found)
        if new is None:
            connection.execute(JOBS.delete().where(mine))
        else:
            # Whoever has a token has it for the task that was.
            connection.execute(
                JOBS.update().where(mine).values(task_id=new, keeper=None)
            )
        return new

    def task(self, task_id: str) -> records.Task | None:
        """The task of a job; None if there is none any more."""
        with self.reading() as connection:
            return records.task(connection, task_id)

    @again
    def change_input(self, task_id: str, given: dict[str, Any]) -> None:
        """Give a task another input."""
        with self.writing() as connection:
            records.change_input(connection, task_id, given)
