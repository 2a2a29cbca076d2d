"""Who may read secrets and write configuration; what the service may do."""

import pathlib
import re
from collections.abc import Iterator

from glance_wsgi.lint import httpd
from glance_wsgi.lint.documents import Document
from glance_wsgi.lint.documents import Ini
from glance_wsgi.lint.documents import Kind
from glance_wsgi.lint.documents import Place
from glance_wsgi.lint.findings import Hit
from glance_wsgi.lint.findings import Rule
from glance_wsgi.lint.findings import Severity
from glance_wsgi.lint.findings import top
from glance_wsgi.lint.glance import staging
from glance_wsgi.lint.view import View
from glance_wsgi.lint.view import option

_SECURITY = 'https://docs.openstack.org/security-guide/'
_FILES = f'{_SECURITY}image-storage/checklist.html'

_PASSWORD = re.compile(r'password|secret|transport_url|_key$')
_IN_URL = re.compile(r'://[^/@\s]*:[^/@\s]+@')

READ, WRITE, ENTER = 4, 2, 1


def _secret(ini: Ini) -> bool:
    return any(
        (_PASSWORD.search(entry.name) and entry.value)
        or _IN_URL.search(entry.value)
        for entry in ini.entries
    )


def _mode(seen: View, path: pathlib.Path) -> int:
    facts = seen.context.stat(path)
    return facts.st_mode & 0o777 if facts else 0


def _readable_secrets(ini: Ini, seen: View) -> Iterator[Hit]:
    mode = _mode(seen, ini.path)
    if mode & 0o004 and _secret(ini):
        yield ini.place, {'mode': f'{mode:04o}'}


def _keys(document: Document) -> Iterator[tuple[Place, pathlib.Path]]:
    """The private keys and repositories of keys that a file names."""
    if isinstance(document, httpd.Httpd):
        for one in httpd.walk(document.directives):
            if one.name in ('sslcertificatekeyfile', 'sslproxymachinecert'):
                yield one.place, pathlib.Path(one.first)
    elif isinstance(document, Ini):
        for entry in document.entries:
            path = entry.value
            if entry.name in ('https', 'https-socket'):
                path = ''.join(entry.value.split(',')[2:3])
            elif entry.name != 'key_repository':
                continue
            yield entry.place, pathlib.Path(path)


def _readable_keys(document: Document, seen: View) -> Iterator[Hit]:
    for place, path in _keys(document):
        mode = _mode(seen, path)
        if path.is_absolute() and mode & 0o004:
            yield place, {'path': path, 'mode': f'{mode:04o}'}


def files(document: Document) -> set[pathlib.Path]:
    """The file, and those that it includes."""
    if isinstance(document, httpd.Httpd):
        found = httpd.walk(document.directives)
        return {document.path} | {one.place.file for one in found}
    if isinstance(document, Ini):
        return {document.path} | {one.place.file for one in document.entries}
    return {document.path}


def _writers(path: pathlib.Path, seen: View) -> Iterator[str]:
    facts, service = seen.context.stat(path), seen.service()
    if facts is None:
        return
    if facts.st_mode & 0o002:
        yield 'everybody'
    # An ordinary user's services are that user, who may write anyway.
    elif service and service.uid not in (0, seen.context.runner):
        group = facts.st_mode & 0o020 and facts.st_gid in service.gids
        if group or facts.st_uid == service.uid:
            yield f'the service user {service.name}'


def _writable(document: Document, seen: View) -> Iterator[Hit]:
    for path in sorted(files(document)):
        for who in _writers(path, seen):
            yield top(path), {'who': who}


def _user_missing(document: Document, seen: View) -> Iterator[Hit]:
    for place, name in seen.users():
        unknown = seen.context.identity(name) is None
        if unknown and place.file in files(document) and '%' not in name:
            yield place, {'name': name}


