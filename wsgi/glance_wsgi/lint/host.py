"""Whether this machine, its programs and its database are up to the files."""

import math
import pathlib
from collections.abc import Iterator

from sqlalchemy import exc

from glance_wsgi import size
from glance_wsgi.lint import rights
from glance_wsgi.lint import view
from glance_wsgi.lint.documents import Ini
from glance_wsgi.lint.documents import Kind
from glance_wsgi.lint.documents import Place
from glance_wsgi.lint.findings import Hit
from glance_wsgi.lint.findings import Rule
from glance_wsgi.lint.findings import Severity
from glance_wsgi.lint.glance import staging
from glance_wsgi.lint.httpd import Httpd
from glance_wsgi.lint.view import View

_UWSGI = 'https://uwsgi-docs.readthedocs.io/en/latest/'

LISTEN = 100
"""uWSGI's own listen queue."""

OLDEST = (2, 0, 30)
"""The first uWSGI without the crash at exit under lazy-apps."""


def _queue(ini: Ini, seen: View) -> Iterator[Hit]:
    limit = seen.context.somaxconn()
    wanted = ini.number('listen', LISTEN)
    if limit is not None and wanted is not None and wanted > limit:
        yield ini.placed('listen'), {'wanted': wanted, 'limit': limit}


def _program(ini: Ini, seen: View) -> tuple[Place, str, str] | None:
    """Which uWSGI runs a file: where that is said, its name and version."""
    for place, home in rights.homes(ini):
        found = seen.context.distribution(home, 'uwsgi', 'pyuwsgi')
        return (place, found[0].lower(), found[1]) if found else None
    version = seen.context.uwsgi_on_path()
    return (ini.place, 'uwsgi', version) if version else None


def _old_uwsgi(ini: Ini, seen: View) -> Iterator[Hit]:
    found = _program(ini, seen) if view.is_application(ini) else None
    if found and _numbers(found[2]) < OLDEST:
        yield found[0], {'version': found[2]}


def _numbers(version: str) -> tuple[int, ...]:
    numbers = version.partition('-')[0].split('.')
    return tuple(int(part) for part in numbers if part.isdecimal())


def _pyuwsgi(ini: Ini, seen: View) -> Iterator[Hit]:
    found = _program(ini, seen) if view.is_application(ini) else None
    if found and found[1] == 'pyuwsgi':
        yield found[0], {'version': found[2]}


def _memory(document: Ini | Httpd, seen: View) -> Iterator[Hit]:
    wanted = size.memory(sum(one.processes for one in seen.workers()))
    for one in seen.workers():
        if wanted > seen.context.memory() and _in(one.place, document):
            yield one.place, _mebibytes(wanted, seen.context.memory())
            return


def _chunk_memory(document: Ini, seen: View) -> Iterator[Hit]:
    for one in seen.workers():
        chunks = one.processes * one.threads * one.chunk
        wanted = size.memory(one.processes) + chunks
        if wanted > seen.context.memory() and _in(one.place, document):
            yield one.place, _mebibytes(wanted, seen.context.memory())


def _in(place: Place, document: Ini | Httpd) -> bool:
    return place.file in rights.files(document)


def _mebibytes(wanted: int, there: int) -> dict[str, int]:
    return {'wanted': wanted >> 20, 'there': there >> 20}


def _connections(ini: Ini, seen: View) -> tuple[int, str] | None:
    """How many connections Glance may open, and how that is counted."""
    tasks = ini.number('task_pool_threads', size.TASKS, 'wsgi') or size.TASKS
    limit = _pool(ini)
    counted = [(one.processes, one.threads) for one in seen.workers()]
    if not counted:
        return None
    total = sum(
        size.connections(processes, threads, tasks, limit)
        for processes, threads in counted
    )
    shown = ' + '.join(
        f'{processes} x {limit:.0f}'
        if threads + tasks > limit
        else f'{processes} x ({threads} + {tasks})'
        for processes, threads in counted
    )
    return total, shown


def _pool(ini: Ini) -> float:
    """How many connections each process opens at most.

    0 for the pool and -1 for its overflow are no limit to SQLAlchemy:
    https://docs.sqlalchemy.org/en/20/core/pooling.html
    """
    pool = ini.number('max_pool_size', size.POOL, 'database')
    overflow = ini.number('max_overflow', size.OVERFLOW, 'database')
    if not pool or overflow is None:
        return math.inf
    return pool + overflow


