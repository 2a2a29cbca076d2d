"""The record of a run: one JSON file, which a later start goes on with."""

import dataclasses
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import re
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import arithmetic

STOCK, LIMIT = 'devstack', 'limit'
"""What the others are compared with: the usual, and what is no Glance."""


FORMAT = 3
"""Of the record, and how it is measured: with another one no run goes on."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """Which figure: of a work, in one of its cases, by its name there."""

    work: str
    case: str
    name: str

    def of(self, contender: str) -> tuple[str, str]:
        """The work and the case that a contender has it under.

        The limit of an upload has a work of its own, which knows no chunks.
        """
        if contender == LIMIT and self.work == 'upload':
            return 'write', self.case.split()[0]
        return self.work, self.case


class Visit(Protocol):
    """What has been measured of one contender in one round."""

    name: str
    taken: float
    measurements: list[dict[str, Any]]


class Run:
    """What has been measured so far.

    It grows by rounds. One that was interrupted leaves nothing.

    :param path: the file; made with the first visit
    :param options: what was asked for; a run goes on only with the same
    """

    def __init__(
        self, path: pathlib.Path, options: dict[str, Any] | None = None
    ) -> None:
        self.path = path
        if path.exists():
            self.facts = json.loads(path.read_text())
        else:
            self.facts = {
                'options': options,
                'machine': machine(),
                'visits': [],
            }
        if options is not None and self.facts['options'] != options:
            raise SystemExit(
                f'{path} is of a run with other options; remove it, or give '
                f'another --run: {self.facts["options"]}'
            )

    @property
    def visits(self) -> list[dict[str, Any]]:
        """Every visit that was completed."""
        return self.facts['visits']

    def has(self, number: int) -> bool:
        """Whether this round is done."""
        return any(visit['round'] == number for visit in self.visits)

    def add(self, number: int, visits: Sequence[Visit]) -> None:
        """Keep a round; the file is replaced as a whole."""
        ended = datetime.datetime.now(datetime.timezone.utc).strftime('%FT%TZ')
        for visit in visits:
            self.visits.append(
                {
                    'round': number,
                    'contender': visit.name,
                    'ended': ended,
                    'seconds': round(visit.taken, 1),
                    'measurements': visit.measurements,
                }
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix('.new')
        new.write_text(json.dumps(self.facts, indent=1) + '\n')
        os.replace(new, self.path)

    def contenders(self) -> list[str]:
        """Those that were measured, in the order of the first round."""
        return list(dict.fromkeys(v['contender'] for v in self.visits))

    def cases(self, work: str) -> list[str]:
        """The cases of a work, in their order."""
        found = [
            item['case']
            for visit in self.visits
            for item in visit['measurements']
            if item['work'] == work
        ]
        return list(dict.fromkeys(found))

    def _measurements(
        self, contender: str, figure: Figure
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for visit in self.visits:
            if visit['contender'] == contender:
                for item in visit['measurements']:
                    if (item['work'], item['case']) == figure.of(contender):
                        yield visit['round'], item

    def figures(self, contender: str, figure: Figure) -> dict[int, float]:
        """One figure in each round that has it."""
        return {
            number: item[figure.name]
            for number, item in self._measurements(contender, figure)
            if item.get(figure.name) is not None
        }

    def median(self, contender: str, figure: Figure) -> float | None:
        """Its median; None where there is none in any round."""
        values = list(self.figures(contender, figure).values())
        return arithmetic.median(values)

    def ratio(
        self, contender: str, reference: str, figure: Figure
    ) -> float | None:
        """That of one contender to another; see `arithmetic.ratio`."""
        return arithmetic.ratio(
            self.figures(contender, figure), self.figures(reference, figure)
        )

    def problem(self, contender: str, figure: Figure) -> str | None:
        """Why there is no figure in most of the rounds; or None."""
        found = [
            item.get('problem')
            for _, item in self._measurements(contender, figure)
        ]
        said = [problem for problem in found if problem]
        return said[-1] if len(said) * 2 > len(found) else None


def machine() -> dict[str, Any]:
    """What it was measured on: nothing that names this machine."""
    cpu = pathlib.Path('/proc/cpuinfo').read_text()
    model = re.search(r'^model name\s*:\s*(.*)', cpu, re.MULTILINE)
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    return {
        'cpus': len(os.sched_getaffinity(0)),
        'cpu': model[1] if model else platform.machine(),
        'memory_gib': round(memory / 2**30, 1),
        'kernel': platform.release().split('-')[0],
        'system': platform.freedesktop_os_release()['PRETTY_NAME'],
        'python': platform.python_version(),
        **{
            name: importlib.metadata.version(name)
            for name in ('glance-wsgi', 'glance', 'uWSGI', 'gunicorn')
        },
        'date': datetime.date.today().isoformat(),
    }
