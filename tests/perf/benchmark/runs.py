"""The record of a run: one JSON file, which a later start goes on with."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import re
from collections.abc import Iterator
from typing import Any

import arithmetic

LIMIT = 'limit'
"""The contender that is no Glance."""


def place(contender: str, work: str, case: str) -> tuple[str, str]:
    """The work and the case that a contender's figure is found under.

    The limit of an upload has a work of its own, which knows no chunks.
    """
    if contender == LIMIT and work == 'upload':
        return 'write', case.split()[0]
    return work, case


class Run:
    """What has been measured so far.

    It grows by visits: all works of one contender in one round. A visit that
    was interrupted leaves nothing.

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

    def has(self, number: int, contender: str) -> bool:
        """Whether this visit is done."""
        return any(
            (visit['round'], visit['contender']) == (number, contender)
            for visit in self.visits
        )

    def add(
        self,
        number: int,
        contender: str,
        seconds: float,
        measurements: list[dict[str, Any]],
    ) -> None:
        """Keep a visit; the file is replaced as a whole."""
        self.visits.append(
            {
                'round': number,
                'contender': contender,
                'ended': datetime.datetime.now(datetime.timezone.utc).strftime(
                    '%FT%TZ'
                ),
                'seconds': round(seconds, 1),
                'measurements': measurements,
            }
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix('.new')
        new.write_text(json.dumps(self.facts, indent=1) + '\n')
        os.replace(new, self.path)

    def contenders(self) -> list[str]:
        """Those that were measured, in the order of the first round."""
        return list(dict.fromkeys(v['contender'] for v in self.visits))

    def _measurements(
        self, contender: str, work: str
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for visit in self.visits:
            if visit['contender'] == contender:
                for item in visit['measurements']:
                    if item['work'] == work:
                        yield visit['round'], item

    def cases(self, work: str) -> list[str]:
        """The cases of a work, in their order."""
        found = [
            item['case']
            for contender in self.contenders()
            for _, item in self._measurements(contender, work)
        ]
        return list(dict.fromkeys(found))

    def figures(
        self, contender: str, work: str, case: str, name: str
    ) -> dict[int, float]:
        """One figure in each round that has it."""
        work, case = place(contender, work, case)
        return {
            number: item[name]
            for number, item in self._measurements(contender, work)
            if item['case'] == case and item.get(name) is not None
        }

    def median(self, *which: str) -> float | None:
        """The median of a figure: contender, work, case and its name."""
        return arithmetic.median(list(self.figures(*which).values()))

    def problem(self, contender: str, work: str, case: str) -> str | None:
        """Why there is no figure in most of the rounds; or None."""
        work, case = place(contender, work, case)
        found = [
            item.get('problem')
            for _, item in self._measurements(contender, work)
            if item['case'] == case
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
