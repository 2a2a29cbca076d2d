"""The engine as a step around Glance's application."""

import contextlib
import functools
import logging
import os
import pathlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import sqlalchemy
from oslo_config import cfg

from glance_wsgi import errors
from glance_wsgi import stopping
from glance_wsgi.conf import task_engine
from glance_wsgi.data import halves
from glance_wsgi.db import engines
from glance_wsgi.db import settings
from glance_wsgi.db import sqlite
from glance_wsgi.tasks import configuration
from glance_wsgi.tasks import glance
from glance_wsgi.tasks import owners
from glance_wsgi.tasks import residue
from glance_wsgi.tasks import runs
from glance_wsgi.tasks import stopfile
from glance_wsgi.tasks import tables
from glance_wsgi.tasks import watch
from glance_wsgi.tasks.engine import Engine
from glance_wsgi.tasks.jobs import Jobs
from glance_wsgi.tasks.records import Task
from glance_wsgi.tasks.recovery import Recovery
from glance_wsgi.tasks.trouble import is_of_database

LOG = logging.getLogger(__name__)

Application = Callable[..., Iterable[bytes]]

NOT_ACCEPTED = 'The database failed when this task was accepted.'


class Pool:
    """What Glance takes for its pool of tasks."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.pool = self
        """Glance shuts down what is behind this name."""

    def spawn(self, run: Callable[..., Any], executor: Any) -> None:
        """Accept a task; it is in the database when this returns.

        :raises Exception: the database fails; the task has ended, if that
            could still be written
        """
        me = self.engine.me
        try:
            self.engine.submit(
                glance.job(run, executor, me.node, str(me)), executor
            )
        except Exception:
            # Nobody would run it, and its image would stay locked.
            with contextlib.suppress(Exception):
                self.engine.jobs.refuse(*glance.named(run), NOT_ACCEPTED)
            raise

    def shutdown(self, wait: bool = True) -> None:
        """Claim nothing any more, and wait for what runs."""
        self.engine.close()
        if wait:
            self.engine.join()


def run_durably(application: Application) -> Application:
    """Have Glance's tasks run by an engine of ours, from now on.

    :returns: `application`, and around it what starts the engine where no
        server tells that it serves; only `application` where the database
        has no table for jobs, which the log tells
    """
    try:
        task_engine.register_opts(cfg.CONF)
        settings.register_opts(cfg.CONF)
        made = engines.make(settings.database(cfg.CONF), connections=2)
        if not _has_tables(made):
            raise errors.DatabaseEmpty(
                'It has no table for jobs.',
                'Run "glance-wsgi-manage db sync".',
            )
    except Exception as error:
        LOG.error(
            'Tasks are run as Glance runs them, and can be lost: %s', error
        )
        return application
    starter = Starter(made)
    hear(signal.SIGTERM, starter.ending.append)
    if _serves():
        starter.start()
    return starter.around(application)


def _has_tables(made: sqlalchemy.Engine) -> bool:
    """Whether there is a table for jobs; it should be, if nobody can look."""
    try:
        return tables.exist(made)
    except Exception as error:
        if not is_of_database(error):
            raise
        # Glance loads without its database, too, and serves when it is back.
        LOG.warning('The table for jobs can not be looked at: %s', error)
        return True
    finally:
        # No connection may be open where a server forks after this.
        made.dispose()


def hear(number: int, told: Callable[[int], None]) -> None:
    """Be told of a signal before whoever handles it here already.

    gunicorn's workers go on for a while when they are told to end. Servers
    that handle signals themselves, not by way of Python, are left alone.

    :param told: gets the number; it runs between two instructions of the main
        thread, so it may wait for nothing
    """
    before = signal.getsignal(number)
    main = threading.current_thread() is threading.main_thread()
    if not main or not callable(before):
        return

    def handle(*words: Any) -> None:
        told(number)
        before(*words)

    signal.signal(number, handle)


class Threads:
    """The threads of the server that have served requests in this process.

    uWSGI's last as long as its worker. When that is told to end, those that
    have nothing to do go at once; Python hears of it when the others have, and
    a transfer may take hours. Other servers tell in time, and may have a
    thread for each request.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._last: bool | None = None

    def note(self) -> None:
        """Called by each of them."""
        if self._last is None:
            self._last = _is_worker_of_uwsgi()
        if self._last:
            self._seen.add(threading.get_native_id())

    def have_gone(self) -> bool:
        """Whether one of them has gone: no request comes any more."""
        return any(
            not os.path.exists(f'/proc/self/task/{thread}')
            for thread in tuple(self._seen)
        )


