"""Processes that claim jobs as fast as they can, and do nothing with them.

Each may touch the stop file at a chosen step of its claim, so that no step
has to be hit by chance.
"""

import contextlib
import multiprocessing
import os
import pathlib
import time

import sqlalchemy

from glance_wsgi.db import engines
from glance_wsgi.tasks import claims
from glance_wsgi.tasks.jobs import Jobs
from glance_wsgi.tasks.owners import Owner

STEPS = (
    *('before the first look', 'after the first look', 'before the claim'),
    *('after the claim', 'after the second look', 'before it is begun'),
    *('after it is begun', 'before its end', 'after its end'),
)

CONTEXT = multiprocessing.get_context('spawn')


class Claimers:
    """Several processes of one node, and what they share.

    :param url: the database
    :param stop: the stop file
    :param log: gets the id of a task each time that one is begun
    """

    def __init__(self, url, stop: pathlib.Path, log: pathlib.Path) -> None:
        self.stop, self.log = stop, log
        self.log.touch()
        self._step = CONTEXT.Value('i', -1)
        self._end = CONTEXT.Event()
        self._passes = [CONTEXT.Value('L', 0) for _ in range(4)]
        self._processes = [
            CONTEXT.Process(
                target=work,
                args=(str(url), stop, log, self._step, self._end, passes),
                daemon=True,
            )
            for passes in self._passes
        ]

    def __enter__(self) -> 'Claimers':
        for process in self._processes:
            process.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        for process in self._processes:
            process.join(60)
            if process.is_alive():
                process.kill()

    def touch_at(self, step: str) -> None:
        """Have the first one that comes there touch the stop file."""
        self._step.value = STEPS.index(step)

    def begun(self) -> list[str]:
        """The tasks that have been begun, as often as they were."""
        return self.log.read_text().split()

    def two_passes(self) -> None:
        """Wait until each process has looked for jobs twice since now."""
        before = [passes.value for passes in self._passes]
        deadline = time.monotonic() + 60
        while any(
            passes.value < start + 2
            for passes, start in zip(self._passes, before, strict=True)
        ):
            assert time.monotonic() < deadline, 'a process looks no more'
            time.sleep(0.005)


class Steps:
    """Jobs, and a stop file that may be touched at each step of a claim."""

    def __init__(self, jobs, stop, step) -> None:
        self._jobs, self._stop, self._step = jobs, stop, step
        self._taken = False

    def reach(self, name: str) -> None:
        """Touch the file, if this is where it is to be touched."""
        with self._step.get_lock():
            if self._step.value == STEPS.index(name):
                self._stop.touch()
                self._step.value = -1

    def stopped(self) -> bool:
        if not self._taken:
            self.reach('before the first look')
        found = self._stop.exists()
        second = 'after the second look'
        self.reach(second if self._taken else 'after the first look')
        return found

    def candidates(self, me):
        self._taken = False
        return self._jobs.candidates(me)

    def take(self, task_id, me):
        self.reach('before the claim')
        self._taken = self._jobs.take(task_id, me)
        if self._taken:
            self.reach('after the claim')
        return self._taken

    def give_back(self, task_id, me):
        self._jobs.give_back(task_id, me)

    def get(self, task_id):
        return self._jobs.get(task_id)


def work(url, stop, log, step, end, passes) -> None:
    """Claim, begin, write the task's id, end; until it is told to end."""
    engine = engines.make(sqlalchemy.make_url(url))
    jobs, me = Jobs(engine), Owner.myself('node-1')
    steps = Steps(jobs, stop, step)
    while not end.is_set():
        steps._taken = False
        job = claims.claim(steps, me, steps.stopped)
        if job is not None:
            _run(jobs, steps, me, job.task_id, log)
        passes.value += 1
        if job is None:
            time.sleep(0.002)
    engine.dispose()


def _run(jobs, steps, me, task_id, log) -> None:
    steps.reach('before it is begun')
    assert jobs.begin(task_id, me)
    with contextlib.closing(_Appended(log)) as file:
        file.write(f'{task_id}\n')
    steps.reach('after it is begun')
    steps.reach('before its end')
    assert jobs.end(task_id, me, 'success', '')
    steps.reach('after its end')


class _Appended:
    """A file that several processes append whole lines to."""

    def __init__(self, path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)

    def write(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def close(self) -> None:
        os.close(self._descriptor)
