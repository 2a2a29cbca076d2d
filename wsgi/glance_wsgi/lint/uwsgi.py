"""What uWSGI ini files get wrong."""

from collections.abc import Iterator

from glance_wsgi.lint import view
from glance_wsgi.lint.documents import Ini
from glance_wsgi.lint.documents import Kind
from glance_wsgi.lint.findings import Check
from glance_wsgi.lint.findings import Hit
from glance_wsgi.lint.findings import Rule
from glance_wsgi.lint.findings import Severity
from glance_wsgi.lint.view import View

_MANUAL = 'https://uwsgi-docs.readthedocs.io/en/latest/'
_BUGS = 'https://bugs.launchpad.net/bugs/'

LINE_END = 2  # bytes behind each chunk of a chunked upload
CHUNK = 2**20  # bytes: what many clients send at once
STALL = 30  # seconds that a slow client is given at least
HEADERS = 16384  # bytes of a request line with its headers
MERCY = 600  # seconds that an import takes easily

# The http-* options that belong to the socket and not to the router.
_OF_THE_SOCKET = (
    'http-socket',
    'http-socket-modifier1',
    'http-socket-modifier2',
)


def _application(check: Check) -> Check:
    """For files with an application: an Emperor alone has no workers."""

    def checked(ini: Ini, seen: View) -> Iterator[Hit]:
        if view.is_application(ini):
            yield from check(ini, seen)

    return checked


def given(name: str) -> Check:
    """The option is there and on."""

    def check(ini: Ini, seen: View) -> Iterator[Hit]:
        if ini.on(name):
            yield ini.placed(name), {'value': ini.text(name)}

    return _application(check)


def missing(name: str) -> Check:
    """The switch is off or not there."""

    def check(ini: Ini, seen: View) -> Iterator[Hit]:
        if not ini.on(name):
            yield ini.placed(name), {}

    return _application(check)


def below(name: str, least: int, default: int) -> Check:
    """The number is too small, or it is missing and its default is."""

    def check(ini: Ini, seen: View) -> Iterator[Hit]:
        value = ini.number(name, default)
        if value is not None and value < least:
            yield ini.placed(name), {'value': value, 'least': least}

    return _application(check)


def _over_http(check: Check) -> Check:
    def checked(ini: Ini, seen: View) -> Iterator[Hit]:
        if view.speaks_http(ini):
            yield from check(ini, seen)

    return checked


def _lazy(ini: Ini, seen: View) -> Iterator[Hit]:
    if not ini.on('lazy-apps') and not ini.on('lazy'):
        yield ini.placed('lazy-apps'), {}


def _die_on_term(ini: Ini, seen: View) -> Iterator[Hit]:
    hooks = [entry.value for entry in ini.all('hook-master-start')]
    wanted = 'unix_signal:15 gracefully_kill_them_all'
    if ini.on('die-on-term') and wanted not in hooks:
        yield ini.placed('die-on-term'), {}


def _router_options(ini: Ini, seen: View) -> Iterator[Hit]:
    router = any(ini.last(n) for n in ('http', 'https', 'http2'))
    socket = ini.last('http-socket') or ini.last('https-socket')
    if socket and not router:
        for entry in ini.entries:
            name = entry.name
            if name.startswith('http-') and name not in _OF_THE_SOCKET:
                yield entry.place, {'name': name}


def _connection_close(ini: Ini, seen: View) -> Iterator[Hit]:
    headers = [
        ''.join(entry.value.lower().split()) for entry in ini.all('add-header')
    ]
    socket = ini.last('http-socket') or ini.last('https-socket')
    if socket and 'connection:close' not in headers:
        yield socket.place, {}


def _protocol(ini: Ini, seen: View) -> Iterator[Hit]:
    socket = ini.last('socket')
    if socket and ini.text('protocol') != 'http':
        yield socket.place, {'value': socket.value}


