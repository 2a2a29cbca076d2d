"""What Apache configurations get wrong that host Glance by mod_wsgi."""

import pathlib
from collections.abc import Iterator

from glance_wsgi.lint.apache import each
from glance_wsgi.lint.apache import placed
from glance_wsgi.lint.apache import rule
from glance_wsgi.lint.findings import Check
from glance_wsgi.lint.findings import Hit
from glance_wsgi.lint.findings import Severity
from glance_wsgi.lint.httpd import Httpd
from glance_wsgi.lint.httpd import walk
from glance_wsgi.lint.rights import homes
from glance_wsgi.lint.uwsgi import MERCY
from glance_wsgi.lint.view import Site
from glance_wsgi.lint.view import View
from glance_wsgi.lint.view import option
from glance_wsgi.lint.view import sites

_MANUAL = 'https://modwsgi.readthedocs.io/en/master/configuration-directives/'
_DAEMON = f'{_MANUAL}WSGIDaemonProcess.html'

MODULES = pathlib.Path('/usr/lib/apache2/modules')

TRUNCATING = ((6, 0, 0), (6, 0, 4))
"""The first and the last version that can cut the end of a body."""


def _switch(name: str) -> Check:
    def check(site: Site) -> Iterator[Hit]:
        on = site.first_argument(name).lower() == 'on'
        if site.aliases() and not on:
            yield placed(site, name)

    return each(check)


def _global_group(site: Site) -> Iterator[Hit]:
    wanted = '%{GLOBAL}'
    named = site.first_argument('wsgiapplicationgroup')
    for alias in site.aliases():
        if option(alias, 'application-group', named) != wanted:
            yield alias.place, {}


def _embedded(site: Site) -> Iterator[Hit]:
    named = site.first_argument('wsgiprocessgroup')
    for alias in site.aliases():
        if option(alias, 'process-group', named) in ('', '%{GLOBAL}'):
            yield alias.place, {}


def _removed_script(site: Site) -> Iterator[Hit]:
    for alias in site.aliases():
        if 'glance-wsgi-api' in ' '.join(alias.arguments):
            yield alias.place, {'value': alias.arguments[-1]}


def _below(name: str, least: int, default: str) -> Check:
    def check(site: Site) -> Iterator[Hit]:
        for daemon in site.daemons():
            value = option(daemon, name, default)
            if value.isdecimal() and int(value) < least:
                yield daemon.place, {'value': value}

    return each(check)


def _ends_processes(site: Site) -> Iterator[Hit]:
    names = ('request-timeout', 'inactivity-timeout', 'maximum-requests')
    for daemon in site.daemons():
        for name in names:
            if option(daemon, name, '0') != '0':
                yield daemon.place, {'name': name}


def _truncates(document: Httpd, seen: View) -> Iterator[Hit]:
    for site in sites(document):
        reloading = site.first_argument('wsgiscriptreloading').lower()
        if reloading != 'off':
            continue
        for daemon in site.daemons():
            found = _version(document, seen)
            unlimited = option(daemon, 'queue-timeout', '0') == '0'
            first, last = TRUNCATING
            if found and unlimited and first <= _numbers(found) <= last:
                yield daemon.place, {'version': found}


def _version(document: Httpd, seen: View) -> str | None:
    """The version of the module that Apache loads, as far as is known."""
    for one in walk(document.directives):
        if one.name == 'loadmodule' and one.first == 'wsgi_module':
            module = MODULES.parent.joinpath(*one.arguments[1:2])
            return seen.context.mod_wsgi(module)
    for _, home in homes(document):
        found = seen.context.distribution(home, 'mod_wsgi')
        if found:
            return found[1]
    # A site alone does not say: the system's, which Debian loads elsewhere.
    return seen.context.mod_wsgi(MODULES / 'mod_wsgi.so')


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split('.') if part.isdecimal())


RULES = (
    rule(
        'wsgi-chunked-request',
        Severity.ERROR,
        _switch('wsgichunkedrequest'),
        'WSGIChunkedRequest is off.',
        'mod_wsgi then answers 411 to chunked uploads '
        f'({_MANUAL}WSGIChunkedRequest.html).',
        'Write WSGIChunkedRequest On.',
    ),
    rule(
        'wsgi-pass-authorization',
        Severity.WARNING,
        _switch('wsgipassauthorization'),
        'WSGIPassAuthorization is off.',
        'Authorization headers do not reach the application '
        f'({_MANUAL}WSGIPassAuthorization.html).',
        'Write WSGIPassAuthorization On.',
    ),
    rule(
        'wsgi-application-group',
        Severity.WARNING,
        each(_global_group),
        'The application runs in an interpreter of its own.',
        'Some C extensions break or hang in one '
        f'({_MANUAL}WSGIApplicationGroup.html).',
        'Write WSGIApplicationGroup %{{GLOBAL}}.',
    ),
    rule(
        'wsgi-embedded',
        Severity.ERROR,
        each(_embedded),
        "The application runs in Apache's own processes.",
        'Apache ends them as its load changes, with every import in them '
        f'({_MANUAL}WSGIProcessGroup.html).',
        'Add a WSGIDaemonProcess, and name it in WSGIProcessGroup.',
    ),
    rule(
        'wsgi-single-thread',
        Severity.ERROR,
        _below('threads', 2, '15'),
        'Each daemon process has one thread.',
        'A transfer holds a thread to its end: as many slow clients as there '
        f'are processes stop the whole API ({_DAEMON}).',
        'Write threads=16.',
    ),
    rule(
        'wsgi-shutdown-timeout',
        Severity.WARNING,
        _below('shutdown-timeout', MERCY, '5'),
        'shutdown-timeout is {value} s.',
        'A daemon process that is told to end, by a signal to itself, is '
        'ended after that time, with what it still does; "apachectl graceful" '
        f'kills it after 3 s, whatever is set ({_DAEMON}).',
        'Write shutdown-timeout=3600, more than the longest import.',
    ),
    rule(
        'wsgi-graceful-timeout',
        Severity.WARNING,
        _below('graceful-timeout', MERCY, '15'),
        'graceful-timeout is {value} s.',
        'A daemon process that SIGUSR1 asks to be replaced is ended after '
        f'that time, with what it still does ({_DAEMON}).',
        'Write graceful-timeout=3600, more than the longest import.',
    ),
    rule(
        'wsgi-ends-processes',
        Severity.ERROR,
        each(_ends_processes),
        '{name} is set.',
        'It ends the whole process, with every other transfer and import in '
        f'it ({_DAEMON}).',
        'Remove it; socket-timeout ends what stalls.',
    ),
    rule(
        'removed-script-apache',
        Severity.ERROR,
        each(_removed_script),
        '{value} is no part of Glance any more.',
        "Glance 32 removed the script glance-wsgi-api; Glance's own "
        'documentation still shows it '
        '(https://docs.openstack.org/releasenotes/glance/).',
        'Name a file that has "from glance_wsgi.api import application".',
    ),
    rule(
        'mod-wsgi-truncates',
        Severity.ERROR,
        _truncates,
        'mod_wsgi {version} runs with WSGIScriptReloading Off and without a '
        'queue-timeout.',
        'The versions 6.0.0 to 6.0.4 can then cut the end of a body '
        '(https://modwsgi.readthedocs.io/en/master/release-notes.html).',
        'Install mod_wsgi 6.0.5 or newer.',
    ),
)
