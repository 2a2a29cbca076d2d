"""One claimed job, from its claim to its end."""

import logging
from typing import Any

from glance_wsgi.tasks import glance
from glance_wsgi.tasks.jobs import Job
from glance_wsgi.tasks.jobs import Jobs
from glance_wsgi.tasks.owners import Owner
from glance_wsgi.tasks.records import UNFINISHED
from glance_wsgi.tasks.recovery import Recovery
from glance_wsgi.tasks.trouble import is_of_database

LOG = logging.getLogger(__name__)

NOT_BEGUN = 'It could not be begun: {}: {}.'
FAILED = 'Task failed; its image was put back.'


class Runs:
    """Runs claimed jobs of one process, each to its end."""

    def __init__(
        self,
        jobs: Jobs,
        gateway: glance.Gateway,
        recovery: Recovery,
        me: Owner,
    ) -> None:
        self._jobs = jobs
        self._gateway = gateway
        self._recovery = recovery
        self._me = me

    def run(self, job: Job, live: Any) -> str | None:
        """Run a job that was claimed; the task's engine logs what it does.

        :param live: the executor that the request has made, with its token;
            None if this is another process, or it was begun before
        :returns: why it was not begun, for `settle`
        """
        task = self._jobs.task(job.task_id)
        if task is None or task.status != 'pending':
            return None
        if not self._recovery.prepare(job, task, live is not None):
            return None
        executor = live or self._gateway.executor(job)
        try:
            glance.run(
                job.task_id,
                executor,
                lambda: self._jobs.begin(job.task_id, self._me),
            )
        except glance.NotBegun:
            LOG.info('Task %s is not ours to begin.', job.task_id)
        except Exception as error:
            LOG.exception('Task %s', job.task_id)
            if not is_of_database(error):
                return NOT_BEGUN.format(type(error).__name__, error)
        return None

    def settle(self, job: Job, problem: str | None) -> None:
        """What there is to do when a task's engine has returned.

        :param problem: why it was not begun, if that would be so again
        :raises Exception: the database fails: to be called again
        """
        mine = self._jobs.get(job.task_id)
        if mine is None or mine.owner != str(self._me):
            return
        task = self._jobs.task(job.task_id)
        if task is None or task.status not in UNFINISHED:
            self._let_go(job, task)
        elif task.status == 'processing':
            # Its engine could not even say that it has failed.
            self._jobs.free(job.task_id, self._me)
        elif problem:
            self._recovery.give_up(job, task, problem)
        else:
            self._jobs.give_back(job.task_id, self._me)

    def _let_go(self, job: Job, task: Any) -> None:
        if task is not None and task.status == 'failure' and task.image_id:
            # Where a flow can't be made, Glance leaves the image locked; where
            # a store fails, it leaves it "importing", which nobody can import.
            self._recovery.give_up(job, task, FAILED)
        self._jobs.end(job.task_id, self._me, 'failure', FAILED)