def _single_thread(ini: Ini, seen: View) -> Iterator[Hit]:
    threads = ini.number('threads', 1)
    asynchronous = ini.last('gevent') or ini.last('async')
    if threads is not None and threads < 2 and not asynchronous:
        processes = ini.number('processes', 1)
        yield ini.placed('threads'), {'processes': processes}


def _python_threads(ini: Ini, seen: View) -> Iterator[Hit]:
    threads = ini.number('threads', 1)
    if threads is not None and threads < 2 and not ini.on('enable-threads'):
        yield ini.placed('enable-threads'), {}


def _removed_script(ini: Ini, seen: View) -> Iterator[Hit]:
    for name in ('wsgi-file', 'mount', 'module'):
        for entry in ini.all(name):
            if 'glance-wsgi-api' in entry.value:
                yield entry.place, {'value': entry.value}


def _logged_token(ini: Ini, seen: View) -> Iterator[Hit]:
    for name in ('log-format', 'logformat', 'log-req-encoder'):
        for entry in ini.all(name):
            if 'HTTP_X_AUTH_TOKEN' in entry.value.upper():
                yield entry.place, {}


def _unread(ini: Ini, seen: View) -> Iterator[Hit]:
    for place, name in ini.unread:
        yield place, {'name': name}


def _rule(id: str, severity: Severity, check: Check, *texts: str) -> Rule:
    what, why, action = texts
    return Rule(id, severity, (Kind.UWSGI,), check, what, why, action)


