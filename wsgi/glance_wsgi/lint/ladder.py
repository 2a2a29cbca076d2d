"""The timeouts of a deployment, which have to grow from the client inwards.

client <= proxy, server <= reload mercy < systemd's stop. Whoever gives up too
early cuts what the one before is still allowed to do.
"""

from collections.abc import Iterator

from glance_wsgi.lint import view
from glance_wsgi.lint.apache import over_http
from glance_wsgi.lint.documents import Ini
from glance_wsgi.lint.documents import Kind
from glance_wsgi.lint.documents import Place
from glance_wsgi.lint.documents import seconds
from glance_wsgi.lint.findings import Hit
from glance_wsgi.lint.findings import Rule
from glance_wsgi.lint.findings import Severity
from glance_wsgi.lint.httpd import Directive
from glance_wsgi.lint.httpd import Httpd
from glance_wsgi.lint.systemd import SERVICE
from glance_wsgi.lint.view import Site
from glance_wsgi.lint.view import View
from glance_wsgi.lint.view import option

_APACHE = 'https://httpd.apache.org/docs/2.4/mod/'
_UWSGI = 'https://uwsgi-docs.readthedocs.io/en/latest/Options.html'
_MOD_WSGI = (
    'https://modwsgi.readthedocs.io/en/master/configuration-directives/'
    'WSGIDaemonProcess.html'
)
_SYSTEMD = (
    'https://www.freedesktop.org/software/systemd/man/latest/'
    'systemd.service.html#TimeoutStopSec='
)

# What counts where nothing is set, in seconds.
APACHE_TIMEOUT = 60.0
SOCKET_TIMEOUT = 4
MERCY = 60
EMPEROR_MERCY = 30
STOP_TIMEOUT = 90.0


def _client(site: Site) -> float:
    """How long Apache lets a client stall."""
    return seconds(site.first_argument('timeout')) or APACHE_TIMEOUT


def _proxy_times(site: Site) -> Iterator[tuple[Place, float]]:
    """How long Apache waits for the server behind it."""
    usual = seconds(site.first_argument('proxytimeout')) or _client(site)
    for proxy in over_http(site):
        own = seconds(option(proxy, 'timeout', ''))
        yield proxy.place, own or usual


def _server_time(seen: View) -> int | None:
    """How long uWSGI waits for who connects to it."""
    found = [
        ini.number('socket-timeout', SOCKET_TIMEOUT) for ini in seen.uwsgis()
    ]
    return max((time for time in found if time is not None), default=None)


def _daemon_time(site: Site, daemon: Directive) -> float:
    """How long mod_wsgi waits between Apache and a daemon process."""
    return seconds(option(daemon, 'socket-timeout', '')) or _client(site)


def _server_times(site: Site, seen: View) -> Iterator[tuple[str, float]]:
    """Each server behind a site, and how long it waits for Apache."""
    uwsgi = _server_time(seen)
    if uwsgi is not None and over_http(site):
        yield 'uWSGI', uwsgi
    for daemon in site.daemons():
        yield 'mod_wsgi', _daemon_time(site, daemon)


def _client_server(document: Httpd, seen: View) -> Iterator[Hit]:
    for site in view.sites(document):
        client = _client(site)
        found = site.last('timeout')
        place = found.place if found else site.place
        for server, time in _server_times(site, seen):
            if client > time:
                facts = {'outer': f'{client:g}', 'inner': f'{time:g}'}
                yield place, {'server': server, **facts}


def _proxy_server(document: Httpd, seen: View) -> Iterator[Hit]:
    server = _server_time(seen)
    for site in view.sites(document):
        for place, proxy in _proxy_times(site):
            if server is not None and proxy < server:
                yield place, {'outer': f'{proxy:g}', 'inner': server}


def _server_mercy(ini: Ini, seen: View) -> Iterator[Hit]:
    mercy = ini.number('worker-reload-mercy', MERCY)
    server = ini.number('socket-timeout', SOCKET_TIMEOUT)
    if not view.is_application(ini) or mercy is None or server is None:
        return
    if mercy < server:
        facts = {'outer': mercy, 'inner': server}
        yield ini.placed('worker-reload-mercy'), facts


def _daemon_mercy(document: Httpd, seen: View) -> Iterator[Hit]:
    for site in view.sites(document):
        for daemon in site.daemons():
            mercy = _mercy(daemon)
            time = _daemon_time(site, daemon)
            # Where none is set, wsgi-shutdown-timeout says what is wrong.
            if option(daemon, 'shutdown-timeout', '') and mercy < time:
                facts = {'outer': f'{mercy:g}', 'inner': f'{time:g}'}
                yield daemon.place, facts


