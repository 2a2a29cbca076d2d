"""systemd: our unit, and asking the one that runs as PID 1.

https://www.freedesktop.org/software/systemd/man/systemctl.html
"""

import configparser
import pathlib
import re
import subprocess
import urllib.parse
from collections.abc import Iterable

from glance_wsgi import errors
from glance_wsgi import programs
from glance_wsgi import state
from glance_wsgi.deployment import Deployment
from glance_wsgi.render import File

UNIT = 'glance-wsgi.service'
UNIT_FILE = pathlib.Path('/etc/systemd/system', UNIT)
WANTED = pathlib.Path('/etc/systemd/system/multi-user.target.wants', UNIT)
"""The link that starts it at boot; what "systemctl enable" makes."""

TMPFILES = pathlib.Path('/etc/tmpfiles.d/glance-wsgi.conf')

PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
"""Where a service finds programs, as systemd itself has it."""

STOP_MARGIN = 60
"""Seconds by which stopping may outlast the mercy of what is stopped."""

FIRST_FREE_PORT = 1024  # lower ones need a capability

_HOMES = tuple(map(pathlib.Path, ('/home', '/root', '/run/user')))
_TEMPORARY = tuple(map(pathlib.Path, ('/tmp', '/var/tmp')))  # noqa: S108
_PACKAGE = pathlib.Path(__file__).parent


def booted() -> bool:
    """Whether systemd is what runs this machine; sd_booted(3)."""
    return pathlib.Path('/run/systemd/system').is_dir()


def call(*words: str | pathlib.Path) -> None:
    """Run systemctl, or another program of the system's, to its end.

    :raises errors.InstallFailed: it refuses, or is not there
    """
    try:
        result = subprocess.run(
            words, capture_output=True, text=True, errors='replace'
        )
        said = _said(result) if result.returncode else ''
    except OSError as error:
        said = str(error)
    if said:
        said = ' '.join(said.split()).rstrip('.')
        raise errors.InstallFailed(
            f'"{" ".join(map(str, words))}" failed: {said}.',
            'Mend what it names; "journalctl -b" has more.',
        )


def _said(result: subprocess.CompletedProcess[str]) -> str:
    code = f'exit code {result.returncode}'
    return result.stderr.strip() or result.stdout.strip() or code


def stop(unit: str) -> None:
    """Stop a unit; one that does not run, or is not known, is stopped.

    :raises errors.InstallFailed: it still runs
    """
    try:
        call('systemctl', 'stop', unit)
    except errors.InstallFailed:
        if is_active(unit):
            raise


def is_active(unit: str) -> bool:
    """Whether a unit runs, or is on its way to."""
    running = ('active', 'reloading', 'activating')
    return _property(unit, 'ActiveState') in running


def fragment(unit: str) -> pathlib.Path | None:
    """The file that a unit is from, without its drop-ins; None if unknown."""
    path = _property(unit, 'FragmentPath')
    return pathlib.Path(path) if path else None


def _property(unit: str, name: str) -> str:
    """What systemd knows of a unit; empty where it knows nothing."""
    if not booted():
        return ''
    asked = subprocess.run(
        ['systemctl', 'show', f'--property={name}', '--value', unit],
        capture_output=True,
        text=True,
    )
    return asked.stdout.strip()


def unit_file(deployment: Deployment, emperor: pathlib.Path) -> File:
    """The unit that runs the Emperor.

    :param emperor: its configuration
    """
    mercy = deployment.conf.server.task_mercy
    return File(
        path=UNIT_FILE,
        template='glance-wsgi.service.j2',
        variables={
            'program': programs.program('uwsgi'),
            'emperor': emperor,
            'command': programs.program('glance-wsgi'),
            'user': deployment.user.name,
            'user_group': deployment.user.group,
            'etc': deployment.places.etc,
            'run': deployment.places.run,
            'path': f'{deployment.python.parent}:{PATH}',
            'writable': writable(deployment),
            'home': _home(deployment),
            'low_port': _has_low_port(deployment),
            'stop_timeout': mercy + STOP_MARGIN,
            # Two applications at most, one after the other.
            'reload_timeout': 2 * mercy + STOP_MARGIN,
        },
        owner=state.Owner.myself(),
    )


def apache_file(
    service: str, pidfile: pathlib.Path, mercy: int, command: str = ''
) -> File:
    """What the distribution's unit of Apache lacks.

    :param mercy: seconds that what runs may take to its end
    :param command: stops and reloads it, where it can't do so without a loss
    """
    return File(
        path=UNIT_FILE.parent / f'{service}.d' / 'glance-wsgi.conf',
        template='glance-wsgi.apache.j2',
        variables={
            'pidfile': pidfile,
            'command': command,
            'stop_timeout': mercy + STOP_MARGIN,
        },
        owner=state.Owner.myself(),
    )


