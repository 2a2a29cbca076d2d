"""Reads the three dialects of ini files: uWSGI's, oslo.config's, systemd's.

oslo.config's own reader knows its dialect and counts lines, so it is used for
that one. Nobody keeps a reader for the other two: uWSGI's is a program, and
Python's configparser joins repeated keys, which both of them need.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator

from oslo_config import iniparser

from glance_wsgi.lint.documents import Entry
from glance_wsgi.lint.documents import Ini
from glance_wsgi.lint.documents import Kind
from glance_wsgi.lint.documents import Place

Unread = list[tuple[Place, str]]

Chain = tuple[tuple[pathlib.Path, str], ...]
"""The files, with their sections, that led to the one that is read."""

# Shorter and older names of the options that rules ask for (core/uwsgi.c and
# plugins/python/python_plugin.c of uWSGI).
_ALIASES = {
    'H': 'home',
    'M': 'master',
    'T': 'enable-threads',
    'b': 'buffer-size',
    'file': 'wsgi-file',
    'l': 'listen',
    'p': 'processes',
    'pyhome': 'home',
    's': 'socket',
    'stats-server': 'stats',
    't': 'harakiri',
    'uwsgi-socket': 'socket',
    'venv': 'home',
    'virtualenv': 'home',
    'w': 'module',
    'workers': 'processes',
    'wsgi': 'module',
    'z': 'socket-timeout',
}

_REFERENCE = re.compile(
    r'(?P<literal>\$\$|\\\$)|\$(?:\{(?P<long>[\w.]+)\}|(?P<name>[\w.]+))'
)

_INCLUDES = ('ini', 'include', 'inherit')


def uwsgi(path: pathlib.Path, text: str) -> Ini:
    """A uWSGI ini file, with what it includes in its place.

    Placeholders are filled where that is possible without running anything;
    the others stay as they are written.
    https://uwsgi-docs.readthedocs.io/en/latest/Configuration.html
    """
    unread: Unread = []
    entries = _uwsgi_entries(((path, 'uwsgi'),), text, {}, unread)
    return Ini(Kind.UWSGI, path, tuple(unread), tuple(entries))


def _uwsgi_entries(
    chain: Chain, text: str, known: dict[str, str], unread: Unread
) -> list[Entry]:
    path, section = chain[-1]
    found = []
    for place, name, value in _uwsgi_lines(path, text, section):
        filled = _fill(value, path, known)
        entry = Entry('uwsgi', _ALIASES.get(name, name), filled, place)
        known[name] = filled
        found.append(entry)
        if entry.name in _INCLUDES:
            found += _included(entry, chain, known, unread)
    return found


def _uwsgi_lines(
    path: pathlib.Path, text: str, wanted: str
) -> list[tuple[Place, str, str]]:
    # As core/ini.c does it: no continued lines, no comments behind a value.
    section, found = '', []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith('['):
            section = line[1:-1]
        elif line and line[0] not in ';#' and section == wanted:
            name, _, value = line.partition('=')
            found.append((Place(path, number), name.strip(), value.strip()))
    return found


def _fill(value: str, path: pathlib.Path, known: dict[str, str]) -> str:
    value = re.sub(r'\$\((\w+)\)', lambda m: os.environ.get(m[1], m[0]), value)
    value = re.sub(r'%\(([\w-]+)\)', lambda m: known.get(m[1], m[0]), value)
    magic = {
        'k': str(os.cpu_count()),
        'd': f'{path.parent}/',
        'n': path.stem,
        's': path.name,
        'p': str(path),
        '%': '%',
    }
    return re.sub(r'%([a-zA-Z%])', lambda m: magic.get(m[1], m[0]), value)


def _included(
    entry: Entry, chain: Chain, known: dict[str, str], unread: Unread
) -> list[Entry]:
    name, _, section = entry.value.strip('@()').partition(':')
    path = _found(name, entry.place.file) if name else entry.place.file
    if (path, section or 'uwsgi') in chain:
        return []  # it would go on for ever
    text = read_text(path)
    if text is None:
        unread.append((entry.place, name))
        return []
    longer = (*chain, (path, section or 'uwsgi'))
    return _uwsgi_entries(longer, text, known, unread)


def _found(name: str, by: pathlib.Path) -> pathlib.Path:
    for root, relative in roots(name, by):
        if (root / relative).is_file():
            return root / relative
    return by.parent / name


def roots(
    name: str, by: pathlib.Path
) -> Iterator[tuple[pathlib.Path, pathlib.PurePath]]:
    """Where a file may be that another one names, the likeliest place first.

    An absolute name is looked up below each directory above that other one,
    the last of which is the root: "render --output" writes files below a
    directory, by names that they do not have there.

    :param by: the other one
    :return: directories, and the name below each
    """
    path = pathlib.PurePath(name)
    if not path.is_absolute():
        yield by.parent, path
        return
    for directory in by.parents:
        yield directory, path.relative_to('/')


def read_text(path: pathlib.Path) -> str | None:
    """A file that another one names; None if that can't be read.

    A device or a pipe is not read: it may have no end.
    """
    try:
        return path.read_text() if path.is_file() else None
    except (OSError, ValueError):
        return None


class _Oslo(iniparser.BaseParser):
    def __init__(self, path: pathlib.Path, text: str) -> None:
        self.path = path
        self.section = 'DEFAULT'
        self.entries: list[Entry] = []
        # An option ends where the next line begins that is none of its own.
        self.lines = [*text.splitlines(), '']
        self.parse(self.lines)

    def new_section(self, section: str) -> None:
        self.section = section

    def assignment(self, key: str, value: list[str]) -> None:
        number = self.lineno - 1
        while not self.lines[number - 1].startswith(key):
            number -= 1
        place = Place(self.path, number)
        text = '\n'.join(value)
        self.entries.append(Entry(self.section, key, text, place))


def oslo(path: pathlib.Path, text: str, kind: Kind) -> Ini:
    """A file of oslo.config, its references to other options followed.

    :raises iniparser.ParseError: it is none
    """
    found = _Oslo(path, text).entries
    values = {(entry.section, entry.name): entry.value for entry in found}
    filled = (
        dataclasses.replace(entry, value=_follow(entry, values))
        for entry in found
    )
    return Ini(kind, path, (), tuple(filled))


def _follow(entry: Entry, values: dict[tuple[str, str], str]) -> str:
    def filled(match: re.Match[str]) -> str:
        if match['literal']:
            return '$'
        section, _, name = (match['name'] or match['long']).rpartition('.')
        places = [section] if section else [entry.section, 'DEFAULT']
        for place in places:
            if (place, name) in values:
                return values[place, name]
        return match[0]

    return _REFERENCE.sub(filled, entry.value)


UNIT_DIRECTORIES = tuple(
    map(
        pathlib.Path,
        (
            '/usr/lib/systemd/system',
            '/lib/systemd/system',
            '/usr/local/lib/systemd/system',
            '/run/systemd/system',
            '/etc/systemd/system',
        ),
    )
)
"""Where systemd has units and drop-ins, the later ones before the others."""


def unit(path: pathlib.Path, text: str) -> Ini:
    """A systemd unit, with its drop-ins.

    https://www.freedesktop.org/software/systemd/man/systemd.syntax.html
    """
    unread: Unread = []
    entries = _unit_entries(path, text)
    for drop_in in _drop_ins(path):
        more = read_text(drop_in)
        if more is None:
            unread.append((Place(path, 0), str(drop_in)))
        else:
            entries += _unit_entries(drop_in, more)
    return Ini(Kind.UNIT, path, tuple(unread), tuple(entries))


def _drop_ins(path: pathlib.Path) -> list[pathlib.Path]:
    """Those of a unit, in the order in which they count (systemd.unit(5))."""
    known = path.parent in UNIT_DIRECTORIES
    found = {}
    for place in UNIT_DIRECTORIES if known else (path.parent,):
        for file in place.glob(f'{path.name}.d/*.conf'):
            found[file.name] = file
    return [found[name] for name in sorted(found)]


def _unit_entries(path: pathlib.Path, text: str) -> list[Entry]:
    section, found = '', []
    for number, line in joined(text):
        if line.startswith('['):
            section = line.strip('[]')
        elif line and line[0] not in '#;':
            name, _, value = line.partition('=')
            place = Place(path, number)
            found.append(Entry(section, name.strip(), value.strip(), place))
    return found


def joined(text: str) -> Iterator[tuple[int, str]]:
    """Lines without their margins, joined where a backslash ends them.

    :return: the number of the first one, and the whole
    """
    held, first = '', 0
    for number, raw in enumerate(text.splitlines(), 1):
        first = first if held else number
        if raw.endswith('\\'):
            held += f'{raw[:-1].strip()} '
            continue
        yield first, (held + raw.strip()).strip()
        held = ''
    if held:
        yield first, held.strip()