def _mercy(daemon: Directive) -> float:
    return seconds(option(daemon, 'shutdown-timeout', '5')) or 0.0


def _uwsgi_mercies(seen: View) -> Iterator[float]:
    for ini in seen.uwsgis():
        yield float(ini.number('worker-reload-mercy', MERCY) or 0)


def _mercies(unit: Ini, seen: View) -> Iterator[float]:
    """How long what a unit starts lets running requests go on."""
    if view.runs(unit, 'uwsgi'):
        yield from _uwsgi_mercies(seen)
    if view.runs_apache(unit):
        for site in seen.sites():
            # What Apache passes on takes as long as uWSGI lets it.
            if over_http(site):
                yield from _uwsgi_mercies(seen)
            yield from map(_mercy, site.daemons())


def _stop(unit: Ini, seen: View) -> Iterator[Hit]:
    mercy = max(_mercies(unit, seen), default=0.0)
    name = 'TimeoutStopSec'
    if not unit.last(name, SERVICE):
        name = 'TimeoutSec'
    stop = seconds(unit.text(name, SERVICE))
    # systemd.service(5): 0 is for ever.
    stop = STOP_TIMEOUT if stop is None else stop or float('inf')
    if stop <= mercy:
        facts = {'outer': f'{stop:g}', 'inner': f'{mercy:g}'}
        yield unit.placed(name, SERVICE), facts


def _emperor(ini: Ini, seen: View) -> Iterator[Hit]:
    vassals = [
        one.number('worker-reload-mercy', MERCY) or 0 for one in seen.uwsgis()
    ]
    own = ini.number('reload-mercy', EMPEROR_MERCY)
    inner = max(vassals, default=0)
    if ini.last('emperor') and own is not None and own < inner:
        yield ini.placed('reload-mercy'), {'outer': own, 'inner': inner}


RULES = (
    Rule(
        'ladder-client-server',
        Severity.WARNING,
        (Kind.APACHE,),
        _client_server,
        'Apache lets a client stall for {outer} s (Timeout), {server} for '
        '{inner} s (socket-timeout).',
        'The server gives up while the client may still go on, and the '
        f'upload ends with 500 ({_APACHE}core.html#timeout; {_MOD_WSGI}).',
        'Let socket-timeout be as long as Timeout, or longer.',
    ),
    Rule(
        'ladder-proxy-server',
        Severity.WARNING,
        (Kind.APACHE,),
        _proxy_server,
        'Apache waits {outer} s for uWSGI (ProxyTimeout), which waits '
        '{inner} s itself (socket-timeout).',
        'Apache answers 504 while the request still runs '
        f'({_APACHE}mod_proxy.html#proxytimeout).',
        'Let ProxyTimeout be as long as socket-timeout, or longer.',
    ),
    Rule(
        'ladder-server-mercy',
        Severity.WARNING,
        (Kind.UWSGI,),
        _server_mercy,
        'worker-reload-mercy is {outer} s, socket-timeout is {inner} s.',
        'A reload ends transfers that only stall for as long as they may '
        f'({_UWSGI}#worker-reload-mercy).',
        'Let worker-reload-mercy be the longer one.',
    ),
    Rule(
        'ladder-daemon-mercy',
        Severity.WARNING,
        (Kind.APACHE,),
        _daemon_mercy,
        'shutdown-timeout is {outer} s, socket-timeout is {inner} s.',
        'A daemon process that is told to end drops transfers that only '
        f'stall for as long as they may ({_MOD_WSGI}).',
        'Let shutdown-timeout be the longer one.',
    ),
    Rule(
        'ladder-emperor',
        Severity.ERROR,
        (Kind.UWSGI,),
        _emperor,
        "The Emperor's reload-mercy is {outer} s, worker-reload-mercy of its "
        'vassals {inner} s.',
        'When it is stopped it kills them after its own time, which is 30 s '
        'where nothing is set, with all that they still do '
        '(https://github.com/unbit/uwsgi/blob/2.0.31/core/emperor.c).',
        "Let the Emperor's reload-mercy be as long as that of its vassals.",
    ),
    Rule(
        'ladder-mercy-stop',
        Severity.ERROR,
        (Kind.UNIT,),
        _stop,
        'systemd kills after {outer} s (TimeoutStopSec), and the server lets '
        'what runs go on for {inner} s.',
        'What still runs is lost at every stop and restart '
        f'({_SYSTEMD}; {_MOD_WSGI}).',
        'Let TimeoutStopSec be longer than the mercy, by a minute or so.',
    ),
)
