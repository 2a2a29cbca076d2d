"""How large a deployment should be: the numbers, and why.

`glance-wsgi size` shows them, `up` and `install` use them, `check` compares
with them. Everything here is a formula or a measured figure; what a person
can choose is declared in `glance_wsgi.conf.server`.
"""

import dataclasses
import math
import os
import pathlib
from typing import Any

import psutil
from oslo_config import cfg

from glance_wsgi import errors
from glance_wsgi.data import pipeline

MIB = 2**20

PROCESS = 150 * MIB
"""Bytes that a worker takes, as measured with Glance 33."""

SLOW_UPLOAD = MIB
"""Bytes that an open upload takes in a worker while its client is slow, a
little more than measured; a fast one takes `pipeline.MEMORY` at most."""

MOST_WORKERS = 8
"""More serve no more, where the database is what is waited for."""

FAST_THREADS = 16
"""Threads of each worker for requests other than slow uploads."""

TASKS = 16
"""Threads of each worker for imports (Glance's [wsgi] task_pool_threads)."""

ENGINE_CONNECTIONS = 2
"""Connections of each worker that the engine of tasks has for itself."""

FEWEST_CONNECTIONS = 4
"""Connections of each worker that Glance needs to serve requests and an
import side by side."""

POOL, OVERFLOW = 5, 50
"""What oslo.db opens at most where [database] max_pool_size and max_overflow
are not set."""

THREADS_PER_CHILD = 64
"""Threads of each of Apache's children."""

LISTEN_QUEUE = 1024
"""Connections that may wait to be accepted, where the kernel allows it."""

STAGING = 5 * 2**30
"""Bytes of staging for one import: an image of the usual size, twice, since
it may be converted."""

_SOMAXCONN = pathlib.Path('/proc/sys/net/core/somaxconn')


@dataclasses.dataclass(frozen=True)
class Machine:
    """What there is to be used.

    :param memory: bytes
    :param somaxconn: connections that the kernel lets wait at a socket; None
        where it does not say
    """

    cpus: int
    memory: int
    somaxconn: int | None = None

    @classmethod
    def here(cls) -> 'Machine':
        """This machine; the CPUs that we may use of it."""
        return cls(
            cpus=len(os.sched_getaffinity(0)),
            memory=int(psutil.virtual_memory().total),
            somaxconn=somaxconn(),
        )


def somaxconn() -> int | None:
    """Connections that the kernel lets wait at a socket."""
    try:
        return int(_SOMAXCONN.read_text())
    except (OSError, ValueError):
        return None


def listen_queue(limit: int | None) -> int:
    """Connections that may wait; uWSGI does not start with more than that."""
    return LISTEN_QUEUE if limit is None else min(LISTEN_QUEUE, limit)


def memory(workers: int) -> int:
    """Bytes that so many workers take when nothing is transferred."""
    return workers * PROCESS


def connections(
    workers: int, threads: int, tasks: int, limit: float = math.inf
) -> int:
    """Connections to the database that so many workers may open.

    Each thread that serves a request or runs an import may want one.

    :param limit: what the pool of each worker has
    """
    return workers * int(min(threads + tasks, limit))


def apache_children(capacity: int) -> int:
    """Apache's children, for applications with so many threads.

    A proxied transfer holds a thread of Apache's too. There are twice as many
    as the applications have, so that a health check finds one when they are
    all busy.
    """
    return max(math.ceil(2 * capacity / THREADS_PER_CHILD), 2)


@dataclasses.dataclass(frozen=True)
class Size:
    """The numbers of one deployment.

    :param threads: of each worker
    :param pool: connections to the database that each worker keeps for
        requests and imports
    :param slow_clients: uploads that may be open at once
    """

    workers: int
    threads: int
    listen_queue: int
    pool: int
    slow_clients: int

    @property
    def connections(self) -> int:
        """Connections to the database, of all workers."""
        return self.workers * (self.pool + ENGINE_CONNECTIONS)

    @property
    def memory(self) -> int:
        """Bytes of all workers with all slow uploads open."""
        return memory(self.workers) + self.slow_clients * SLOW_UPLOAD

    @property
    def most_memory(self) -> int:
        """Bytes where each thread has an upload and the disk stands still."""
        return memory(self.workers) + (
            self.workers * self.threads * pipeline.MEMORY
        )

    @property
    def staging(self) -> int:
        """Bytes of staging, with an import in each worker."""
        return self.workers * STAGING


