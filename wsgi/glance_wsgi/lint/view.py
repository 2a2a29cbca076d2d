"""All checked files together: what one of them says about another."""

import dataclasses
import pathlib
import re
import shlex
from collections.abc import Iterator

from glance_wsgi.lint import httpd
from glance_wsgi.lint.context import Context
from glance_wsgi.lint.context import Identity
from glance_wsgi.lint.documents import Document
from glance_wsgi.lint.documents import Ini
from glance_wsgi.lint.documents import Kind
from glance_wsgi.lint.documents import Place

# Where uWSGI is told what it serves, or by which name.
_WHAT = ('module', 'wsgi-file', 'mount', 'paste', 'ini-paste', 'env')

APACHE_USER = 'www-data'
"""Whose daemons those of mod_wsgi are where no file says so, on Debian."""

APACHES = ('apache2', 'apachectl', 'apache2ctl', 'httpd')
"""The programs that start Apache."""

_HTTP = ('http-socket', 'https-socket', 'http11-socket', 'http', 'https')


@dataclasses.dataclass(frozen=True)
class Workers:
    """Processes that serve Glance, as one file sets them up."""

    place: Place
    processes: int
    threads: int
    chunk: int


@dataclasses.dataclass(frozen=True)
class View:
    """The files of one check, and the machine."""

    documents: tuple[Document, ...]
    context: Context

    def uwsgis(self) -> list[Ini]:
        """The uWSGI files that serve Glance; all where none says so."""
        found = [
            document
            for document in self.inis(Kind.UWSGI)
            if is_application(document)
        ]
        return [one for one in found if _names_glance(one)] or found

    def inis(self, kind: Kind) -> list[Ini]:
        """The ini files of a kind."""
        return [
            document
            for document in self.documents
            if isinstance(document, Ini) and document.kind is kind
        ]

    def apaches(self) -> list[httpd.Httpd]:
        """The Apache configurations."""
        return [
            document
            for document in self.documents
            if isinstance(document, httpd.Httpd)
        ]

    def sites(self) -> Iterator['Site']:
        """The sites of Apache that serve Glance, of all files."""
        for document in self.apaches():
            yield from sites(document)

    def workers(self) -> Iterator[Workers]:
        """The processes that serve Glance."""
        for ini in self.uwsgis():
            yield Workers(
                ini.placed('processes'),
                ini.number('processes', 1) or 1,
                max(ini.number('threads', 1) or 1, 1),
                ini.number('chunked-input-limit', 2**20) or 2**20,
            )
        for site in self.sites():
            for daemon in site.daemons():
                yield Workers(
                    daemon.place,
                    _count(option(daemon, 'processes', ''), 1),
                    _count(option(daemon, 'threads', ''), 15),
                    0,
                )

    def service(self) -> Identity | None:
        """Who runs Glance; None where no file says so, or nobody knows."""
        for _, name in self.users():
            return self.context.identity(name)
        if not self.context.certain and any(
            site.daemons() for site in self.sites()
        ):
            return self.context.identity(APACHE_USER) or self.context.service
        return self.context.service

    def users(self) -> Iterator[tuple[Place, str]]:
        """Every user that a file wants services to run as."""
        for unit in self.inis(Kind.UNIT):
            if runs(unit, 'uwsgi') and (user := unit.last('User', 'Service')):
                yield user.place, user.value
        for ini in self.uwsgis():
            if user := ini.last('uid'):
                yield user.place, user.value
        for site in self.sites():
            for daemon in site.daemons():
                name = option(daemon, 'user', site.first_argument('user'))
                # Debian's is a variable of the environment.
                if name and not name.startswith('$'):
                    yield daemon.place, name.lstrip('#')


def is_application(ini: Ini) -> bool:
    """Whether a uWSGI file has an application, and is no Emperor alone."""
    return ini.last('emperor') is None


def speaks_http(ini: Ini) -> bool:
    """Whether uWSGI gets HTTP, by itself or from its router."""
    return any(ini.last(name) for name in _HTTP) or (
        ini.text('protocol') == 'http'
    )