def _engine(
    database: sqlalchemy.Engine, ending: list[int], threads: Threads
) -> Engine:
    conf = cfg.CONF
    stop = stopfile.find(conf)
    me = owners.Owner.myself(owners.node(conf))
    jobs = Jobs(database)
    gateway = glance.Gateway()
    recovery = Recovery(jobs, gateway, me, conf.task_engine.task_attempts)
    slots = conf.wsgi.task_pool_threads
    # A slot's thread waits for its task's steps, which need threads too.
    shared = glance.shared_executor(2 * slots)
    is_stopping = stopping.Stopping()
    engine = Engine(
        jobs,
        runs.Runs(jobs, gateway, recovery, me),
        me,
        lambda: (
            bool(ending)
            or threads.have_gone()
            or is_stopping()
            or stop.exists()
        ),
        shared,
        slots,
        conf.task_engine.task_heartbeat,
        Written(jobs),
        functools.partial(
            _sweep, jobs, watch.SILENCE * conf.task_engine.task_heartbeat
        ),
    )
    glance.pools(Pool(engine), shared)
    glance.one_store_after_the_other()
    return engine


def _sweep(jobs: Jobs, settled: float) -> None:
    for found in residue.find(
        jobs,
        configuration.staging(cfg.CONF),
        settled,
        halves.store_directories(cfg.CONF),
    ):
        found.remove()


class Written:
    """The bytes that a task has on this node's disks.

    What is staged, and what the stores have that it imports to: another one
    may have had the image long before.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._files: dict[str, list[pathlib.Path]] = {}

    def __call__(self, task_id: str) -> int:
        size = 0
        for file in self._of(task_id):
            try:
                size += file.stat().st_size
            except OSError:
                continue
        return size

    def _of(self, task_id: str) -> list[pathlib.Path]:
        if task_id not in self._files:
            if len(self._files) > 1000:
                self._files.clear()
            self._files[task_id] = list(_files(self._jobs.task(task_id)))
        return self._files[task_id]


def _files(task: Task | None) -> Iterator[pathlib.Path]:
    """What a task may write of its image."""
    if task is None or not task.image_id:
        return
    for directory in _directories(task.input.get('backend')):
        yield directory / task.image_id


def _directories(wanted: list[str | None] | None) -> Iterator[pathlib.Path]:
    """Staging, and the file stores of those that are wanted."""
    conf = cfg.CONF
    if not conf.enabled_backends or not wanted or None in wanted:
        yield from halves.directories(conf)
        return
    yield configuration.staging(conf)
    for name in halves.file_stores(conf.enabled_backends):
        if name in wanted:
            yield from halves.data_directories(conf[name])


def _serves() -> bool:
    """Whether a server has told that this process serves.

    A master that loads the application before it forks does not, nor does
    whoever only tries whether it can be loaded.
    """
    if _is_worker_of_uwsgi():
        return True
    try:
        import mod_wsgi
    except ImportError:
        return False
    # PyPI's package has that name, too, wherever it is installed.
    return hasattr(mod_wsgi, 'process_group')


def _is_worker_of_uwsgi() -> bool:
    try:
        import uwsgi
    except ImportError:
        return False
    return bool(uwsgi.worker_id() > 0)


class Starter:
    """Starts an engine once, at the latest with the first request.

    In the process that serves: threads and connections survive no fork.
    """

    def __init__(self, database: sqlalchemy.Engine) -> None:
        self._database = database
        self._started = False
        self.ending: list[int] = []
        """Not empty when this process was told to end."""
        self.threads = Threads()
        self._lock = threading.Lock()

    def around(self, application: Application) -> Application:
        """The application; with its first request the engine is started."""

        def serve(environ: dict[str, Any], start_response: Any) -> Any:
            self.threads.note()
            if not self._started:
                self.start()
            return application(environ, start_response)

        return serve

    def start(self) -> None:
        """Start it, in the process that serves."""
        with self._lock:
            if self._started:
                return
            sqlite.serving()
            engine = _engine(self._database, self.ending, self.threads)
            engine.start()
            self._started = True
            # Python's own pools of threads are closed before anything that
            # atexit has; what runs here needs them until it has ended.
            register = getattr(threading, '_register_atexit', None)
            if register is not None:
                register(Pool(engine).shutdown)