def recommend(
    machine: Machine, wanted: cfg.ConfigOpts.GroupAttr, others: int = 0
) -> Size:
    """The size for a machine, and for what a person wants of it.

    :param wanted: the options of `glance_wsgi.conf.server`
    :param others: workers beside these that use the same database
    :raises errors.SizeImpossible: it can't be had
    """
    workers = wanted.workers or _workers(machine, wanted, others)
    share = wanted.db_connections // (workers + others)
    threads = wanted.threads or (
        math.ceil(wanted.slow_clients / workers) + FAST_THREADS
    )
    return Size(
        workers=workers,
        threads=threads,
        listen_queue=listen_queue(machine.somaxconn),
        pool=min(
            # Whoever wants so many workers has a database for them.
            max(share - ENGINE_CONNECTIONS, FEWEST_CONNECTIONS),
            threads + TASKS,
        ),
        slow_clients=wanted.slow_clients,
    )


def _workers(
    machine: Machine, wanted: cfg.ConfigOpts.GroupAttr, others: int
) -> int:
    """One for each CPU, two at least, if memory and database suffice."""
    uploads = wanted.slow_clients * SLOW_UPLOAD
    room = (machine.memory - uploads) // PROCESS
    if room < 1:
        raise errors.SizeImpossible(
            f'One worker takes {PROCESS // MIB} MiB and {wanted.slow_clients} '
            f'slow clients take {uploads // MIB} MiB; there are '
            f'{machine.memory // MIB} MiB of memory.',
            'Give the machine more memory, or --slow-clients fewer.',
        )
    each = FEWEST_CONNECTIONS + ENGINE_CONNECTIONS
    served = wanted.db_connections // each - others
    if served < 1:
        raise errors.SizeImpossible(
            f'{1 + others} workers need {each * (1 + others)} connections to '
            f'the database; there are {wanted.db_connections}.',
            'Give --db-connections more; max_connections of the database '
            'has to allow them.',
        )
    return min(max(machine.cpus, 2), MOST_WORKERS, room, served)


def explain(size: Size, wanted: Any) -> list[tuple[str, int, str]]:
    """Each number with its name, and why it is that.

    :param wanted: the options of `glance_wsgi.conf.server`
    """
    workers, threads = size.workers, size.threads
    return [
        ('workers', workers, _why_workers(wanted)),
        ('threads', threads, _why_threads(size, wanted)),
        (
            'listen_queue',
            size.listen_queue,
            'Connections that may wait to be accepted. They wait for a '
            'moment only; the kernel may allow fewer (net.core.somaxconn).',
        ),
        (
            'apache_threads',
            apache_children(workers * threads) * THREADS_PER_CHILD,
            'Where Apache is in front: twice as many as the workers have, '
            'since each transfer holds one there too.',
        ),
        (
            'db_pool',
            size.pool,
            'Connections of each worker. A transfer holds none while it '
            'waits for its client, so there are fewer than threads; a '
            'request that finds none free waits for one.',
        ),
        (
            'db_connections',
            size.connections,
            f'Of all workers, {ENGINE_CONNECTIONS} more in each for the '
            'engine of tasks. max_connections of the database has to be '
            'larger.',
        ),
        (
            'memory_bytes',
            size.memory,
            f'{workers} workers, and {SLOW_UPLOAD // MIB} MiB for each of '
            f'{size.slow_clients} slow uploads.',
        ),
        (
            'most_memory_bytes',
            size.most_memory,
            'Where the disk stands still and every thread has an upload, '
            f'which takes {pipeline.MEMORY // MIB} MiB at most. uWSGI and '
            'Python hold one chunk each besides, as large as the client made '
            'it (--chunk-limit).',
        ),
        (
            'staging_bytes',
            size.staging,
            f'Disk for imports: {STAGING // 2**30} GiB for one in each '
            'worker, an image of the usual size twice, since it may be '
            'converted.',
        ),
        (
            'client_timeout',
            wanted.client_timeout,
            'Seconds that a client may stall. A slow one is not cut as long '
            'as something comes.',
        ),
        (
            'answer_timeout',
            wanted.answer_timeout,
            'Seconds that Apache waits for Glance; longer than the slowest '
            'store takes to commit an image.',
        ),
        (
            'task_mercy',
            wanted.task_mercy,
            'Seconds that a worker that has to stop may go on; longer than '
            'the longest import.',
        ),
    ]


def _why_workers(wanted: Any) -> str:
    why = 'As many as --workers says'
    if not wanted.workers:
        why = (
            f'One for each CPU, at most {MOST_WORKERS}; 2 at least, so that '
            'one serves while the other is replaced; no more than memory and '
            'database have room for'
        )
    return f'{why}; each takes {PROCESS // MIB} MiB.'


def _why_threads(size: Size, wanted: Any) -> str:
    each = math.ceil(size.slow_clients / size.workers)
    left = max(size.threads - each, 0) or 'none'
    why = f'{left} are left for everybody else'
    if wanted.threads:
        why = f'as --threads says, {left} are left for everybody else'
    return (
        f'Of each worker. {size.slow_clients} slow clients hold one each, '
        f'{each} in each worker, and {why}.'
    )