def _database(ini: Ini, seen: View) -> Iterator[Hit]:
    url = ini.text('connection', 'database')
    wanted = _connections(ini, seen)
    if not url or wanted is None:
        return
    try:
        limit = seen.context.max_connections(url)
    except (exc.SQLAlchemyError, ValueError, TypeError):
        return  # another rule says so
    if limit is not None and wanted[0] > limit:
        facts = {'wanted': wanted[0], 'shown': wanted[1], 'limit': limit}
        yield ini.placed('connection', 'database'), facts


def _unasked(ini: Ini, seen: View) -> Iterator[Hit]:
    url = ini.text('connection', 'database')
    try:
        if url and _connections(ini, seen):
            seen.context.max_connections(url)
    except (exc.SQLAlchemyError, ValueError, TypeError):
        yield ini.placed('connection', 'database'), {}


def _staging_disk(ini: Ini, seen: View) -> Iterator[Hit]:
    place = staging(ini)
    free = seen.context.free(place) if place else None
    if free is not None and free < size.STAGING:
        facts = _mebibytes(size.STAGING, free)
        yield ini.place, {'place': place, **facts}


def _staging_memory(ini: Ini, seen: View) -> Iterator[Hit]:
    place = staging(ini)
    if place and seen.context.in_memory(pathlib.Path(place)):
        yield ini.place, {'place': place}


RULES = (
    Rule(
        'listen-queue',
        Severity.ERROR,
        (Kind.UWSGI,),
        _queue,
        'listen is {wanted}, and the kernel allows {limit} '
        '(net.core.somaxconn).',
        f'uWSGI refuses to start ({_UWSGI}Options.html#listen).',
        'Write a smaller number, or raise net.core.somaxconn in '
        '/etc/sysctl.d.',
    ),
    Rule(
        'uwsgi-version',
        Severity.WARNING,
        (Kind.UWSGI,),
        _old_uwsgi,
        'uWSGI is of version {version}.',
        'Before 2.0.30 it may crash at exit under lazy-apps '
        f'({_UWSGI}Changelog-2.0.30.html).',
        'Install uWSGI 2.0.30 or newer.',
    ),
    Rule(
        'pyuwsgi',
        Severity.ERROR,
        (Kind.UWSGI,),
        _pyuwsgi,
        'The virtualenv has pyuwsgi {version}.',
        'A reload executes the Python that the virtualenv was made from, '
        "which has no pyuwsgi, and the service is gone (glance-wsgi's page "
        'on uWSGI).',
        'pip uninstall pyuwsgi, and pip install uWSGI.',
    ),
    Rule(
        'ram-budget',
        Severity.WARNING,
        (Kind.UWSGI, Kind.APACHE),
        _memory,
        'The processes take about {wanted} MiB; this machine has {there} MiB.',
        'The kernel ends a worker in the middle of what it does; each takes '
        "about 150 MiB (glance-wsgi's benchmark).",
        'Use fewer processes with more threads.',
    ),
    Rule(
        'ram-chunks',
        Severity.INFO,
        (Kind.UWSGI,),
        _chunk_memory,
        'With the largest chunk in each thread the workers take {wanted} '
        'MiB; this machine has {there} MiB.',
        'A worker holds one chunk for each chunked upload '
        f'({_UWSGI}Chunked.html).',
        'Lower chunked-input-limit where clients are not trusted.',
    ),
    Rule(
        'db-connections',
        Severity.ERROR,
        (Kind.GLANCE,),
        _database,
        'Glance may open {wanted} connections, processes x (threads + tasks), '
        'or processes x pool, = {shown}, and the database allows {limit}.',
        'Under load requests end with 500, "Too many connections" '
        '(https://mariadb.com/kb/en/server-system-variables/'
        '#max_connections).',
        'Raise max_connections of the database, or use fewer processes.',
    ),
    Rule(
        'db-not-asked',
        Severity.INFO,
        (Kind.GLANCE,),
        _unasked,
        'The database does not answer, so its max_connections is not known.',
        'It may allow fewer connections than Glance opens '
        '(https://mariadb.com/kb/en/server-system-variables/'
        '#max_connections).',
        'Check again where it can be reached.',
    ),
    Rule(
        'staging-disk',
        Severity.WARNING,
        (Kind.GLANCE,),
        _staging_disk,
        '{there} MiB are free in {place}.',
        'An image lies there while it is imported, and twice while it is '
        'converted (https://docs.openstack.org/glance/latest/admin/'
        'interoperable-image-import.html).',
        'Make room for {wanted} MiB at least, better for several images.',
    ),
    Rule(
        'staging-memory',
        Severity.WARNING,
        (Kind.GLANCE,),
        _staging_memory,
        '{place} is in memory.',
        'Images that are imported take RAM from the workers, and are gone '
        'after a reboot (https://docs.openstack.org/glance/latest/admin/'
        'interoperable-image-import.html).',
        'Put it on a disk.',
    ),
)
