"""What ends or reloads Apache, and with it what Glance still does."""

import pathlib
import re
from collections.abc import Iterator

from glance_wsgi.lint import view
from glance_wsgi.lint.documents import Ini
from glance_wsgi.lint.documents import Kind
from glance_wsgi.lint.documents import Place
from glance_wsgi.lint.findings import Hit
from glance_wsgi.lint.findings import Rule
from glance_wsgi.lint.findings import Severity
from glance_wsgi.lint.httpd import Httpd
from glance_wsgi.lint.httpd import walk
from glance_wsgi.lint.systemd import SERVICE
from glance_wsgi.lint.view import View

_APACHE = 'https://httpd.apache.org/docs/2.4/'
_SYSTEMD = (
    'https://www.freedesktop.org/software/systemd/man/latest/'
    'systemd.service.html#ExecStop='
)
_MOD_WSGI = (
    'https://modwsgi.readthedocs.io/en/master/configuration-directives/'
    'WSGIDaemonProcess.html'
)

OURS = 'glance_wsgi.cmd.unit'
"""What "install" has such a unit call, which waits for daemon processes."""

GRACEFUL = ('SIGWINCH', 'WINCH', '28')

# What asks systemd to reload; it does so as the unit says.
_BY_SYSTEMD = ('systemctl', 'invoke-rc.d', 'service', 'deb-systemd-invoke')


def _stop(unit: Ini, seen: View) -> Iterator[Hit]:
    if not view.runs_apache(unit):
        return
    command = unit.text('ExecStop', SERVICE)
    signal = unit.text('KillSignal', SERVICE) or 'SIGTERM'
    if command and _is_apache(command):
        # It returns at once, and the signal comes then: a second SIGWINCH
        # ends Apache as SIGTERM does.
        yield unit.placed('ExecStop', SERVICE), {'said': f'by "{command}"'}
    elif not command and signal not in GRACEFUL:
        yield unit.placed('KillSignal', SERVICE), {'said': f'by {signal}'}


def _is_apache(command: str) -> bool:
    words = command.lstrip('@-:+!').split()
    return bool(words) and pathlib.Path(words[0]).name in view.APACHES


def _has_daemons(seen: View) -> bool:
    return any(site.daemons() for site in seen.sites())


def _daemons(unit: Ini, seen: View) -> Iterator[Hit]:
    if not view.runs_apache(unit) or not _has_daemons(seen):
        return
    for name in ('ExecStop', 'ExecReload'):
        if OURS not in unit.text(name, SERVICE):
            yield unit.placed(name, SERVICE), {'name': name}


def _rotation(document: Httpd, seen: View) -> Iterator[Hit]:
    if not any(site.daemons() for site in view.sites(document)):
        return
    if _is_of_its_own(document, seen):
        return
    units = [one for one in seen.inis(Kind.UNIT) if view.runs_apache(one)]
    waits = any(OURS in one.text('ExecReload', SERVICE) for one in units)
    for file, number, line in seen.context.rotations():
        if not (waits and _asks_systemd(line)):
            yield Place(file, number), {'line': line}


def _is_of_its_own(document: Httpd, seen: View) -> bool:
    """Whether an Apache is another one than the distribution's."""
    named = [
        one.first
        for one in walk(document.directives)
        if one.name == 'pidfile' and one.first.startswith('/')
    ]
    return bool(named) and seen.context.apache_pidfile() not in named


def _asks_systemd(line: str) -> bool:
    words = {pathlib.Path(word).name for word in re.split(r'[\s;|&]+', line)}
    return not words.isdisjoint(_BY_SYSTEMD) and 'reload' in words


RULES = (
    Rule(
        'unit-apache-stop',
        Severity.ERROR,
        (Kind.UNIT,),
        _stop,
        'Apache is stopped {said}.',
        'It does not wait for what it has begun: "graceful-stop" returns at '
        "once, and systemd's signal behind it cuts every transfer "
        f'({_SYSTEMD}; {_APACHE}stopping.html).',
        'Write ExecStop= (with nothing), KillSignal=SIGWINCH and '
        'KillMode=mixed into a drop-in.',
    ),
    Rule(
        'unit-apache-daemons',
        Severity.WARNING,
        (Kind.UNIT,),
        _daemons,
        'mod_wsgi has daemon processes, and {name} does not wait for them.',
        'Apache kills them three seconds after it has told them to end, with '
        f'the imports in them and, at a reload, all transfers ({_MOD_WSGI}).',
        'Let "glance-wsgi install" set the server up, or do that only while '
        'nothing is transferred or imported.',
    ),
    Rule(
        'wsgi-log-rotation',
        Severity.ERROR,
        (Kind.APACHE,),
        _rotation,
        'logrotate has Apache reloaded: "{line}".',
        'Apache then kills the daemon processes of mod_wsgi after three '
        f'seconds, with all that they do, every day ({_APACHE}logs.html).',
        'Write copytruncate there instead, or reload by "systemctl reload" a '
        'unit that "glance-wsgi install" has set up.',
    ),
)