def tmpfiles_file(deployment: Deployment) -> File:
    """What makes the run and log directories at each boot."""
    return File(
        path=TMPFILES,
        template='glance-wsgi.tmpfiles.j2',
        variables={
            'run': deployment.places.run,
            'log': deployment.places.log,
            'user': deployment.user.name,
            'user_group': deployment.user.group,
            'group': deployment.places.socket_group,
        },
        owner=state.Owner.myself(),
    )


def _has_low_port(deployment: Deployment) -> bool:
    return any(
        address.port < FIRST_FREE_PORT for _, address in deployment.listening()
    )


def check_seen(deployment: Deployment) -> None:
    """Refuse programs and data where the services have a directory of theirs.

    PrivateTmp= in our unit, and in Debian's for Apache.

    :raises errors.PythonNotReadable: the virtualenv or the package is there
    :raises errors.StateNotReachable: a directory with configuration is
    :raises errors.BadCertificate: the certificate or its key is
    """
    for what, error, paths in (
        ('The virtualenv', errors.PythonNotReadable, [deployment.python]),
        ('The package', errors.PythonNotReadable, [_PACKAGE]),
        (
            'A directory of the deployment',
            errors.StateNotReachable,
            [deployment.state.path, *deployment.configured_by_others],
        ),
        (
            'A file of --tls-*',
            errors.BadCertificate,
            deployment.certificate_files,
        ),
    ):
        for path in paths:
            if _is_temporary(path):
                raise error(
                    f'{what}, {path}, is among temporary files, and services '
                    'see none but their own.',
                    'Have it somewhere else: in /opt, /etc or /var/lib.',
                )


def _is_temporary(path: pathlib.Path) -> bool:
    # A virtualenv's Python is a link to one that is somewhere else.
    places = (path.absolute(), path.resolve(), path.parent.resolve())
    return any(
        place.is_relative_to(directory)
        for place in places
        for directory in _TEMPORARY
    )


def _home(deployment: Deployment) -> str:
    ours = (deployment.python, deployment.state.path)
    inside = any(path.is_relative_to(home) for path in ours for home in _HOMES)
    return 'read-only' if inside else 'yes'


def writable(deployment: Deployment) -> list[pathlib.Path]:
    """The directories that the applications write to, sorted."""
    found = {deployment.places.run, deployment.places.log}
    if deployment.hosted is None:
        found |= {deployment.state.data, deployment.state.run}
    else:
        for directory in deployment.configured_by_others:
            found |= _named(directory, deployment)
    return sorted(found)


def _named(
    directory: pathlib.Path, deployment: Deployment
) -> set[pathlib.Path]:
    """What is named in configuration files and belongs to the service user.

    Stores, staging, locks and logs have names of their own choosing there,
    those of stores whole sections: so every value is looked at.
    """
    found = set()
    for file in directory.glob('*.conf'):
        for value in _values(file):
            for path in _paths(value):
                place = path if path.is_dir() else path.parent
                if _writes(deployment.user, place):
                    found.add(place)
    return found


def _values(file: pathlib.Path) -> Iterable[str]:
    parser = configparser.RawConfigParser(
        strict=False, allow_no_value=True, default_section=''
    )
    try:
        parser.read_string(file.read_text(errors='replace'))
    except (configparser.Error, OSError):
        return []  # Glance itself says what is wrong with it
    return [
        value
        for section in parser.sections()
        for value in parser[section].values()
        if value
    ]


def _paths(value: str) -> Iterable[pathlib.Path]:
    for word in re.split(r'[,\s]+', value):
        # sqlite:////var/lib/glance/glance.sqlite, file:///var/lib/staging
        url = urllib.parse.urlsplit(word) if '://' in word else None
        text = url.path.replace('//', '/', 1) if url else word
        # A store's directory may have a priority behind it, ":100".
        text = re.sub(r':\d+$', '', text)
        if text.startswith('/') and text != '/' and not (url and url.netloc):
            yield pathlib.Path(text)


def _writes(user: programs.ServiceUser, place: pathlib.Path) -> bool:
    try:
        facts = place.stat()
    except OSError:
        return False
    owner = user.owner
    # /tmp is everybody's, and the unit has one of its own.
    if owner is None or place == pathlib.Path('/tmp'):  # noqa: S108
        return False
    return bool(
        (facts.st_uid == owner.uid and facts.st_mode & 0o200)
        or (facts.st_gid in user.groups() and facts.st_mode & 0o020)
    )