RULES = (
    _rule(
        'chunked-input-limit',
        Severity.ERROR,
        _over_http(below('chunked-input-limit', CHUNK + LINE_END + 1, CHUNK)),
        'chunked-input-limit is {value} bytes, too few for a chunk of 1 MiB.',
        'A chunk has to fit with its line end, or the upload fails with '
        f'"unable to receive chunked part" ({_BUGS}2158974).',
        'Write chunked-input-limit = 67108866, which is 64 MiB and two bytes.',
    ),
    _rule(
        'socket-timeout',
        Severity.WARNING,
        below('socket-timeout', STALL, 4),
        'socket-timeout is {value} s.',
        'A client that stalls for longer is cut off in the middle of an image '
        f'({_BUGS}1701088).',
        'Write socket-timeout = 60.',
    ),
    _rule(
        'chunked-input-timeout',
        Severity.WARNING,
        # Where it is not given, the socket's own timeout counts.
        _over_http(below('chunked-input-timeout', STALL, STALL)),
        'chunked-input-timeout is {value} s.',
        'A client that stalls for longer between two chunks is cut off '
        f'({_MANUAL}Chunked.html).',
        'Write chunked-input-timeout = 60, or leave it out: then it is the '
        'same as socket-timeout.',
    ),
    _rule(
        'harakiri',
        Severity.ERROR,
        given('harakiri'),
        'harakiri ends requests after {value} s.',
        'It kills the whole process, with every other transfer and import in '
        f'it ({_MANUAL}Options.html#harakiri).',
        'Remove it; socket-timeout ends what stalls.',
    ),
    _rule(
        'need-app',
        Severity.WARNING,
        missing('need-app'),
        'need-app is off.',
        'A worker whose application could not be loaded serves 500 for ever '
        f'({_MANUAL}Options.html#need-app).',
        'Write need-app = true.',
    ),
    _rule(
        'exit-on-reload',
        Severity.ERROR,
        given('exit-on-reload'),
        'exit-on-reload is on.',
        'A reload then stops the service '
        f'({_MANUAL}Options.html#exit-on-reload).',
        'Remove it.',
    ),
    _rule(
        'die-on-term',
        Severity.WARNING,
        _application(_die_on_term),
        'die-on-term is on, without the hook that makes it graceful.',
        'SIGTERM then kills workers with all that they do '
        f'({_MANUAL}Management.html#signals-for-controlling-uwsgi).',
        'Write hook-master-start = unix_signal:15 gracefully_kill_them_all '
        'instead.',
    ),
    _rule(
        'router-options',
        Severity.WARNING,
        _application(_router_options),
        '{name} does nothing under http-socket.',
        'It belongs to the router, which only "http =" starts '
        f'({_MANUAL}HTTP.html).',
        'Remove it; the socket has socket-timeout, chunked-input-limit and '
        'buffer-size.',
    ),
    _rule(
        'connection-close',
        Severity.WARNING,
        _application(_connection_close),
        'Answers of http-socket do not say "Connection: close".',
        'It serves one request for each connection, so clients that keep '
        f'connections open see them break ({_MANUAL}HTTP.html).',
        'Write add-header = Connection: close.',
    ),
    _rule(
        'buffer-size',
        Severity.WARNING,
        below('buffer-size', HEADERS, 4096),
        'buffer-size is {value} bytes.',
        'A request whose line and headers are longer is refused; tokens and '
        f'queries can be ({_MANUAL}Options.html#buffer-size).',
        'Write buffer-size = 65535.',
    ),
    _rule(
        'lazy-apps',
        Severity.WARNING,
        _application(_lazy),
        'lazy-apps is off.',
        'The application is loaded before the fork, which its threads and '
        'database connections do not survive '
        f'({_MANUAL}articles/TheArtOfGracefulReloading.html).',
        'Write lazy-apps = true.',
    ),
    _rule(
        'stats-socket',
        Severity.WARNING,
        given('stats'),
        'stats are served at {value}.',
        'They hold the variables of running requests, so tokens too '
        f'({_MANUAL}StatsServer.html).',
        'Remove it, or make it a unix socket that only root can open.',
    ),
    _rule(
        'single-thread',
        Severity.ERROR,
        _application(_single_thread),
        'Each of the {processes} processes has one thread.',
        'A transfer holds a thread to its end: as many slow clients as there '
        'are processes stop the whole API, health check included '
        f'({_MANUAL}Options.html#threads).',
        'Write threads = 16.',
    ),
    _rule(
        'python-threads',
        Severity.ERROR,
        _application(_python_threads),
        'enable-threads is off.',
        "Python's own threads, which run the imports, stand still "
        f'({_MANUAL}WSGIquickstart.html#a-note-on-python-threads).',
        'Write enable-threads = true.',
    ),
    _rule(
        'master',
        Severity.WARNING,
        missing('master'),
        'There is no master process.',
        'Nobody starts a worker again that has died, and there is no reload '
        f'({_MANUAL}Options.html#master).',
        'Write master = true.',
    ),
    _rule(
        'reload-mercy',
        Severity.WARNING,
        below('worker-reload-mercy', MERCY, 60),
        'worker-reload-mercy is {value} s.',
        'An import or a transfer that takes longer is lost when a worker is '
        f'reloaded ({_MANUAL}Options.html#worker-reload-mercy).',
        'Write worker-reload-mercy = 3600, more than the longest import.',
    ),
    _rule(
        'uwsgi-protocol',
        Severity.WARNING,
        _application(_protocol),
        'socket = {value} speaks the uwsgi protocol.',
        'mod_proxy_uwsgi answers 411 to chunked uploads '
        '(https://github.com/unbit/uwsgi/issues/1540).',
        'Write http-socket, and "http://" in the configuration of the proxy.',
    ),
    _rule(
        'removed-script-uwsgi',
        Severity.ERROR,
        _removed_script,
        '{value} is no part of Glance any more.',
        'Glance 32 removed the script glance-wsgi-api '
        '(https://docs.openstack.org/releasenotes/glance/).',
        'Write module = glance_wsgi.api:application, or '
        'glance.wsgi.api:application for Glance alone.',
    ),
    _rule(
        'logged-token-uwsgi',
        Severity.ERROR,
        _logged_token,
        'The log has the token of each request.',
        'Whoever reads the log can act as its user '
        f'({_MANUAL}LogFormat.html).',
        'Remove HTTP_X_AUTH_TOKEN from the format.',
    ),
    _rule(
        'include-uwsgi',
        Severity.INFO,
        _unread,
        "{name}, which it includes, can't be read.",
        f'What is in it was not checked ({_MANUAL}ParsingOrder.html).',
        'Check it where the file is there and readable.',
    ),
)
