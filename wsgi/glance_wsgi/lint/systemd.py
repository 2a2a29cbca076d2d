"""What systemd units get wrong that start Glance's server."""

import pathlib
from collections.abc import Iterator

from glance_wsgi.lint import view
from glance_wsgi.lint.documents import Ini
from glance_wsgi.lint.documents import Kind
from glance_wsgi.lint.findings import Check
from glance_wsgi.lint.findings import Hit
from glance_wsgi.lint.findings import Rule
from glance_wsgi.lint.findings import Severity
from glance_wsgi.lint.view import View

_MANUAL = 'https://www.freedesktop.org/software/systemd/man/latest/'
_UWSGI = 'https://uwsgi-docs.readthedocs.io/en/latest/'

SERVICE = 'Service'


def _of_uwsgi(check: Check) -> Check:
    def checked(unit: Ini, seen: View) -> Iterator[Hit]:
        if view.runs(unit, 'uwsgi'):
            yield from check(unit, seen)

    return checked


def _kill_mode(unit: Ini, seen: View) -> Iterator[Hit]:
    value = unit.text('KillMode', SERVICE) or 'control-group'
    if value == 'control-group':
        yield unit.placed('KillMode', SERVICE), {}


def _kill_signal(unit: Ini, seen: View) -> Iterator[Hit]:
    signal = unit.text('KillSignal', SERVICE) or 'SIGTERM'
    if signal not in ('SIGTERM', '15') or unit.text('ExecStop', SERVICE):
        return
    for ini in seen.uwsgis():
        handled = ini.on('die-on-term') or any(
            entry.value.startswith('unix_signal:15 ')
            for entry in ini.all('hook-master-start')
        )
        if not handled and not _under_emperor(seen):
            yield unit.placed('KillSignal', SERVICE), {}
            return


def _under_emperor(seen: View) -> bool:
    inis = seen.inis(Kind.UWSGI)
    return any(ini.last('emperor') for ini in inis)


def _restart(unit: Ini, seen: View) -> Iterator[Hit]:
    if (unit.text('Restart', SERVICE) or 'no') == 'no':
        yield unit.placed('Restart', SERVICE), {}


def _root(unit: Ini, seen: View) -> Iterator[Hit]:
    user = unit.text('User', SERVICE) or 'root'
    dynamic = unit.on('DynamicUser', SERVICE)
    lowered = any(ini.last('uid') for ini in seen.inis(Kind.UWSGI))
    if user in ('root', '0') and not dynamic and not lowered:
        yield unit.placed('User', SERVICE), {}


def _removed_server(unit: Ini, seen: View) -> Iterator[Hit]:
    for entry in unit.all('ExecStart', SERVICE):
        words = entry.value.lstrip('@-:+!').split()
        if any(pathlib.Path(word).name == 'glance-api' for word in words[:2]):
            yield entry.place, {'value': entry.value}


def _rule(id: str, severity: Severity, check: Check, *texts: str) -> Rule:
    what, why, action = texts
    return Rule(id, severity, (Kind.UNIT,), check, what, why, action)


RULES = (
    _rule(
        'unit-kill-mode',
        Severity.ERROR,
        _of_uwsgi(_kill_mode),
        'KillMode is control-group.',
        'systemd then sends its signal to the workers too, and they drop what '
        f'they do ({_MANUAL}systemd.kill.html).',
        'Write KillMode=mixed: the master is told, and ends its workers.',
    ),
    _rule(
        'unit-kill-signal',
        Severity.ERROR,
        _of_uwsgi(_kill_signal),
        'KillSignal is SIGTERM, which uWSGI takes for a reload.',
        'It does not stop, and is killed when the time is over '
        f'({_UWSGI}Systemd.html).',
        'Write hook-master-start = unix_signal:15 gracefully_kill_them_all '
        "into uWSGI's file.",
    ),
    _rule(
        'unit-restart',
        Severity.WARNING,
        _of_uwsgi(_restart),
        'Restart is "no".',
        'After a crash the API stays away '
        f'({_MANUAL}systemd.service.html#Restart=).',
        'Write Restart=on-failure.',
    ),
    _rule(
        'unit-root',
        Severity.WARNING,
        _of_uwsgi(_root),
        'The server runs as root.',
        'A mistake in it, or in what decodes images, is then one of the whole '
        f'machine ({_MANUAL}systemd.exec.html#User=).',
        'Write User= and Group= of a system user.',
    ),
    _rule(
        'removed-server',
        Severity.ERROR,
        _removed_server,
        '{value} does not serve any more.',
        'Glance 33 removed its own server: glance-api says so and ends '
        '(https://docs.openstack.org/releasenotes/glance/).',
        'Start a WSGI server with glance_wsgi.api.',
    ),
)
