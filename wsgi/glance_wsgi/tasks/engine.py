"""The engine of a process: its slots, its signs of life, and its end.

A thread pulls: it claims a job only when a slot is free, so what waits is
pending and any node may take it. Another one shows that this process lives: it
needs nothing but the database. A third one takes over from those that do not
live, and looks at disks, which may hang.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from glance_wsgi.tasks import claims
from glance_wsgi.tasks import watch
from glance_wsgi.tasks.jobs import Job
from glance_wsgi.tasks.jobs import Jobs
from glance_wsgi.tasks.owners import Owner
from glance_wsgi.tasks.runs import Runs
from glance_wsgi.tasks.trouble import is_of_database

LOG = logging.getLogger(__name__)

SWEEP = 15
"""Sweeps are this many heartbeats apart."""

RETRY = 2.0
"""Seconds until the database is asked again when it has failed."""


class Engine:
    """Runs jobs, one for each slot.

    :param stopped: whether this node is to begin nothing
    :param pool: runs the tasks, and in it each task's engine its steps; it
        has more threads than there are slots
    :param heartbeat: seconds between two signs of life
    :param written: how many bytes have been written for a task
    :param sweep: removes what others can not remove on this node
    """

    def __init__(
        self,
        jobs: Jobs,
        runs: Runs,
        me: Owner,
        stopped: Callable[[], bool],
        pool: Any,
        slots: int,
        heartbeat: float,
        written: Callable[[str], int] = lambda task_id: 0,
        sweep: Callable[[], None] = lambda: None,
    ) -> None:
        self.jobs, self.me = jobs, me
        self.around: Callable[[], AbstractContextManager[None]] = (
            contextlib.nullcontext
        )
        self._runs, self._pool, self._slots = runs, pool, slots
        self._is_stopped, self._heartbeat = stopped, heartbeat
        self._written, self._sweep = written, sweep
        self._watch = watch.Watch(jobs, me, watch.SILENCE * heartbeat)
        self._held: dict[str, Job] = {}
        self._live: dict[str, Any] = {}
        self._arriving: set[str] = set()
        self._changed = threading.Condition()
        self._wanted = False
        self._in_doubt = False
        self._closing = threading.Event()
        self._ended = threading.Event()
        self._puller = threading.Thread(
            target=self._pull, name='tasks_pull', daemon=True
        )
        self._beater = self._regular('tasks_beat', self._show_life)
        self._looker = self._regular('tasks_look', self._look)
        self._looks = 0

    def submit(self, job: Job, live: Any) -> None:
        """Accept a job; when this returns it outlives this process.

        :param live: its executor, with what is not in the database
        :raises Exception: the database fails; nothing was accepted
        """
        # Before it is there to be claimed, by another thread of this process.
        self._arriving.add(job.task_id)
        self._live[job.task_id] = live
        try:
            self.jobs.add(job)
        except BaseException:
            self._live.pop(job.task_id, None)
            raise
        finally:
            self._arriving.discard(job.task_id)
        self.wake()

    def wake(self) -> None:
        """Look for jobs now."""
        with self._changed:
            self._wanted = True
            self._changed.notify_all()

    def start(self) -> None:
        """Begin to pull, and to show that this process lives."""
        for thread in (self._puller, self._beater, self._looker):
            thread.start()

    def close(self) -> None:
        """Claim nothing from now on."""
        self._closing.set()
        self.wake()

    def join(self) -> None:
        """After `close`: wait until all that runs here has ended."""
        # What it is claiming just now is going to run, or is given back.
        if self._puller.is_alive():
            self._puller.join()
        with self._changed:
            self._changed.wait_for(lambda: not self._held)
        self._ended.set()

    def running(self) -> list[str]:
        """The tasks that this process has claimed."""
        return list(self._held)

    # --- pulling ---

    def _pull(self) -> None:
        while not self._closing.is_set():
            pause = self._heartbeat / 2
            try:
                self._fill()
            except Exception:
                LOG.exception('No job can be claimed now.')
                self._in_doubt = True
                pause = RETRY
            with self._changed:
                self._changed.wait_for(lambda: self._wanted, pause)
                self._wanted = False

    def _stopped(self) -> bool:
        return self._closing.is_set() or self._is_stopped()

    def _fill(self) -> None:
        if self._in_doubt:
            self._give_back_unknown()
        while len(self._held) < self._slots:
            job = claims.claim(self.jobs, self.me, self._stopped)
            if job is None:
                return
            self._held[job.task_id] = job
            try:
                self._pool.submit(self._run, job)
            except BaseException:
                # Ours without running: what is in doubt is given back.
                self._held.pop(job.task_id)
                raise

    def _give_back_unknown(self) -> None:
        """Jobs that are ours without our knowing: a claim was cut off."""
        for job in self.jobs.owned_on(self.me.node):
            if job.owner == str(self.me) and job.task_id not in self._held:
                self.jobs.free(job.task_id, self.me)
        self._in_doubt = False

    def _run(self, job: Job) -> None:
        try:
            with self.around():
                # Kept until the job is gone: whoever is given it back, by
                # this process, needs it once more.
                live = self._live.get(job.task_id)
                self._finish(job, self._attempt(job, live))
        except Exception:
            LOG.exception('Task %s is left to others.', job.task_id)
            self._in_doubt = True
        finally:
            with self._changed:
                # Another slot may have claimed it since it was given back.
                if self._held.get(job.task_id) is job:
                    del self._held[job.task_id]
                self._wanted = True
                self._changed.notify_all()

    def _attempt(self, job: Job, live: Any) -> str | None:
        try:
            return self._runs.run(job, live)
        except Exception as error:
            LOG.exception('Task %s', job.task_id)
            if not is_of_database(error):
                return str(error)
            # It is given back, and would be claimed again at once.
            self._closing.wait(RETRY)
            return None

    def _finish(self, job: Job, problem: str | None) -> None:
        while True:
            try:
                self._runs.settle(job, problem)
                break
            except Exception as error:
                if not is_of_database(error) or self._closing.is_set():
                    raise
                LOG.warning('Task %s can not be settled now.', job.task_id)
                self._closing.wait(RETRY)
        if self.jobs.get(job.task_id) is None:
            self._live.pop(job.task_id, None)

    # --- signs of life ---

    def _regular(
        self, name: str, work: Callable[[], None]
    ) -> threading.Thread:
        """A thread that does some work with each heartbeat."""

        def run() -> None:
            while not self._ended.is_set():
                try:
                    work()
                except Exception as error:
                    LOG.warning('%s: %s', name, error)
                self._ended.wait(self._heartbeat)

        return threading.Thread(target=run, name=name, daemon=True)

    def _show_life(self) -> None:
        if self._held or self._live:
            self.jobs.live(self.me)

    def _look(self) -> None:
        looks, self._looks = self._looks, self._looks + 1
        if held := list(self._held):
            self.jobs.written({one: self._written(one) for one in held})
        if self._live:
            self._forget_what_is_gone()
        if looks % watch.EVERY == 0 and self._watch.look():
            self.wake()
        if looks % SWEEP == 0:
            self._sweep()

    def _forget_what_is_gone(self) -> None:
        """Executors of jobs that others have run, or that were deleted."""
        # One that is being accepted just now is not there yet.
        known = set(self._live) - self._arriving
        for task_id in known - {job.task_id for job in self.jobs.all()}:
            self._live.pop(task_id, None)
