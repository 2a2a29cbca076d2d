"""How the web server runs the API: processes, threads, limits, timeouts."""

from oslo_config import cfg

from glance_wsgi.conf import groups

GROUP = cfg.OptGroup('server', title='How the API is served')

OPTS = [
    cfg.IntOpt(
        'workers',
        min=1,
        metavar='NUMBER',
        help='Processes that serve the API. The default is one for each CPU, '
        'at least 2, so that one can be replaced while the other serves, at '
        'most 8, and no more than the memory has room for ("glance-wsgi '
        'size"). Each takes about 150 MB.',
    ),
    cfg.IntOpt(
        'threads',
        min=1,
        metavar='NUMBER',
        help='Threads in each process: workers times threads is how many '
        'requests are served at once. A slow upload holds one from beginning '
        'to end, so too few let a handful of slow clients stop the API. The '
        'default has room for --slow-clients and for 16 others in each '
        'process.',
    ),
    cfg.IntOpt(
        'slow_clients',
        default=200,
        min=1,
        metavar='NUMBER',
        help='Slow uploads that may be open at once without keeping others '
        'waiting. Each holds a thread, which costs little, and about 1 MiB '
        'of memory.',
    ),
    cfg.IntOpt(
        'db_connections',
        default=100,
        min=1,
        metavar='NUMBER',
        help='Connections to the database that all workers together may '
        'open. The database has to allow them (max_connections, 151 where '
        'MariaDB is told nothing else); with too few requests wait for each '
        'other. SQLite does not count them.',
    ),
    cfg.IntOpt(
        'client_timeout',
        default=60,
        min=1,
        metavar='SECONDS',
        help='How long a client may stall in the middle of a transfer before '
        'it is cut off. Too short cuts slow clients (uWSGI has 4 seconds '
        'where nothing is set), too long lets dead ones hold a thread.',
    ),
    cfg.IntOpt(
        'answer_timeout',
        default=600,
        min=1,
        metavar='SECONDS',
        help='How long Apache waits for Glance when neither side sends '
        'anything. It has to exceed the time that the slowest store takes to '
        'commit an image; too long lets a request that hangs hold a thread '
        'of Apache. uWSGI alone has nobody in front that would wait.',
    ),
    cfg.IntOpt(
        'chunk_limit',
        default=64 * 1024 * 1024,
        min=1024 * 1024,
        metavar='BYTES',
        help='Largest single chunk of an upload with chunked transfer '
        'encoding. uWSGI and Python each hold one such chunk in memory for '
        'each upload that sends one; a larger one fails the upload.',
    ),
    cfg.IntOpt(
        'task_mercy',
        default=3600,
        min=1,
        metavar='SECONDS',
        help='How long a worker that is told to stop may go on with the '
        'requests and imports that it has begun. It has to exceed the '
        'longest import: what is not finished by then is lost.',
    ),
    cfg.StrOpt(
        'access_log',
        default='combined',
        choices=['combined', 'json'],
        metavar='combined|json',
        help='Form of the access log. combined: the line that every analyser '
        'of web logs knows, with the request id and the milliseconds behind '
        'it. json: an object for each request, for log shippers. Neither '
        'ever has a token in it.',
    ),
    cfg.StrOpt(
        'mod_wsgi',
        metavar='FILE',
        help='The Apache module that --server mod_wsgi loads. The default is '
        'that of the virtualenv if the package mod_wsgi is installed there, '
        "else the distribution's, which serves only the distribution's own "
        'Python.',
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options of this group known to `conf`."""
    groups.register(conf, GROUP, OPTS)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """This group's name and options."""
    return [(GROUP.name, OPTS)]