def homes(document: Document) -> Iterator[tuple[Place, pathlib.Path]]:
    """The virtualenvs that a file names."""
    if isinstance(document, httpd.Httpd):
        for one in httpd.walk(document.directives):
            home = option(one, 'python-home', '')
            home = one.first if one.name == 'wsgipythonhome' else home
            if home:
                yield one.place, pathlib.Path(home)
    elif isinstance(document, Ini):
        for entry in document.all('home'):
            yield entry.place, pathlib.Path(entry.value)


def _python(document: Document, seen: View) -> Iterator[Hit]:
    service = seen.service()
    for place, home in homes(document):
        python = home / 'bin' / 'python'
        if service is None or seen.context.stat(python) is None:
            continue
        found = seen.context.obstacle(python, service, READ | ENTER)
        if found:
            facts = {'name': service.name, 'python': python, 'path': found}
            yield place, facts


def _staging(ini: Ini, seen: View) -> Iterator[Hit]:
    place, service = staging(ini), seen.service()
    if not place or service is None or seen.context.stat(place) is None:
        return
    found = seen.context.obstacle(place, service, READ | WRITE | ENTER)
    if found:
        yield ini.place, {'place': place, 'name': service.name, 'path': found}


RULES = (
    Rule(
        'secret-readable',
        Severity.ERROR,
        (Kind.GLANCE, Kind.OSLO, Kind.UWSGI),
        _readable_secrets,
        'It has a password in it, and everybody may read it ({mode}).',
        'Every user of this machine gets into the database and into Keystone '
        f'({_FILES}).',
        'chmod 0640, with the group of the service user.',
    ),
    Rule(
        'key-readable',
        Severity.ERROR,
        (Kind.APACHE, Kind.UWSGI, Kind.OSLO),
        _readable_keys,
        'Everybody may read the key {path} ({mode}).',
        'Whoever has it can pretend to be this server, or make tokens '
        '(https://httpd.apache.org/docs/2.4/ssl/ssl_faq.html).',
        'chmod 0600, or 0700 for a directory.',
    ),
    Rule(
        'config-writable',
        Severity.ERROR,
        (Kind.APACHE, Kind.UWSGI, Kind.UNIT),
        _writable,
        'It may be written by {who}.',
        'Root reads it when the server starts, so whoever writes it can '
        f'become root ({_FILES}).',
        'chown root and chmod 0644.',
    ),
    Rule(
        'glance-conf-writable',
        Severity.INFO,
        (Kind.GLANCE, Kind.OSLO),
        _writable,
        'It may be written by {who}.',
        'A break-in into the service can be made to last in its '
        f'configuration ({_FILES}).',
        'chown root:glance and chmod 0640.',
    ),
    Rule(
        'user-missing',
        Severity.WARNING,
        (Kind.APACHE, Kind.UWSGI, Kind.UNIT),
        _user_missing,
        'There is no user {name} on this machine.',
        'The server refuses to start '
        '(https://man7.org/linux/man-pages/man3/getpwnam.3.html).',
        'Make the user, or correct the name.',
    ),
    Rule(
        'python-readable',
        Severity.ERROR,
        (Kind.APACHE, Kind.UWSGI),
        _python,
        'The user {name} may not run {python}: {path} is closed.',
        'mod_wsgi then says "failed to get the Python codec of the filesystem '
        'encoding", uWSGI that there is no module; a home with mode 0700 is '
        'the usual cause '
        '(https://modwsgi.readthedocs.io/en/master/user-guides/'
        'virtual-environments.html).',
        'Make the virtualenv, from a Python, where everybody may read.',
    ),
    Rule(
        'staging-writable',
        Severity.ERROR,
        (Kind.GLANCE,),
        _staging,
        'The user {name} may not write into {place}: {path} is closed.',
        'Every import fails (https://docs.openstack.org/glance/latest/admin/'
        'interoperable-image-import.html).',
        'chown it to the service user, with mode 0700.',
    ),
)
