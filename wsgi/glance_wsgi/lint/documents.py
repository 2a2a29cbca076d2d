"""Configuration files as the rules see them: options with their lines."""

import dataclasses
import enum
import pathlib
import re


class Kind(enum.Enum):
    """What a file configures."""

    UWSGI = 'a uWSGI ini file'
    APACHE = 'an Apache configuration'
    GLANCE = 'a configuration of Glance'
    OSLO = 'a configuration of another OpenStack service'
    UNIT = 'a systemd unit'


@dataclasses.dataclass(frozen=True)
class Place:
    """A line of a file; line 0 is the file as a whole."""

    file: pathlib.Path
    line: int

    def __str__(self) -> str:
        return f'{self.file}:{self.line}' if self.line else str(self.file)


@dataclasses.dataclass(frozen=True)
class Document:
    """A configuration file with everything that it includes.

    :param unread: files that it includes and that could not be read
    """

    kind: Kind
    path: pathlib.Path
    unread: tuple[tuple[Place, str], ...] = ()

    @property
    def place(self) -> Place:
        """The file as a whole."""
        return Place(self.path, 0)


@dataclasses.dataclass(frozen=True)
class Entry:
    """``name = value`` in a section of an ini file."""

    section: str
    name: str
    value: str
    place: Place


_OFF = frozenset({'false', 'off', 'no', '0'})

_UNITS = {
    '': 1.0,
    'us': 1e-6,
    'ms': 1e-3,
    's': 1.0,
    'm': 60.0,
    'h': 3600.0,
    'd': 86400.0,
    'w': 604800.0,
}


@dataclasses.dataclass(frozen=True)
class Ini(Document):
    """A file of the ini family; see `ini` for who reads which dialect."""

    entries: tuple[Entry, ...] = ()

    def all(self, name: str, section: str | None = None) -> list[Entry]:
        """Every time that an option is given, in their order."""
        return [
            entry
            for entry in self.entries
            if entry.name == name and section in (None, entry.section)
        ]

    def last(self, name: str, section: str | None = None) -> Entry | None:
        """The one that counts where an option is given several times."""
        found = self.all(name, section)
        return found[-1] if found else None

    def text(self, name: str, section: str | None = None) -> str:
        """The value that counts; empty where there is none."""
        found = self.last(name, section)
        return found.value if found else ''

    def number(
        self, name: str, default: int | None = None, section: str | None = None
    ) -> int | None:
        """The value that counts as a number; None where it is none."""
        found = self.last(name, section)
        if found is None:
            return default
        return int(found.value) if found.value.isdecimal() else None

    def on(self, name: str, section: str | None = None) -> bool:
        """Whether a switch is on: given, and not as "false" or the like."""
        found = self.last(name, section)
        return found is not None and found.value.lower() not in _OFF

    def sections(self) -> set[str]:
        """The names of the sections that have options."""
        return {entry.section for entry in self.entries}

    def placed(self, name: str, section: str | None = None) -> Place:
        """Where an option is given; the file where it is not."""
        found = self.last(name, section)
        return found.place if found else self.place


def seconds(text: str) -> float | None:
    """A time span as systemd and Apache write it, in seconds.

    "90", "1min 30s", "500ms"; infinite for "infinity", None for what is no
    time span. See systemd.time(7).
    """
    if text.strip() == 'infinity':
        return float('inf')
    parts = re.findall(r'([\d.]+)\s*([a-z]*)\s*', text.strip().lower())
    if not parts or re.sub(r'[\d.]+\s*[a-z]*\s*', '', text.strip().lower()):
        return None
    return _sum(parts)


def _sum(parts: list[tuple[str, str]]) -> float | None:
    total = 0.0
    for number, unit in parts:
        short = _short(unit)
        if short is None:
            return None
        total += float(number) * _UNITS[short]
    return total


def _short(unit: str) -> str | None:
    longer = {'sec': 's', 'second': 's', 'min': 'm', 'minute': 'm'}
    longer |= {'hr': 'h', 'hour': 'h', 'day': 'd', 'week': 'w', 'msec': 'ms'}
    name = unit if unit in _UNITS else unit.rstrip('s')
    name = longer.get(name, name)
    return name if name in _UNITS else None