def _names_glance(ini: Ini) -> bool:
    # Of a variable its name only: its value may be a path with any name.
    named = [
        entry.value.partition('=')[0] if name == 'env' else entry.value
        for name in _WHAT
        for entry in ini.all(name)
    ]
    return 'glance' in ' '.join(map(_last_name, named)).lower()


def answers_expectations(ini: Ini) -> bool:
    """Whether a uWSGI file serves our entry module, which does."""
    served = [entry.value for name in _WHAT for entry in ini.all(name)]
    return any(
        'glance_wsgi.api' in value
        or re.search(r'/glance-api(-remote)?\.wsgi$', value)
        for value in served
    )


def _last_name(value: str) -> str:
    # The directories before a script may have any name, too.
    return value.rpartition('/')[2]


def runs(unit: Ini, program: str) -> bool:
    """Whether a unit starts a program of that name."""
    return program in {pathlib.Path(word).name for word in commands(unit)}


def runs_apache(unit: Ini) -> bool:
    """Whether a unit starts Apache."""
    return any(runs(unit, name) for name in APACHES)


def commands(unit: Ini) -> list[str]:
    """The words of what a unit starts, without systemd's prefixes."""
    words = []
    for entry in unit.all('ExecStart', 'Service'):
        line = entry.value.lstrip('@-:+!')
        try:
            words += shlex.split(line)
        except ValueError:  # a quote that is never closed
            words += line.split()
    return words


def _count(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default


def option(directive: httpd.Directive, name: str, default: str) -> str:
    """``name=value`` among the arguments of a directive."""
    for word in directive.arguments:
        key, equals, value = word.partition('=')
        if equals and key.lower() == name:
            return value
    return default


@dataclasses.dataclass(frozen=True)
class Site:
    """A virtual host, or what is outside of all of them.

    :param inside: every directive of its own
    :param outside: the directives of the server, which it inherits
    """

    document: httpd.Httpd
    place: Place
    inside: tuple[httpd.Directive, ...]
    outside: tuple[httpd.Directive, ...]

    def all(self, *names: str) -> list[httpd.Directive]:
        """Its own directives of these names."""
        return [one for one in self.inside if one.name in names]

    def last(self, name: str) -> httpd.Directive | None:
        """The directive that counts: its own, or else the server's."""
        for directives in (self.inside, self.outside):
            found = [one for one in directives if one.name == name]
            if found:
                return found[-1]
        return None

    def first_argument(self, name: str) -> str:
        """The first argument of the directive that counts, or nothing."""
        found = self.last(name)
        return found.first if found else ''

    def aliases(self) -> list[httpd.Directive]:
        """Where mod_wsgi serves an application."""
        return self.all('wsgiscriptalias', 'wsgiscriptaliasmatch')

    def proxies(self) -> list[httpd.Directive]:
        """Where something is passed to another server."""
        passed = self.all('proxypass', 'proxypassmatch')
        handed = [
            one
            for one in self.all('sethandler')
            if one.first.startswith('proxy:')
        ]
        return [one for one in passed if '!' not in one.arguments] + handed

    def daemons(self) -> list[httpd.Directive]:
        """The groups of mod_wsgi's processes that it uses."""
        named = {option(one, 'process-group', '') for one in self.aliases()}
        named |= {one.first for one in self.all('wsgiprocessgroup')}
        return [
            one
            for one in (*self.outside, *self.inside)
            if one.name == 'wsgidaemonprocess' and one.first in named
        ]

    @property
    def about_glance(self) -> bool:
        """Whether something in it has Glance's name."""
        return any('glance' in str(one).lower() for one in self.inside)


def sites(document: httpd.Httpd) -> list[Site]:
    """The sites that serve Glance: those that say so, or else all APIs."""
    hosts = [one for one in document.directives if one.name == 'virtualhost']
    rest = tuple(
        one for one in document.directives if one.name != 'virtualhost'
    )
    outside = tuple(httpd.walk(rest))
    found = [
        Site(document, host.place, tuple(httpd.walk(host.children)), outside)
        for host in hosts
    ]
    found.append(Site(document, document.place, outside, ()))
    found = [site for site in found if site.aliases() or site.proxies()]
    return [site for site in found if site.about_glance] or found
