"""Processes with an engine each, that claim jobs as fast as they can.

All is what a server has, the engine and its stop file, but for the task: that
is begun, noted and ended. Whoever comes to a step of this that is closed waits
there, so that no step has to be hit by chance.
"""

import concurrent.futures
import contextlib
import multiprocessing
import os
import pathlib
import time

from glance_wsgi.db import engines
from glance_wsgi.db import settings
from glance_wsgi.tasks import configuration
from glance_wsgi.tasks import owners
from glance_wsgi.tasks import stopfile
from glance_wsgi.tasks.engine import Engine
from glance_wsgi.tasks.jobs import Jobs

UNOWNED = (
    *('before the first look', 'after the first look', 'before the claim'),
    'after its end',
)
"""The steps at which a process owns no job."""

OWNING = (
    *('after the claim', 'after the second look', 'before it is begun'),
    *('after it is begun', 'before its end'),
)
"""Those at which it owns one, so that a drain has to wait for it."""

STEPS = UNOWNED + OWNING

HEARTBEAT = 10
"""Seconds; as in a server, so that nobody who waits is taken for dead."""

CONTEXT = multiprocessing.get_context('spawn')


class Gate:
    """One step that nobody passes; which one may change."""

    def __init__(self) -> None:
        self._step = CONTEXT.Value('i', -1)
        self._waiting = CONTEXT.Semaphore(0)
        self._open = CONTEXT.Event()

    def close(self, step: str) -> None:
        """Have all wait who come to this step from now on."""
        while self._waiting.acquire(block=False):
            """Those of the step before it."""
        self._open.clear()
        self._step.value = STEPS.index(step)

    def open(self) -> None:
        """Let all go on, and have nobody wait."""
        self._step.value = -1
        self._open.set()

    def is_open(self) -> bool:
        return self._open.is_set()

    def wait_for_somebody(self) -> None:
        """Wait until somebody waits at it."""
        assert self._waiting.acquire(timeout=60), 'nobody comes to the step'

    def reach(self, step: str) -> None:
        """Come to a step; return when it may be passed."""
        if self._step.value == STEPS.index(step):
            self._waiting.release()
            assert self._open.wait(60), f'nobody opens it {step}'


class Claimers:
    """Several processes of one node, and what they share.

    :param config: the node's configuration
    :param log: gets the id of a task each time that one is begun
    """

    def __init__(self, config: pathlib.Path, log: pathlib.Path) -> None:
        self.log = log
        self.log.touch()
        self.gate = Gate()
        self._end = CONTEXT.Event()
        self._looks = [CONTEXT.Value('L', 0) for _ in range(4)]
        self._processes = [
            CONTEXT.Process(
                target=work,
                args=(config, log, self.gate, looks, self._end),
                daemon=True,
            )
            for looks in self._looks
        ]

    def __enter__(self) -> 'Claimers':
        for process in self._processes:
            process.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.gate.open()
        self._end.set()
        for process in self._processes:
            process.join(60)
            if process.is_alive():
                process.kill()

    def begun(self) -> list[str]:
        """The tasks that have been begun, as often as they were."""
        return self.log.read_text().split()

    def let_all_look(self) -> None:
        """Wait until each has begun two claims since now.

        So whatever it was doing has come to an end: it has one slot.
        """
        before = [looks.value for looks in self._looks]
        deadline = time.monotonic() + 60
        while any(
            looks.value < start + 2
            for looks, start in zip(self._looks, before, strict=True)
        ):
            assert time.monotonic() < deadline, 'a process looks no more'
            time.sleep(0.005)


class SteppedJobs(Jobs):
    """Jobs whose claim has steps."""

    def __init__(self, engine, gate: Gate, looks, stopped) -> None:
        super().__init__(engine)
        self._gate, self._looks, self._stopped = gate, looks, stopped
        self._taken = False

    def is_stopped(self) -> bool:
        """The first look or, when a job was taken, the second one."""
        if self._taken:
            self._taken = False
            found = self._stopped()
            self._gate.reach('after the second look')
            return found
        self._looks.value += 1
        self._gate.reach('before the first look')
        found = self._stopped()
        self._gate.reach('after the first look')
        return found

    def take(self, task_id, me):
        self._gate.reach('before the claim')
        self._taken = super().take(task_id, me)
        if self._taken:
            self._gate.reach('after the claim')
        return self._taken


class NotedRuns:
    """Tasks that are begun and ended, and between that only noted."""

    def __init__(self, jobs, gate: Gate, me, log: pathlib.Path) -> None:
        self._jobs, self._gate, self._me, self._log = jobs, gate, me, log

    def run(self, job, live) -> str | None:
        self._gate.reach('before it is begun')
        if not self._jobs.begin(job.task_id, self._me):
            return 'it was not to be begun'
        with contextlib.closing(_Appended(self._log)) as file:
            file.write(f'{job.task_id}\n')
        self._gate.reach('after it is begun')
        return None

    def settle(self, job, problem: str | None) -> None:
        self._gate.reach('before its end')
        status = 'failure' if problem else 'success'
        self._jobs.end(job.task_id, self._me, status, problem or '')
        self._gate.reach('after its end')


def work(config, log, gate, looks, end) -> None:
    """An engine that looks for jobs all the time, until it is to end."""
    conf = configuration.read([f'--config-file={config}'], 'test')
    database = engines.make(settings.database(conf))
    me = owners.Owner.myself(owners.node(conf))
    jobs = SteppedJobs(database, gate, looks, stopfile.find(conf).exists)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        engine = Engine(
            jobs=jobs,
            runs=NotedRuns(jobs, gate, me, log),
            me=me,
            stopped=jobs.is_stopped,
            pool=pool,
            slots=1,
            heartbeat=HEARTBEAT,
        )
        engine.start()
        while not end.wait(0.002):
            engine.wake()
        engine.close()
        engine.join()
    database.dispose()


class _Appended:
    """A file that several processes append whole lines to."""

    def __init__(self, path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)

    def write(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def close(self) -> None:
        os.close(self._descriptor)
