"""Finding the dead: whose job shows no sign of life any more.

A process of this machine is seen to be gone. One of another machine, or one
that was stopped, is silent: the same sign was seen for as long as it takes,
by this process's own clock. So clocks need not agree, and a database that was
away for an hour does not make everybody look dead when it is back.
"""

import logging
import time

import sqlalchemy

from glance_wsgi.tasks.jobs import Job
from glance_wsgi.tasks.jobs import Jobs
from glance_wsgi.tasks.owners import Owner
from glance_wsgi.tasks.tables import JOBS

LOG = logging.getLogger(__name__)

EVERY = 3
"""Looks are this many heartbeats apart."""

SILENCE = 6
"""A process is dead after the time of so many heartbeats without a sign."""


class Watch:
    """What one process has seen of the others.

    :param patience: seconds of silence after which a process is dead
    """

    def __init__(self, jobs: Jobs, me: Owner, patience: float) -> None:
        self._jobs = jobs
        self._me = me
        self._patience = patience
        self._seen: dict[tuple[str, str, int], float] = {}

    def look(self) -> bool:
        """Take over from the dead; True if there was something to take."""
        claimed = self._jobs.all(
            sqlalchemy.or_(
                JOBS.c.owner.is_not(None), JOBS.c.keeper.is_not(None)
            )
        )
        before, self._seen = self._seen, {}
        taken = [self._judge(job, before) for job in claimed]
        return any(taken)

    def _judge(
        self, job: Job, before: dict[tuple[str, str, int], float]
    ) -> bool:
        who = job.owner or job.keeper or ''
        if who == str(self._me):
            return False
        sign = (job.task_id, who, job.beat)
        now = time.monotonic()
        since = self._seen[sign] = before.get(sign, now)
        owner = Owner.parse(job.node or '', who)
        if not owner.is_dead() and now - since < self._patience:
            return False
        taken = self._jobs.take_over(job)
        if taken is None:  # it lives after all, or somebody was faster
            return False
        LOG.warning(
            'Task %s: its process %s on %s has ended; it goes on as %s.',
            job.task_id,
            owner.pid,
            job.node,
            taken,
        )
        return True
