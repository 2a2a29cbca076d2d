"""Reads Apache configurations: sections, Define, Include, quotes.

Written here because no kept library does all of that: a2conf knows no Define
and no continued lines, apacheconfig and parse-apache-configs have had no
release since 2020 and 2016. mod_macro's Use is not followed.
https://httpd.apache.org/docs/2.4/configuring.html
"""

import dataclasses
import glob
import pathlib
import re
from collections.abc import Iterator

from glance_wsgi.lint import ini
from glance_wsgi.lint.documents import Document
from glance_wsgi.lint.documents import Kind
from glance_wsgi.lint.documents import Place

# Sections that only say whether what is inside them counts.
_CONDITIONS = {'ifmodule', 'ifdefine', 'ifversion', 'iffile', 'ifdirective'}

# Modules that are a part of the program itself.
_BUILT_IN = {'core', 'so', 'http', 'log_config', 'unixd', 'version'}

_WORD = re.compile(r'"((?:\\.|[^"\\])*)"|\'((?:\\.|[^\'\\])*)\'|(\S+)')


@dataclasses.dataclass(frozen=True)
class Directive:
    """One directive, or a section with those inside it.

    :param name: in small letters; Apache doesn't mind which ones
    """

    name: str
    arguments: tuple[str, ...]
    place: Place
    children: tuple['Directive', ...] = ()

    def __str__(self) -> str:
        return ' '.join((self.name, *self.arguments))

    @property
    def first(self) -> str:
        """Its first argument; empty if it has none."""
        return self.arguments[0] if self.arguments else ''


@dataclasses.dataclass(frozen=True)
class Httpd(Document):
    """An Apache configuration.

    :param modules: the modules that it loads; none in a part of one
    """

    directives: tuple[Directive, ...] = ()
    modules: frozenset[str] = frozenset()


def walk(directives: tuple[Directive, ...]) -> Iterator[Directive]:
    """Every directive, with those inside of sections, in their order.

    A ProxyPass in a Location leaves out the path, which is the section's; it
    is given all the same.
    """
    for directive in directives:
        yield directive
        for child in walk(directive.children):
            if directive.name == 'location' and child.name == 'proxypass':
                words = (directive.arguments[-1:], child.arguments)
                child = dataclasses.replace(child, arguments=sum(words, ()))
            yield child


def read(path: pathlib.Path, text: str) -> Httpd:
    """An Apache configuration or a part of one, such as a virtual host."""
    reader = _Reader(path)
    directives = reader.read((path,), text)
    return Httpd(
        Kind.APACHE,
        path,
        tuple(reader.unread),
        tuple(directives),
        frozenset(reader.modules),
    )


class _Reader:
    def __init__(self, path: pathlib.Path) -> None:
        self.unread: list[tuple[Place, str]] = []
        self.modules: set[str] = set()
        self._defined: dict[str, str] = {}
        # Debian's ServerRoot is compiled in, and is where apache2.conf lies.
        self._roots = [path.parent, path.parent.parent]
        self._path = path

    def read(
        self, chain: tuple[pathlib.Path, ...], text: str
    ) -> list[Directive]:
        """The directives of the last file of a chain of includes."""
        stack: list[tuple[Directive | None, list[Directive]]] = [(None, [])]
        for number, raw in ini.joined(text):
            line = self._filled(raw)
            place = Place(chain[-1], number)
            if not line or line.startswith('#'):
                continue
            if line.startswith('</'):
                self._close(stack)
            elif line.startswith('<'):
                stack.append((_directive(line.strip('<>'), place), []))
            else:
                stack[-1][1].extend(
                    self._plain(_directive(line, place), chain)
                )
        while len(stack) > 1:
            self._close(stack)
        return stack[0][1]

    def _filled(self, line: str) -> str:
        return re.sub(
            r'\$\{(\w+)\}', lambda m: self._defined.get(m[1], m[0]), line
        )

    def _close(
        self, stack: list[tuple[Directive | None, list[Directive]]]
    ) -> None:
        if len(stack) == 1:
            return
        section, inside = stack.pop()
        assert section is not None
        if section.name in _CONDITIONS:
            stack[-1][1].extend(inside if self._holds(section) else [])
        else:
            stack[-1][1].append(
                dataclasses.replace(section, children=tuple(inside))
            )

    def _holds(self, section: Directive) -> bool:
        name = section.first.lstrip('!')
        negated = section.first.startswith('!')
        if section.name == 'ifmodule':
            # A part of a configuration does not say what is loaded: what
            # somebody has written for a module is meant for use then.
            known = self._loaded(name) if self.modules else True
            return known != negated
        if section.name == 'ifdefine':
            return (name in self._defined) != negated
        return not negated

    def _loaded(self, name: str) -> bool:
        return module(name) in self.modules | _BUILT_IN

    def _plain(
        self, found: Directive, chain: tuple[pathlib.Path, ...]
    ) -> list[Directive]:
        if found.name == 'define' and found.arguments:
            self._defined[found.first] = ''.join(found.arguments[1:2])
        if found.name == 'loadmodule':
            self.modules.add(module(found.first))
        if found.name == 'serverroot':
            self._roots.insert(0, pathlib.Path(found.first))
        if found.name in ('include', 'includeoptional'):
            return self._included(found, chain)
        return [found]

    def _included(
        self, found: Directive, chain: tuple[pathlib.Path, ...]
    ) -> list[Directive]:
        files = self._matches(found.first)
        if not files and found.name == 'include':
            self.unread.append((found.place, found.first))
        inside: list[Directive] = []
        for file in files:
            text = ini.read_text(file)
            if text is None:
                self.unread.append((found.place, str(file)))
            elif file not in chain:
                inside += self.read((*chain, file), text)
        return inside

    def _matches(self, pattern: str) -> list[pathlib.Path]:
        name = pathlib.PurePath(pattern)
        places = [(root, name) for root in self._roots]
        if name.is_absolute():
            places = list(ini.roots(pattern, self._path))
        for root, name in places:
            # What is special in the directory's own name is not meant so.
            place = pathlib.Path(glob.escape(str(root)), name)
            found = sorted(glob.glob(str(place)))
            if found:
                return [pathlib.Path(name) for name in found]
        return []


def module(name: str) -> str:
    """A module's short name: "ssl" for ssl_module and for mod_ssl.c."""
    name = name.removesuffix('.c').removeprefix('mod_')
    return name.removesuffix('_module')


def _directive(line: str, place: Place) -> Directive:
    words = tuple(
        re.sub(r'\\(["\'\\])', r'\1', match[1] or match[2] or match[3] or '')
        for match in _WORD.finditer(line)
    )
    name = words[0].lower() if words else ''
    return Directive(name, words[1:], place)
